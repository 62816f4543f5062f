"""Pseudonyms: keyed hashes of people and files, which name nobody to anyone who does not hold the store's key."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gli.erasure.canonical import durable_write, read_bytes
from gli.errors import DataError
from gli.system.digest import keyed_digest
from gli.system.pseudonyms import file_hash, person_hash

__all__ = [
    "KEY_FILE",
    "create_key",
    "file_hash",
    "is_named",
    "person_hash",
    "pseudonym",
    "read_key",
    "rehearsal_hash",
    "word_hash",
]

KEY_FILE = "key"
KEY_BYTES = 32
#: Longest run of words that is tested for being a name.
MOST_WORDS = 5


def create_key(path: Path) -> bytes:
    """Write a new random key that only the owner may read, and return it."""
    key = secrets.token_bytes(KEY_BYTES)
    durable_write(path, key.hex().encode() + b"\n", 0o600)
    return key


def read_key(path: Path) -> bytes:
    """Return the key in a file.

    Raises:
        DataError: If it cannot be read, is no key, or others may read it.
    """
    text = read_bytes(path, "the key of a store").strip()
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise DataError(f"{path}: others may read this key. Run: chmod 600 {path}")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise DataError(f"{path}: is not the key of a store. Restore it from a backup.") from error
    if len(key) != KEY_BYTES:
        raise DataError(f"{path}: is not the key of a store ({len(key)} bytes). Restore it from a backup.")
    return key


def word_hash(key: bytes, words: str) -> str:
    """Return the keyed hash of a name as written in a text, without regard to case."""
    return keyed_digest(key, "words", " ".join(words.casefold().split()))


def rehearsal_hash(key: bytes, identity: str) -> str:
    """Return the keyed hash of a person in a rehearsal; it cannot be told from it who was erased later."""
    return keyed_digest(key, "rehearsal", identity)


def pseudonym(key: bytes, subject: str, received: str) -> str:
    """Return the name of a request, such as ``R-3f2a91c07b5d``."""
    return "R-" + keyed_digest(key, "request", subject, received)[:12]


def words_of(text: str) -> set[str]:
    """Return all runs of up to ``MOST_WORDS`` words of a text: what could be a name in it."""
    words = text.split()
    runs = set()
    for start in range(len(words)):
        for end in range(start + 1, min(start + MOST_WORDS, len(words)) + 1):
            run = " ".join(words[start:end])
            runs |= {run, run.strip(".,;:!?()[]{}<>'\"")}
    return runs


def is_named(key: bytes, text: str, hashes: frozenset[str]) -> bool:
    """Return whether a text holds a name whose :func:`word_hash` is among some hashes."""
    return any(word_hash(key, run) in hashes for run in words_of(text))
