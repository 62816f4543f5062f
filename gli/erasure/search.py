"""Find traces of people in bytes: names, digests of their files, rows of their pixels. Pure functions."""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import yaml

from gli.system.digest import digest

#: Shorter names, and names of digits only, occur by chance: they are looked for in the fields of known files only.
LEAST_NAME = 3
#: Rows of pixels that are looked for in each picture: the most varied ones.
PIXEL_ROWS = 4
#: A row with fewer different bytes, such as one of a plain background, may be anybody's.
LEAST_VARIETY = 12
#: What binary formats write between the lowest byte of a length and the text.
_TAILS = (b"", bytes(3), bytes(7))
_LETTER = rb"[A-Za-z0-9\x80-\xff]"


def is_searchable(name: str) -> bool:
    """Return whether a name can be looked for among other text."""
    return len(name) >= LEAST_NAME and not name.isdigit()


def spellings(name: str) -> set[str]:
    """Return a name as files may have it: composed and decomposed, and escaped for JSON, YAML, HTML and addresses."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")} | {name}
    escapes: tuple[Callable[[str], str], ...] = (
        lambda text: json.dumps(text)[1:-1],
        lambda text: yaml.safe_dump(text, default_style='"', width=10**6).strip()[1:-1],
        html.escape,
        urllib.parse.quote,
    )
    return forms | {escape(form) for form in forms for escape in escapes}


def _pattern_of(name: str) -> list[bytes]:
    """Return patterns of a name in UTF-8 and Latin-1; programs that fold lines break it at its blanks."""
    codes = ("utf-8", "latin-1") if name.isprintable() and max(map(ord, name)) < 256 else ("utf-8",)
    return [rb"\s+".join(re.escape(word) for word in name.encode(code).split()) for code in codes]


@dataclass(frozen=True)
class Traces:
    """What to look for.

    Attributes:
        names: Names of the people.
        files: Names of their files, with folders.
        digests: Hexadecimal digests of their files.
        rows: Rows of their pixels as bytes.
        weights: SHA-256 of weights that remember them.
    """

    names: Sequence[str]
    files: Sequence[str] = ()
    digests: frozenset[str] = frozenset()
    rows: Sequence[bytes] = ()
    weights: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes] | None:
        spelt = {each for name in self.names if is_searchable(name) for each in spellings(name)}
        names = [name.encode() for name in self.names if is_searchable(name)]
        choices = {choice for each in spelt for choice in _pattern_of(each)} - {b""}
        files = [file.encode() for file in sorted(self.files, key=len, reverse=True) if len(file) > LEAST_NAME]
        parts = []
        if names:
            longest_first = sorted(choices, key=lambda choice: (-len(choice), choice))
            parts.append(rb"(?<!%b)(?:%b)(?!%b)" % (_LETTER, b"|".join(longest_first), _LETTER))
        # Pickles and other binary formats write the length in front of a text, and no blank behind it.
        parts += [re.escape(bytes([len(each)]) + tail + each) for each in names if len(each) < 256 for tail in _TAILS]
        if files:  # A file of that name in another folder is another file.
            choice = b"|".join(map(re.escape, files))
            parts.append(rb"(?<![A-Za-z0-9\x80-\xff/._-])(?:%b)(?!%b)" % (choice, _LETTER))
        return re.compile(b"|".join(parts)) if parts else None

    @cached_property
    def _fields(self) -> frozenset[str]:
        return frozenset(unicodedata.normalize("NFC", each) for each in (*self.names, *self.files))

    @cached_property
    def _encoded(self) -> list[tuple[bytes, int]]:
        """Names as NumPy and other programs keep them in arrays, with the bytes per character."""
        wide = [(name.encode(f"utf-{8 * width}-le"), width) for name in self.names for width in (2, 4)]
        return [(text, width) for text, width in wide if len(text) >= LEAST_NAME * width and not _digits(text)]

    def name_in(self, data: bytes) -> bool:
        """Return whether a name is in bytes, as a word of its own."""
        if self._pattern is not None and self._pattern.search(data):
            return True
        return any(_is_word(data, text, width) for text, width in self._encoded)

    def is_name(self, text: str) -> bool:
        """Return whether a field is a name, or the name of a file."""
        return unicodedata.normalize("NFC", text) in self._fields

    def without_names(self, text: str, instead: str) -> str:
        """Return a text with every name replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(instead.encode(), text.encode()).decode()

    def found_in(self, data: bytes) -> str:
        """Return what is in bytes: ``a name``, ``a digest`` or ``a row of pixels``; an empty string for nothing."""
        if self.name_in(data):
            return "a name"
        lower = data.lower() if self.digests else b""
        for each in self.digests:
            if each.encode() in lower or bytes.fromhex(each) in data:
                return "a digest"
        return "a row of pixels" if any(row in data for row in self.rows) else ""


def _digits(text: bytes) -> bool:
    return text.replace(b"\0", b"").isdigit()


def _is_word(data: bytes, text: bytes, width: int) -> bool:
    """Return whether a wide text is in bytes, with no letter or digit before and after it."""
    start = data.find(text)
    while start >= 0:
        sides = data[max(0, start - width) : start], data[start + len(text) : start + len(text) + width]
        if not any(len(side) == width and not any(side[1:]) and chr(side[0]).isalnum() for side in sides):
            return True
        start = data.find(text, start + 1)
    return False


def digests_of(data: bytes) -> set[str]:
    """Return digests by which a file may be known: gli's own, SHA-256, SHA-1 and MD5."""
    known = (hashlib.sha256, hashlib.sha1, hashlib.md5)
    return {digest(data), *(each(data, usedforsecurity=False).hexdigest() for each in known)}


def rows_of_pixels(pixels: npt.NDArray[np.uint8]) -> list[bytes]:
    """Return the most varied rows of a picture: as they are, their green values alone, and both in float32 from 0 to 1.

    Caches have the colours of a pixel side by side; tensors often have one colour after the other.

    Args:
        pixels: Shape ``(size, size, 3)``.
    """
    variety = [len(np.unique(row)) for row in pixels]
    chosen = sorted(range(len(pixels)), key=lambda number: -variety[number])[:PIXEL_ROWS]
    rows = [pixels[number] for number in chosen if variety[number] >= LEAST_VARIETY]
    arrays = [each for row in rows for each in (row, row[:, 1]) if len(np.unique(each)) >= LEAST_VARIETY]
    return [form.tobytes() for each in arrays for form in (each, (each / np.float32(255)).astype(np.float32))]
