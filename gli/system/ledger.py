"""The ledger: one line of canonical JSON per step, each with the hash of the line before it; only ever appended to.

``ledger.jsonl`` holds the lines, ``ledger.head`` the number and the hash of the last one, so that lines missing at the
end are noticed. Each line and the head have a MAC under the key of the store, and the first line identifies the key.
:func:`open_ledger` checks all of it, for every command. A line is on the disk before its step counts as done. A line
without a newline at its end was being written when the process was killed: it does not count, and the next entry
replaces it.

The ledger stands on canonical JSON, durable and removed files, and keyed hashes of people; they are here too.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import rfc8785

from gli.errors import DataError
from gli.system.digest import file_hash, folded_name, keyed_digest, one_spelling, person_hash, person_hashes
from gli.system.files import atomic_write

# -- words for people --------------------------------------------------------------------------------------------------


def counted(number: int, one: str = "person", many: str = "people") -> str:
    """Return a number with its noun, such as ``1 person`` or ``2 people``."""
    return f"{number} {one if number == 1 else many}"


def printable(text: str) -> str:
    """Return a text without characters that control a terminal or the direction of writing: they are shown as codes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


# -- canonical JSON, durable files -------------------------------------------------------------------------------------

CHUNK = 1 << 20
#: Larger files are neither certificates nor receipts nor ledgers.
MAX_BYTES = 64 << 20


def canonical(value: Any) -> bytes:
    """Return a value as canonical JSON (RFC 8785).

    Raises:
        ValueError: If it holds something that JSON cannot express.
    """
    return rfc8785.dumps(value)


def canonical_before(value: Any) -> bytes:
    """Return a value as earlier versions wrote it: other characters than ASCII escaped, and numbers as in Python."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


#: Forms in which ledgers, certificates and receipts may be written.
FORMS = (canonical, canonical_before)


def _written_as(form: Callable[[Any], bytes], value: Any, text: bytes) -> bool:
    try:
        return form(value) == text
    except ValueError:  # A number or a character that this form does not have.
        return False


def holds_own_hash(value: Mapping[str, Any], field: str, text: bytes) -> bool:
    """Return whether a field is the SHA-256 of the other ones, in the form of the text that the value was read from."""
    rest = {name: item for name, item in value.items() if name != field}
    return any(_written_as(form, value, text) and value[field] == sha256(form(rest)) for form in FORMS)


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
        same = isinstance(value, dict) and any(_written_as(form, value, text) for form in FORMS)
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


def timestamp(now: datetime | None = None) -> str:
    """Return a time in UTC to the second, such as ``2026-11-03T22:30:00Z``."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- removal -----------------------------------------------------------------------------------------------------------

#: Prefix of files that are being removed; left behind by a kill only.
DOOMED = ".purge-"


def is_regular(path: Path) -> bool:
    """Return whether a path is a plain file itself, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def has_other_names(path: Path) -> bool:
    """Return whether a file is known by a second name (a hard link), perhaps outside of the folder."""
    return path.lstat().st_nlink > 1


def shred(path: Path) -> None:
    """Overwrite a file, rename it, and remove it; a file with other names is removed without being overwritten.

    Nothing is done where the file is gone. A link is removed itself, never followed.
    """
    with suppress(FileNotFoundError):
        if is_regular(path) and not has_other_names(path):
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "wb", closefd=True) as file:
                left = os.fstat(file.fileno()).st_size
                while left > 0:
                    left -= file.write(bytes(min(left, CHUNK)))
                file.flush()
                os.fsync(file.fileno())
        doomed = path if path.name.startswith(DOOMED) else path.with_name(DOOMED + secrets.token_hex(8))
        os.replace(path, doomed)
        sync_folder(path.parent)
        os.unlink(doomed)
        sync_folder(path.parent)


def remove_remains(folder: Path) -> None:
    """Shred what killed processes left half-written or half-removed; call only if no other process writes."""
    for pattern in (".*.part", f"{DOOMED}*"):
        for path in folder.rglob(pattern):
            shred(path)


def replace_contents(path: Path, data: bytes) -> None:
    """Replace the contents of a file, and shred the old ones; after a kill the file has either, never half."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    new = path.with_name(f".{path.name}.{os.getpid()}.part")
    durable_write(new, data, mode)
    doomed = path.with_name(DOOMED + secrets.token_hex(8))
    os.link(path, doomed, follow_symlinks=False)
    os.replace(new, path)
    sync_folder(path.parent)
    shred(doomed)


