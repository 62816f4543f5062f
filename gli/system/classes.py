"""Find classes by their base class."""

from __future__ import annotations

import inspect


def concrete_subclasses(base: type) -> dict[str, type]:
    """Return all classes below a base that can be instantiated, by name."""
    classes: dict[str, type] = {}
    children: list[type] = base.__subclasses__()
    for child in children:
        classes |= concrete_subclasses(child) | ({} if inspect.isabstract(child) else {child.__name__: child})
    return classes
