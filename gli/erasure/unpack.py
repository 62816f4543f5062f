"""Contents of a file as a search sees them: its bytes, members of archives, and the pixels of pictures in it."""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from PIL import Image

#: Larger contents are searched in pieces that overlap.
PIECE = 64 << 20
#: Longest trace across the border of two pieces.
OVERLAP = 1 << 16
#: Pictures that are decoded in one piece of a file.
MOST_PICTURES = 10_000
PNG = b"\x89PNG\r\n\x1a\n"
#: A picture inside a page.
DATA_URI = re.compile(rb"data:image/[a-z+]+;base64,([A-Za-z0-9+/=]{16,})")
#: What damaged archives raise.
DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, ValueError, EOFError)


def contents_of(path: Path) -> Iterator[bytes]:
    """Yield the contents of a file in pieces: as they are, unpacked, and as pixels.

    Members of archives that were stored without compression are in the bytes of the archive. Damaged archives and
    pictures are left as they are.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        yield from _pieces(file)
        file.seek(0)
        try:
            if start == b"PK":
                with zipfile.ZipFile(file) as archive:
                    for member in archive.infolist():
                        if member.compress_type != zipfile.ZIP_STORED:
                            with archive.open(member) as unpacked:
                                yield from _pieces(unpacked)
            elif start == b"\x1f\x8b":
                yield from _overlapping(_gunzipped(file))
        except DAMAGED:
            return


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the rest of a file in pieces that overlap, and the pixels of the pictures in each."""
    for piece in _overlapping(iter(lambda: file.read(PIECE), b"")):
        yield piece
        yield from pixels_in(piece)


def _overlapping(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each piece with the end of the one before it in front."""
    before = b""
    for piece in pieces:
        yield before + piece
        before = piece[-OVERLAP:]


def _gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what a gzip file holds, in pieces; what a damaged or cut one holds before the damage counts."""
    unpack = zlib.decompressobj(47)
    waiting = file.read(PIECE)
    while waiting:
        yield unpack.decompress(waiting, PIECE)
        waiting = unpack.unconsumed_tail or (b"" if unpack.eof else file.read(PIECE))


def pixels_in(data: bytes) -> Iterator[bytes]:
    """Yield the RGB values of the PNG pictures in bytes, and of pictures of any kind inside of a page."""
    start = data.find(PNG)
    for _ in range(MOST_PICTURES):
        if start < 0:
            break
        end = data.find(b"IEND", start)
        if end < 0:
            break
        yield from _pixels(data[start : end + 8])
        start = data.find(PNG, start + 1)
    for match in DATA_URI.finditer(data):
        try:
            yield from _pixels(base64.b64decode(match[1]))
        except binascii.Error:
            continue


def _pixels(data: bytes) -> Iterator[bytes]:
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            pixels = image.convert("RGB").tobytes()
    except Exception:  # Damaged pictures raise errors of many kinds; they have no pixels.
        return
    yield pixels