def shred_folder(folder: Path) -> None:
    """Shred everything below a folder, and remove the folder; links are removed, never followed."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            shred(Path(parent, name))
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
            else:
                path.rmdir()
    with suppress(FileNotFoundError):
        folder.rmdir()
        sync_folder(folder.parent)


# -- keyed hashes of people and files ----------------------------------------------------------------------------------

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
    if len(key) != KEY_BYTES or text != key.hex().encode():
        raise DataError(f"{path}: is not the key of a store as gli writes it. Restore it from a backup.")
    return key


def word_hash(key: bytes, words: str) -> str:
    """Return the keyed hash of a name as written in a text, in any spelling."""
    return keyed_digest(key, "words", folded_name(words))


def rehearsal_hash(key: bytes, identity: str) -> str:
    """Return the keyed hash of a person in a rehearsal; it cannot be linked to the hashes of erased people."""
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


# -- the ledger --------------------------------------------------------------------------------------------------------

LEDGER, HEAD = "ledger.jsonl", "ledger.head"
#: Kind of a line that records changed settings, and signs the lines of an earlier version.
AMEND = "amend"
#: Hash in front of the first line.
START = "0" * 64
#: Fields that every line has, besides those of its kind.
FIELDS = {"number", "previous", "time", "kind", "hash"}
Entry = dict[str, Any]
Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _day(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(date.fromisoformat(value)) == value
    except ValueError:
        return False


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


#: Fields that other steps read from the lines of each kind: without the key, a chain with right hashes may be made up.
KINDS: Mapping[str, Mapping[str, Check]] = {
    "init": {"weights": _text, "policy": _text},
    "rehearse": {"asked": _text, "people": _texts, "held_out": _texts},
    "rehearsed": {"begun": _text},
    "policy": {"rehearsal": _text, "before": _text, "after": _text},
    AMEND: {"reason": _text, "before": _text, "after": _text, "unsigned": _count},
    "request": {"request": _text, "received": _day, "due": _day},
    "received": {"request": _text, "received": _day, "due": _day},
    "copies": {"request": _text, "decisions": lambda value: isinstance(value, dict) and _texts([*value.values()])},
    "looked": {"requests": _texts, "tables": _text},
    "plan": {"batch": _text, "requests": _texts},
    "run": {"batch": _text, "evidence": _text, "key": _text, "weights_after": _text},
    "erased": {"batch": _text, "request": _text, "people": _texts, "files": _texts},
    "gone": {"request": _text},
    "network": {"batch": _text, "file": _text, "weights": _text, "manifest": _text, "people": _texts},
    "served": {"weights": _text, "from": _texts},
    "purge": {"batch": _text, "receipt": _text},
    "release": {"batch": _text, "certificate": _text, "pages": lambda value: isinstance(value, dict)},
}


@dataclass(frozen=True)
class Lines:
    """The contents of a ledger."""

    entries: list[Entry]  # The complete lines.
    length: int  # Length of the complete lines in bytes.
    torn: bytes = b""  # Bytes of an incomplete last line.
    unsigned: int = 0  # Number of lines in front that an earlier version wrote without a MAC.

    @property
    def last_hash(self) -> str:
        """Hash of the last line; ``START`` where there is none."""
        return str(self.entries[-1]["hash"]) if self.entries else START

    @property
    def shown(self) -> str:
        """Number of lines and hash of the last one: whoever has noted it notices a ledger that was set back."""
        return f"ledger: {counted(len(self.entries), 'line', 'lines')}, head {self.last_hash}"

    def of_kind(self, kind: str, **fields: Any) -> list[Entry]:
        """Return the entries of a kind whose fields have these values."""
        return [
            entry
            for entry in self.entries
            if entry["kind"] == kind and all(entry.get(name) == value for name, value in fields.items())
        ]

    def last(self, kind: str, **fields: Any) -> Entry:
        """Return the last of these entries; empty where there is none."""
        return [{}, *self.of_kind(kind, **fields)][-1]


def make_entry(number: int, previous: str, time: str, kind: str, fields: dict[str, Any], key: bytes) -> bytes:
    """Return a line, with its newline."""
    entry = {**fields, "number": number, "previous": previous, "time": time, "kind": kind}
    entry["mac"] = keyed_digest(key, "ledger line", canonical(entry))
    return canonical({**entry, "hash": sha256(canonical(entry))}) + b"\n"


def key_hash(key: bytes) -> str:
    """Return the hash by which the first line of a ledger identifies its key."""
    return keyed_digest(key, "ledger key")


def _check_mac(entry: Entry, key: bytes, first: bool, where: str) -> None:
    """Refuse a line that was not written with a key.

    Args:
        entry: The line.
        key: The key.
        first: Whether it is the first line with a MAC, which identifies the key.
        where: File and line, for the messages.

    Raises:
        DataError: If the line is of another key, or somebody without the key made it up.
    """
    if first and entry.get("key_hash") != key_hash(key):
        raise DataError(
            f"{where}: was written with another key than the file {KEY_FILE!r} of this store has now. Restore the key "
            "from a backup: without it, nobody who was erased is recognised."
        )
    rest = {name: value for name, value in entry.items() if name not in ("mac", "hash")}
    if entry["mac"] != keyed_digest(key, "ledger line", canonical(rest)):
        raise DataError(
            f"{where}: was made up without the key of this store: its MAC is wrong. Restore {LEDGER} and {HEAD} from a "
            "backup."
        )


def parse_lines(data: bytes, where: str, key: bytes | None = None) -> Lines:
    """Check and return the lines of a ledger.

    Args:
        data: Contents of the file.
        where: Its path, for the messages.
        key: Key of the store; None to check the chain of hashes only.

    Raises:
        DataError: Naming the first line that was changed, removed, moved, repeated, or made up without the key.
    """
    entries: list[Entry] = []
    previous, unsigned = START, 0
    *complete, torn = data.split(b"\n")
    for number, text in enumerate(complete):
        line = f"{where}, line {number + 1}"
        try:
            entry = parse_canonical(text, "a line of a ledger")
        except DataError as error:
            raise DataError(f"{line}: {error}") from error
        if not entry.keys() >= FIELDS or not holds_own_hash(entry, "hash", text):
            raise DataError(f"{line}: was changed; its hash is not that of its contents.")
        if entry["previous"] != previous or entry["number"] != number or not isinstance(entry["kind"], str):
            raise DataError(f"{line}: does not follow the line before it: one was removed, moved or repeated.")
        for name, fits in KINDS.get(entry["kind"], {}).items():
            if not fits(entry.get(name)):
                raise DataError(f"{line}: gli did not write it: {name!r} is missing or of another kind.")
        if "mac" not in entry:
            if unsigned < number:
                raise DataError(f"{line}: gli did not write it: it has no MAC, unlike the lines before it.")
            unsigned += 1
        elif key is not None:
            _check_mac(entry, key, number == unsigned, line)
        previous = entry["hash"]
        entries.append(entry)
    return Lines(entries, len(data) - len(torn), torn, unsigned)


class Ledger:
    """The ledger in a folder. Only one process at a time may append (see :meth:`gli.erasure.store.Store.lock`).

    Args:
        folder: The folder.
        key: Key of the store.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self.path, self.head, self.key = folder / LEDGER, folder / HEAD, key
        self._checked: tuple[bytes, Lines] = (b"", Lines([], 0))  # Lines are checked once by a process.

    def _head(self, count: int, last: str) -> bytes:
        mac = keyed_digest(self.key, "ledger head", count, last)
        return canonical({"lines": count, "hash": last, "mac": mac}) + b"\n"

    def read(self, *, unsigned: bool = False) -> Lines:
        """Return the checked lines.

        Args:
            unsigned: Accept a ledger of an earlier version, whose lines have no MAC.

        Raises:
            DataError: If a line was changed, removed, moved, repeated or made up, or the head is of another ledger.
        """
        # The head first: another process may append in between.
        text = read_bytes(self.head, "the head of a ledger") if self.head.exists() else b""
        data = read_bytes(self.path, "a ledger") if self.path.exists() else b""
        if data != self._checked[0]:
            self._checked = (data, parse_lines(data, str(self.path), self.key))
        lines = replace(self._checked[1], entries=[*self._checked[1].entries])
        if lines.entries and lines.unsigned == len(lines.entries) and not unsigned:
            raise DataError(
                f"{self.path}, line 1: was written by an earlier version of gli, without MACs. Compare it with your "
                f"certificates (gli erase verify CERTIFICATE --ledger {self.path}), then sign it: gli erase amend "
                '--reason "REASON".'
            )
        if not text and len(lines.entries) == lines.unsigned <= 1:
            return lines
        hashes = [START, *(str(entry["hash"]) for entry in lines.entries)]
        try:
            head = parse_canonical(text.removesuffix(b"\n"), "a head")
            count, last = head["lines"], head["hash"]
            if type(count) is not int or count < 0 or not isinstance(last, str):
                raise KeyError("lines")
        except (DataError, KeyError) as error:
            raise DataError(f"{self.head}: was changed or is missing. Restore it from a backup.") from error
        if text != self._head(count, last) and not ("mac" not in head and 0 < count <= lines.unsigned):
            raise DataError(f"{self.head}: was made up without the key of this store. Restore it from a backup.")
        # A kill between the line and the head leaves the head one line behind.
        behind = len(lines.entries) - count
        if behind not in (0, 1) or hashes[count] != last:
            raise DataError(
                f"{self.path}: has {len(lines.entries)} lines, but {self.head.name} was written for {count}: lines at "
                "the end were removed or added. Restore both files from a backup."
            )
        return lines

    def append(self, kind: str, fields: dict[str, Any], now: datetime | None = None) -> Entry:
        """Append a line and return it; it is on the disk when this returns.

        Raises:
            DataError: If the ledger is damaged.
        """
        lines = self.read(unsigned=kind == AMEND)
        count = len(lines.entries)
        if count == lines.unsigned:
            fields = {**fields, "key_hash": key_hash(self.key)}
        line = make_entry(count, lines.last_hash, timestamp(now), kind, fields, self.key)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        durable_write(self.head, self._head(count, lines.last_hash))  # The head must not fall two lines behind.
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            file.truncate(lines.length)
            file.seek(lines.length)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        entry = parse_canonical(line[:-1], "a line of a ledger")
        length = lines.length + len(line)
        data = self._checked[0][: lines.length] + line
        self._checked = (data, Lines([*lines.entries, entry], length, unsigned=lines.unsigned))
        durable_write(self.head, self._head(count + 1, entry["hash"]))
        return entry


