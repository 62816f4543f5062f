"""Content hashes."""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16


def digest(*parts: bytes | str | int | float) -> str:
    """Return a short content hash of the parts, each with its length, in hexadecimal digits."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()
