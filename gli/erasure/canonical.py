"""Canonical JSON: one text for one value, so that a hash of the text is a hash of the value; durable writing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gli.errors import DataError
from gli.system.files import atomic_write

CHUNK = 1 << 20
#: Larger files are neither certificates nor receipts nor ledgers.
MAX_BYTES = 64 << 20


def canonical(value: Any) -> bytes:
    """Return a value as canonical JSON: ASCII, keys sorted, no spaces.

    Raises:
        ValueError: If it holds a number that JSON cannot express.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def parse_canonical(text: bytes, kind: str) -> dict[str, Any]:
    """Return the object that a canonical text stands for.

    Args:
        text: The text, without a newline at its end.
        kind: Kind of text, such as ``a certificate``, for the message.

    Raises:
        DataError: If it is not JSON, not an object, or not written canonically.
    """
    try:
        value = json.loads(text)
        same = isinstance(value, dict) and canonical(value) == text
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"is not {kind} of gli ({str(error)[:80]}).") from error
    if not same:
        raise DataError(f"is not {kind} as gli writes it: a character was changed.")
    return dict(value)


def read_bytes(path: Path, kind: str) -> bytes:
    """Return the bytes of a small file.

    Raises:
        DataError: If it cannot be read, or is too large.
    """
    try:
        _require_plain(path)
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: is too large to be {kind}.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as {kind} ({getattr(error, 'strerror', None) or error}).") from error


def _require_plain(path: Path) -> None:
    """Refuse pipes and devices, whose end may never come.

    Raises:
        OSError: If the path is neither a plain file nor a folder, or does not exist.
    """
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a plain file")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits.

    Raises:
        DataError: If it cannot be read.
    """
    state = hashlib.sha256()
    try:
        _require_plain(path)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                state.update(chunk)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Check it.") from error
    return state.hexdigest()


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder (names of files) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def durable_write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all, and onto the disk before returning."""
    with atomic_write(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(path.parent)


def durable_copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, and onto the disk before returning."""
    with atomic_write(target) as temporary, source.open("rb") as read, temporary.open("wb") as written:
        while chunk := read.read(CHUNK):
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())
    sync_folder(target.parent)


def write_canonical(path: Path, value: Mapping[str, Any]) -> str:
    """Write a value as canonical JSON with a newline, durably; return the SHA-256 of the file."""
    data = canonical(value) + b"\n"
    durable_write(path, data)
    return sha256(data)


def read_canonical(path: Path, kind: str) -> tuple[dict[str, Any], str]:
    """Return the object in a file of :func:`write_canonical`, and the SHA-256 of the file.

    Raises:
        DataError: If the file cannot be read, or differs from what gli writes.
    """
    data = read_bytes(path, kind)
    if not data.endswith(b"\n"):
        raise DataError(f"{path}: is not {kind} of gli: its end is missing.")
    try:
        return parse_canonical(data[:-1], kind), sha256(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
