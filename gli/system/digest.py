"""Content hashes."""

from __future__ import annotations

import hashlib
import hmac

DIGEST_BYTES = 16


def digest(*parts: bytes | str | int | float) -> str:
    """Return a short content hash of the parts, each with its length, in hexadecimal digits."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def keyed_digest(key: bytes, *parts: bytes | str | int | float) -> str:
    """Return the HMAC-SHA256 of the parts, each with its length, in 64 hexadecimal digits.

    Without the key, a name or a file cannot be tested against the result; once the key is destroyed, nobody can.
    """
    state = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def person_hash(key: bytes, identity: str) -> str:
    """Return the keyed hash of a person's name in the table, as in the ledger of a store of erasure requests."""
    return keyed_digest(key, "person", identity)


def file_hash(key: bytes, content_digest: str) -> str:
    """Return the keyed hash of a file, from the :func:`digest` of its bytes."""
    return keyed_digest(key, "file", content_digest)
