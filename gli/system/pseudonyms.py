"""Keyed hashes of people and of files, by which a store of erasure requests recognises them without their names."""

from __future__ import annotations

from gli.system.digest import keyed_digest


def person_hash(key: bytes, identity: str) -> str:
    """Return the keyed hash of a person's name in the table, as in the ledger (``people``)."""
    return keyed_digest(key, "person", identity)


def file_hash(key: bytes, digest: str) -> str:
    """Return the keyed hash of a file, from its content hash (:func:`gli.system.digest.digest` of its bytes)."""
    return keyed_digest(key, "file", digest)
