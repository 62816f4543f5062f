"""The ledger: one line of canonical JSON per step, each with the hash of the line before it; only ever appended to.

``ledger.jsonl`` holds the lines, ``ledger.head`` the number and the hash of the last one, so that lines missing at the
end are noticed. A line is on the disk before its step counts as done. A line without a newline at its end was being
written when the process was killed: it does not count, and the next entry replaces it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from gli.erasure.canonical import canonical, durable_write, parse_canonical, read_bytes, sha256, sync_folder
from gli.erasure.dates import timestamp
from gli.errors import DataError

LEDGER, HEAD = "ledger.jsonl", "ledger.head"
#: Hash in front of the first line.
START = "0" * 64
#: Fields that every line has, besides those of its kind.
FIELDS = {"number", "previous", "time", "kind", "hash"}
Entry = dict[str, Any]
#: Larger numbers are no counts and no scores.
MOST = 10**12
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


def _numbers(count: int) -> Check:
    def check(value: Any) -> bool:
        fits = isinstance(value, list) and len(value) == count
        return fits and all(map(_number, value))

    return check


def _candidate(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("method")) and isinstance(value.get("settings"), dict)


def _candidates(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_candidate, value))


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MOST


def _outcomes(value: Any) -> bool:
    return _candidates(value) and all(
        (each.get("auc") is None or _numbers(3)(each["auc"]))
        and all(each.get(name) is None or _number(each[name]) for name in ("loss", "minutes"))
        and {"auc", "loss", "minutes"} <= each.keys()
        for each in value
    )


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


#: Fields that other steps read from the lines of each kind: a chain whose hashes are right may still be made up.
KINDS: Mapping[str, Mapping[str, Check]] = {
    "init": {"weights": _text, "policy": _text},
    "baseline": {"auc": _numbers(3), "accuracy": _numbers(2), "people": _numbers(2), "images": _numbers(2)},
    "rehearse": {"asked": _text, "candidates": _candidates, "people": _texts, "held_out": _texts},
    "rehearsed": {"begun": _text, "outcomes": _outcomes, "unseen": _count},
    "policy": {"rehearsal": _text, "before": _text, "after": _text},
    "request": {"request": _text, "received": _day, "due": _day},
    "plan": {"batch": _text, "requests": _texts},
    "run": {"batch": _text, "evidence": _text, "key": _text},
    "erased": {"batch": _text, "request": _text, "people": _texts, "files": _texts},
    "gone": {"request": _text},
    "purge": {"batch": _text, "receipt": _text},
    "release": {"batch": _text, "certificate": _text, "pages": lambda value: isinstance(value, dict)},
}


@dataclass(frozen=True)
class Lines:
    """The contents of a ledger.

    Attributes:
        entries: The complete lines.
        length: Length of the complete lines in bytes.
        torn: Bytes of an incomplete last line.
    """

    entries: list[Entry]
    length: int
    torn: bytes = b""

    @property
    def last_hash(self) -> str:
        """Hash of the last line; ``START`` where there is none."""
        return str(self.entries[-1]["hash"]) if self.entries else START

    def of_kind(self, kind: str, **fields: Any) -> list[Entry]:
        """Return the entries of a kind whose fields have these values."""
        return [
            entry
            for entry in self.entries
            if entry["kind"] == kind and all(entry.get(name) == value for name, value in fields.items())
        ]


def make_entry(number: int, previous: str, time: str, kind: str, fields: dict[str, Any]) -> bytes:
    """Return a line, with its newline."""
    entry = {**fields, "number": number, "previous": previous, "time": time, "kind": kind}
    return canonical({**entry, "hash": sha256(canonical(entry))}) + b"\n"


def parse_lines(data: bytes, where: str) -> Lines:
    """Check and return the lines of a ledger.

    Args:
        data: Contents of the file.
        where: Its path, for the messages.

    Raises:
        DataError: Naming the first line that was changed, removed, moved or repeated.
    """
    entries: list[Entry] = []
    previous = START
    *complete, torn = data.split(b"\n")
    for number, text in enumerate(complete):
        try:
            entry = parse_canonical(text, "a line of a ledger")
        except DataError as error:
            raise DataError(f"{where}, line {number + 1}: {error}") from error
        body = {name: value for name, value in entry.items() if name != "hash"}
        if not entry.keys() >= FIELDS or entry["hash"] != sha256(canonical(body)):
            raise DataError(f"{where}, line {number + 1}: was changed; its hash is not that of its contents.")
        if entry["previous"] != previous or entry["number"] != number or not isinstance(entry["kind"], str):
            raise DataError(
                f"{where}, line {number + 1}: does not follow the line before it: one was removed, moved or repeated."
            )
        for name, fits in KINDS.get(entry["kind"], {}).items():
            if not fits(entry.get(name)):
                raise DataError(
                    f"{where}, line {number + 1}: gli did not write it: {name!r} is missing or of another kind."
                )
        previous = entry["hash"]
        entries.append(entry)
    return Lines(entries, len(data) - len(torn), torn)


def _head(lines: Lines) -> bytes:
    return canonical({"lines": len(lines.entries), "hash": lines.last_hash}) + b"\n"


class Ledger:
    """The ledger in a folder. Only one process at a time may append (see :meth:`gli.erasure.store.Store.lock`)."""

    def __init__(self, folder: Path) -> None:
        self.path, self.head = folder / LEDGER, folder / HEAD

    def read(self) -> Lines:
        """Return the checked lines.

        Raises:
            DataError: If a line was changed, removed, moved or repeated, or the head is of another ledger.
        """
        data = read_bytes(self.path, "a ledger") if self.path.exists() else b""
        lines = parse_lines(data, str(self.path))
        if not self.head.exists() and len(lines.entries) <= 1:
            return lines
        try:
            head = parse_canonical(read_bytes(self.head, "the head of a ledger").removesuffix(b"\n"), "a head")
            count, last = head["lines"], head["hash"]
            if type(count) is not int or count < 0 or not isinstance(last, str):
                raise KeyError("lines")
        except (DataError, KeyError) as error:
            raise DataError(f"{self.head}: was changed or is missing. Restore it from a backup.") from error
        # A kill between the line and the head leaves the head one line behind.
        behind = len(lines.entries) - count
        hashes = [START, *(str(entry["hash"]) for entry in lines.entries)]
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
        lines = self.read()
        line = make_entry(len(lines.entries), lines.last_hash, timestamp(now), kind, fields)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if lines.entries:  # The head must not fall two lines behind.
            durable_write(self.head, _head(lines))
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            file.truncate(lines.length)
            file.seek(lines.length)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        entry = parse_canonical(line[:-1], "a line of a ledger")
        durable_write(self.head, _head(Lines([*lines.entries, entry], 0)))
        return entry


def ledger_text(entries: Sequence[Entry]) -> bytes:
    """Return the text of some lines, as in the file."""
    return b"".join(canonical(entry) + b"\n" for entry in entries)