def refuse_links(folder: Path) -> None:
    """Refuse a folder with a symbolic link in it: a purge would leave what is behind the link.

    Raises:
        DataError: Naming the link.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(parent, name)).is_symlink():
                raise DataError(f"{path}: is a link, which no purge follows. Put the file or folder in its place.")


def open_ledger(folder: Path, *, unsigned: bool = False) -> Ledger:
    """Return the ledger of a store after checking its links, key, lines and head: the way in for every command.

    Args:
        folder: Folder of the store.
        unsigned: Accept a ledger of an earlier version, whose lines have no MAC.

    Raises:
        DataError: Naming the file and the line of what was changed.
    """
    refuse_links(folder)
    ledger = Ledger(folder, read_key(folder / KEY_FILE))
    if not ledger.read(unsigned=unsigned).entries:
        raise DataError(f"{ledger.path}: is missing or empty. Restore it and {HEAD} from a backup.")
    return ledger


# -- who was erased ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Erased:
    """The keyed hashes of erased people in a ledger."""

    requests: frozenset[str]  # Pseudonyms of the requests.
    people: Mapping[str, list[str]]  # Request pseudonyms by keyed hash of a person.
    #: Request pseudonyms by keyed hash of the name of somebody whom a decision keeps apart from their person.
    others: Mapping[str, list[str]]
    files: Mapping[str, str]  # Request pseudonym by keyed hash of a file.
    gone: frozenset[str]  # Requests whose photographs have left the table.

    def request_of(self, key: bytes, identity: str, content_digest: str = "") -> str | None:
        """Return the pseudonym of the request that erased a person, in any spelling, or a file; None for nobody."""
        others = self.others.get(person_hash(key, one_spelling(identity)), ())
        requests = (each for hash_ in person_hashes(key, identity) for each in self.people.get(hash_, ()))
        found = next((each for each in requests if each not in others), None)
        return found or (self.files.get(file_hash(key, content_digest)) if content_digest else None)


def erased_in(lines: Lines) -> Erased:
    """Return the erased people of a ledger."""
    people: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for entry in lines.of_kind("erased"):
        request = str(entry["request"])
        for hashes, name in ((people, "people"), (others, "others")):
            for each in entry.get(name, ()):
                hashes.setdefault(str(each), []).append(request)
        files |= dict.fromkeys(map(str, entry["files"]), request)
    requests, gone = (frozenset(str(entry["request"]) for entry in lines.of_kind(kind)) for kind in ("erased", "gone"))
    return Erased(requests, people, others, files, gone)
