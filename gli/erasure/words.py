"""Numbers and names as they are shown to people."""

from __future__ import annotations


def counted(number: int, one: str = "person", many: str = "people") -> str:
    """Return a number with its noun, such as ``1 person`` or ``2 people``."""
    return f"{number} {one if number == 1 else many}"


def printable(text: str) -> str:
    """Return a text without characters that control a terminal or the direction of writing: they are shown as codes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
