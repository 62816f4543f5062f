"""Content hashes, and the names by which people are recognised."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from typing import Any

DIGEST_BYTES = 16


def digest(*parts: bytes | str | int | float) -> str:
    """Return a short content hash of the parts, each with its length, in hexadecimal digits."""
    return _fed(hashlib.blake2b(digest_size=DIGEST_BYTES), parts)


def keyed_digest(key: bytes, *parts: bytes | str | int | float) -> str:
    """Return the HMAC-SHA256 of the parts, each with its length, in 64 hexadecimal digits.

    Without the key, a name or a file cannot be tested against the result; once the key is destroyed, nobody can.
    """
    return _fed(hmac.new(key, digestmod=hashlib.sha256), parts)


def _fed(state: Any, parts: Iterable[bytes | str | int | float]) -> str:
    """Return the digits of a hash that has taken in parts, each with its length."""
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return str(state.hexdigest())


def person_hash(key: bytes, identity: str) -> str:
    """Return the keyed hash of a person's name in the table, as in the ledger of a store of erasure requests."""
    return keyed_digest(key, "person", identity)


def person_hashes(key: bytes, identity: str) -> list[str]:
    """Return the keyed hashes that recognise a person, the one of the name as it is written in front.

    The hash of the folded name is in new ledgers; earlier versions hashed names in the spelling of their table.
    """
    spellings = [identity, one_spelling(identity), *(unicodedata.normalize(form, identity) for form in ("NFC", "NFD"))]
    return [person_hash(key, name) for name in dict.fromkeys([*spellings, folded_name(identity)])]


def file_hash(key: bytes, content_digest: str) -> str:
    """Return the keyed hash of a file, from the :func:`digest` of its bytes."""
    return keyed_digest(key, "file", content_digest)


# -- names of people ---------------------------------------------------------------------------------------------------

#: Characters without a width that Unicode does not count as format characters (category Cf).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
#: Letters that look like Latin ones (Unicode Technical Standard 39), and Latin ones that do not decompose.
_LOOK_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТХУҮаеѕіјорсхуүһԁԛԝӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυχıłøđŁØĐ",
    "ABESIJKMHOPCTXYYaesijopcxyyhdqwlABEZHIKMNOPTYXaikvopuxilodLOD",
)


def one_spelling(name: str) -> str:
    """Return a name in one spelling for all that look the same: composed (NFC), without invisible characters."""
    seen = (each for each in unicodedata.normalize("NFC", name) if each not in _INVISIBLE)
    visible = "".join(each for each in seen if unicodedata.category(each) != "Cf" and not "\ufe00" <= each <= "\ufe0f")
    return unicodedata.normalize("NFC", " ".join(visible.split())) or name


def folded_name(name: str) -> str:
    """Return a name in its :func:`one_spelling`, without regard to case."""
    return unicodedata.normalize("NFC", one_spelling(name).casefold())


def skeleton(name: str) -> str:
    """Return a name without regard to case, width, accents and letters that look alike in other alphabets."""
    parts = unicodedata.normalize("NFKD", one_spelling(name))
    letters = "".join(each for each in parts if unicodedata.category(each) != "Mn")
    return folded_name(letters.translate(_LOOK_ALIKE))


def may_be_doubles(first: str, second: str) -> bool:
    """Return whether two names may be one person's: they differ in case, width, accents or letters that look alike."""
    return folded_name(first) == folded_name(second) or skeleton(first) == skeleton(second)
