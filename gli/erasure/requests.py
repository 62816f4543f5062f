"""Requests: who asked, when, until when, which photographs and copies that concerns, and how far each request is."""

from __future__ import annotations

import calendar
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from gli.erasure.store import (
    LazyPixels,
    Noted,
    Photo,
    Store,
    cached_sizes,
    looks_of,
    note_departures,
    noted_in,
    noted_settings,
    read_photos,
    settings_text,
)
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.console import progress
from gli.system.digest import file_hash, keyed_digest, may_be_doubles, one_spelling
from gli.system.files import Row, csv_text, read_csv
from gli.system.ledger import (
    AMEND,
    Entry,
    Lines,
    counted,
    durable_write,
    erased_in,
    is_named,
    printable,
    pseudonym,
    replace_contents,
    sha256,
    shred,
    word_hash,
)

# -- dates -------------------------------------------------------------------------------------------------------------

DURATION = re.compile(r"(\d{1,4})\s*([dw]?)", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def add_months(day: date, months: int) -> date:
    """Return the same day of a later month, or the last day of that month if it is shorter.

    Raises:
        SettingError: If the result lies after the year 9999.
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    try:
        return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError) as error:
        raise SettingError(f"{day} and {months} months is no date. Check the year.") from error


def due_date(received: date, months: int = 1) -> date:
    """Return the last day on which a request may be answered: one calendar month after its receipt.

    A request of 31 January is due on 28 or 29 February. Weekends and holidays do not extend it here; where the law
    extends it, the date is early, never late.
    """
    return add_months(received, months)


def parse_received(text: str, zone: tzinfo = UTC) -> date:
    """Return the day on which a request was received.

    Args:
        text: A day (``2026-11-03``), or a time with its offset (``2026-11-03T23:30:00-05:00``), which is converted to
            the zone. A time without an offset is a time of the zone.
        zone: Time zone of the store.

    Raises:
        SettingError: If it is neither.
    """
    text = text.strip()
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        if DAY.match(text) is None or len(text) < 16:
            raise ValueError("no day")
        return moment.astimezone(zone).date() if moment.tzinfo else moment.date()
    except (ValueError, OverflowError) as error:
        raise SettingError(
            f"{text[:40]!r} is not a date. Write the day of receipt as 2026-11-03, or a time as "
            "2026-11-03T23:30:00+01:00."
        ) from error


def parse_days(text: str) -> int:
    """Return the days of a duration such as ``7d``, ``2w`` or ``7``.

    Raises:
        SettingError: If it has another form.
    """
    match = DURATION.fullmatch(text.strip())
    if not match:
        raise SettingError(f"{text[:40]!r} is not a number of days. Write 7d or 2w.")
    return int(match[1]) * (7 if match[2] == "w" else 1)


def today(zone: tzinfo, now: datetime | None = None) -> date:
    """Return the present day in a time zone; ``now`` must have an offset."""
    return (now or datetime.now(UTC)).astimezone(zone).date()


def days_left(due: date, day: date) -> int:
    """Return the days from a day to a due date; 0 on the due date, negative when it is over."""
    return (due - day) // timedelta(days=1)


def shown_days(left: int) -> str:
    """Return ``due in 3 days``, ``due today`` or ``overdue by 2 days``."""
    if left == 0:
        return "due today"
    unit = "day" if abs(left) == 1 else "days"
    return f"due in {left} {unit}" if left > 0 else f"overdue by {-left} {unit}"


# -- requests ----------------------------------------------------------------------------------------------------------

REQUESTS = "requests.csv"
REQUEST_COLUMNS = ("request", "subject", "received", "due", "batch")


@dataclass(frozen=True)
class Request:
    """An open request."""

    request: str  # Pseudonym, which is all that the ledger and the certificate have.
    subject: str  # Name of the person in the table.
    received: date  # Day of receipt.
    due: date  # Last day to answer.
    batch: str = ""  # Name of the batch; empty before it is planned.
    note: str = ""  # A sentence on a date that was given again; in no file.

    def received_again(self, received: date, months: int) -> Request:
        """Return the request with the earlier of its date and another one: the due date follows from the first mail."""
        if received == self.received:
            return self
        if received > self.received:
            return replace(self, note=f"Was received on {self.received} already: the earlier date counts.")
        note = f"The earlier date counts (before: received {self.received}, due {self.due})."
        return replace(self, received=received, due=due_date(received, months), note=note)


def batches_of(lines: Lines) -> dict[str, str]:
    """Return the batch of each request that is in one."""
    return {str(name): str(entry["batch"]) for entry in lines.of_kind("plan") for name in entry["requests"]}


def planned_in(lines: Lines) -> list[str]:
    """Return the names of the batches of a ledger, in the order of their plans."""
    return list(dict.fromkeys(str(entry["batch"]) for entry in lines.of_kind("plan")))


def first_received(lines: Lines) -> dict[str, str]:
    """Return the date from which the pseudonym of each request was made; an earlier one may have been given later."""
    return {str(entry["request"]): str(entry["received"]) for entry in lines.of_kind("request")}


def closed_in(lines: Lines) -> set[str]:
    """Return the pseudonyms of the requests of a ledger whose people are purged."""
    purged = {entry["batch"] for entry in lines.of_kind("purge")}
    return {name for name, batch in batches_of(lines).items() if batch in purged}


def open_in(lines: Lines) -> list[str]:
    """Return the pseudonyms of the requests of a ledger whose people are not purged yet."""
    closed = closed_in(lines)
    return [name for name in dates_of(lines) if name not in closed]


def repair_of(lines: Lines, request: str) -> str:
    """Return the command that writes the rows of a request again."""
    return f"gli erase add --subject NAME --received {dates_of(lines)[request][0]}"


def read_requests(store: Store, *, repairing: bool = False) -> list[Request]:
    """Return the open requests, those that are due first in front: a view of the ledger, which has all but the names.

    Args:
        store: The store.
        repairing: Accept rows that are missing or out of date, as a killed process leaves them.

    Raises:
        DataError: Naming the row that differs from the ledger, and what to do.
    """
    path, lines = store.folder / REQUESTS, store.ledger.read()
    first, dates, batches = first_received(lines), dates_of(lines), batches_of(lines)
    requests = {}
    for row in read_csv(path, REQUEST_COLUMNS, exact=True) if path.exists() else []:
        name = row["request"]
        if name not in dates:
            raise DataError(
                f"{row.where}: the ledger has no such request. Remove the row; gli erase add adds requests."
            )
        if name != pseudonym(store.key, row["subject"], first[name]):
            raise DataError(
                f"{row.where}: was changed: the request is not that of its subject and date. Remove the row, then "
                f"write it again: {repair_of(lines, name)}"
            )
        batch = batches.get(name, "")
        # A kill leaves a row without its batch.
        if (row["received"], row["due"]) != dates[name] or row["batch"] not in ("", batch):
            difference = f"{row.where}: the ledger has {' '.join((*dates[name], batch)).rstrip()} for this request."
            if not repairing:
                raise DataError(f"{difference} Write it again: {repair_of(lines, name)}")
        received, due = map(date.fromisoformat, dates[name])
        requests[name] = Request(name, row["subject"], received, due, batch)
    missing = [name for name in open_in(lines) if name not in requests]
    if missing and not repairing:
        raise DataError(
            f"{path}: the row of the request {missing[0]} is missing. Write it again: {repair_of(lines, missing[0])}"
        )
    return sorted(requests.values(), key=lambda each: (each.due, each.request))


def write_requests(store: Store, requests: Sequence[Request]) -> None:
    """Write the open requests, which the ledger has already."""
    rows = [[each.request, each.subject, str(each.received), str(each.due), each.batch] for each in requests]
    write_rows(store.folder / REQUESTS, REQUEST_COLUMNS, rows)


def wanted(csv_file: Path | None, subject: str | None, received: str | None) -> list[tuple[str, str]]:
    """Return subjects and dates, from the command line or a CSV file with the columns ``subject`` and ``received``.

    Raises:
        SettingError: If neither is complete.
    """
    if csv_file is not None and subject is None and received is None:
        return [(row["subject"], row["received"]) for row in read_csv(csv_file, ("subject", "received"))]
    if csv_file is None and subject and received:
        return [(subject, received)]
    raise SettingError("Give --subject and --received, or --requests with a CSV file that has these two columns.")


def add(store: Store, subjects: Sequence[tuple[str, str]], now: datetime | None = None) -> list[Request]:
    """Add requests, all or none, and find the copies of their photographs; call with the store locked.

    A person has one request at a time: one that is already there is returned, with the earlier of the two dates.

    Args:
        store: The store.
        subjects: Name of each person in the table, and the day of receipt.
        now: The present; None for the clock's.

    Raises:
        DataError: If somebody is not in the table, or was erased before.
        SettingError: If a date is invalid, or lies in the future.
    """
    lines = note_departures(store, now)
    erased, known = erased_in(lines), {photo.identity for photo in store.photos}
    months, noted = store.settings.policy.months, first_received(lines)
    requests = {one_spelling(each.subject): each for each in read_requests(store, repairing=True)}
    missing = set(open_in(lines)) - {each.request for each in requests.values()}
    added: dict[str, Request] = {}
    for subject, text in dict.fromkeys((one_spelling(subject), text) for subject, text in subjects):
        received = parse_received(text, store.zone)
        if received > today(store.zone, now):
            raise SettingError(f"{text}: this day lies in the future. Give the day on which the request was received.")
        before = erased.request_of(store.key, subject)
        if before:
            raise DataError(f"This person was erased by request {before}. Nothing was added.")
        if subject not in known | requests.keys():
            if subject in {photo.identity for photo in store.held_out}:
                raise DataError(
                    f"{subject!r} was never trained on (held-out people): there is nothing to unlearn. Delete the "
                    "photographs, remove the rows, and name other held-out people."
                )
            raise DataError(
                f"{subject!r} is not in {store.settings.table}.{did_you_mean(subject, known)} Nothing was added."
            )
        request = requests.get(subject)
        if request is None or request.request not in noted:
            received = min(received, request.received) if request else received
            without_row = (name for name in missing if pseudonym(store.key, subject, noted[name]) == name)
            name = next(without_row, pseudonym(store.key, subject, str(received)))
            if name in noted:
                before_loss, due = map(date.fromisoformat, dates_of(lines)[name])
                request = Request(name, subject, before_loss, due, batches_of(lines).get(name, ""))
            else:
                request = Request(name, subject, received, due_date(received, months))
        added[subject] = requests[subject] = request.received_again(received, months)
    if missing and not missing & {each.request for each in added.values()}:
        read_requests(store)  # Raises: a row is missing that this command does not bring back.
    new = [each for each in added.values() if each.request not in noted]
    photos = {
        each.request: [photo for photo in store.photos if photo.identity == one_spelling(each.subject)] for each in new
    }
    sizes = cached_sizes([store.folder, *([Path(store.settings.logs)] if store.settings.logs else [])]) if new else ()
    hashes = {request: Noted.of(store.key, own, store.settings, sizes) for request, own in photos.items()}
    lost = missing | missing_copies(store, lines).keys()
    hashes |= {each: noted_in(lines, store.key, [each]) for each in lost}
    _search(store, [(each, hashes[each.request]) for each in added.values() if each.request in hashes], now)
    tables = tables_hash(store) if new else ""
    for each in added.values():
        fields: dict[str, Any] = {"request": each.request, "received": str(each.received), "due": str(each.due)}
        if each in new:
            fields |= {"tables": tables, **hashes[each.request].contents()}
            store.ledger.append("request", fields, now)
        elif dates_of(lines)[each.request] != (fields["received"], fields["due"]):
            store.ledger.append("received", fields, now)
    write_requests(store, sorted(requests.values(), key=lambda each: (each.due, each.request)))
    return list(added.values())


def dates_of(lines: Lines) -> dict[str, tuple[str, str]]:
    """Return the day of receipt and the due date of every request in a ledger."""
    kinds = ("request", "received")  # The latter where an earlier date was given later.
    entries = (entry for entry in lines.entries if entry["kind"] in kinds)
    return {str(entry["request"]): (str(entry["received"]), str(entry["due"])) for entry in entries}


def held_out_copies(store: Store, requests: Sequence[Request]) -> dict[str, list[Photo]]:
    """Return the held-out rows that show the subject of each request: the accepted copies under held-out names."""
    accepted = {(copy.request, copy.file) for copy in read_copies(store) if copy.decision == "accept"}
    return {
        each.request: [photo for photo in store.held_out if (each.request, photo.file) in accepted] for each in requests
    }


def photos_of(store: Store, requests: Sequence[Request]) -> dict[str, list[Photo]]:
    """Return the rows of the table that each request erases: those of its subject, and accepted copies.

    Raises:
        SettingError: If a copy is undecided.
    """
    names = {each.request for each in requests}
    copies = [copy for copy in read_copies(store) if copy.request in names]
    undecided = [copy.request for copy in copies if copy.decision == "undecided"]
    if undecided:
        raise SettingError(
            f"{len(undecided)} possible copies of the photographs of {', '.join(sorted(set(undecided)))} are not "
            f"decided. Look at {store.folder / COPIES} and {store.folder / 'copies'}, then accept or keep each: gli "
            "erase add --accept FILE, gli erase add --keep FILE; or by the name of a possible double."
        )
    rows: dict[str, list[Photo]] = {}
    taken: set[str] = set()
    for each in requests:
        files = {copy.file for copy in copies if copy.request == each.request and copy.decision == "accept"}
        own = [photo for photo in store.photos if photo.identity == one_spelling(each.subject) or photo.file in files]
        rows[each.request] = [photo for photo in own if photo.file not in taken]
        taken |= {photo.file for photo in own}
    return rows


def amend(store: Store, reason: str, now: datetime | None = None) -> str:
    """Note in the ledger that settings were changed, and sign the lines of an earlier version; call with it locked.

    Args:
        store: The store, opened for amending.
        reason: Reason, which every later certificate shows.
        now: The present; None for the clock's.

    Returns:
        What was noted, in sentences.

    Raises:
        SettingError: If nothing was changed, or the reason is empty, names a person, or cannot be printed.
    """
    lines = store.ledger.read(unsigned=True)
    unsigned = lines.unsigned if lines.unsigned == len(lines.entries) else 0
    noted, current = noted_settings(lines), sha256(settings_text(store.settings))
    if current in noted and not unsigned:
        raise SettingError("There is nothing to amend: the settings are those of the ledger, and its lines are signed.")
    people = read_photos(Path(store.settings.table), store.settings)
    hashes = frozenset(word_hash(store.key, photo.identity) for photo in people)
    if not reason.strip() or not reason.isprintable() or is_named(store.key, reason, hashes):
        raise SettingError("--reason: certificates show it. Write it in one plain line, without names of people.")
    fields = {"reason": reason, "before": noted[0], "after": current, "unsigned": unsigned}
    sentences = amendments([store.ledger.append(AMEND, fields, now)])
    if unsigned:  # An earlier version noted no decisions.
        write_copies(store, [copy for _, copy in _rows_of_copies(store)], now=now)
    return " ".join(sentences)


def amendments(entries: Sequence[Entry]) -> list[str]:
    """Return what lines of the kind ``AMEND`` say, one sentence each, for the first lines of certificates."""
    sentences = []
    for entry in entries:
        day, reason = str(entry["time"])[:10], f"Reason: {entry['reason']}"
        if entry["before"] != entry["after"]:
            sentences.append(f"On {day} the settings of the store were changed, after it was created. {reason}")
        if entry["unsigned"]:
            count = counted(entry["unsigned"], "line", "lines")
            sentences.append(
                f"On {day} the first {count} of the ledger were signed; until then, whoever could write to the store "
                f"could change them. {reason}"
            )
    return sentences


# -- copies ------------------------------------------------------------------------------------------------------------

COPIES = "copies.csv"
COPY_COLUMNS = ("request", "file", "identity", "kind", "decision")
Decision = Literal["accept", "keep", "undecided"]
IDENTICAL, NEAR, NEAR_HELD_OUT = "identical", "near", "near held-out"
#: Rows of somebody whose name may be another spelling of the subject's.
NAME, NAME_HELD_OUT = "name", "name held-out"
#: Addition to the name of a held-out person on the page of near-copies.
HELD_OUT_MARK = " (held out)"
#: Photographs that are decoded between two steps of the bar.
AT_ONCE = 64
#: Word for all undecided copies.
ALL = "all"
#: Instead of a decision on a copy whose kind has changed since.
REPLACED = "replaced"


@dataclass(frozen=True)
class Copy:
    """A photograph that is, or may be, a copy of one of the subject's photographs."""

    request: str  # Pseudonym of the request.
    file: str  # Name of the copy's file.
    identity: str  # Name under which the table has it.
    #: ``identical``, ``near``, ``name`` (of somebody whose name may be another spelling of the subject's), or ``near
    #: held-out`` and ``name held-out`` (under the name of a held-out person).
    kind: str
    decision: Decision  # ``accept`` (erase it too), ``keep`` (another picture), or ``undecided``.

    def is_meant(self, given: str) -> bool:
        """Return whether a decision on a file, or on the name of a possible double, is one on this row."""
        return given == self.file or (self.kind in (NAME, NAME_HELD_OUT) and one_spelling(given) == self.identity)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a private file, and overwrite the one before; there is none without rows."""
    data = csv_text([columns, *rows]).encode()
    if not rows:
        shred(path)
    elif path.exists():
        replace_contents(path, data)
    else:
        durable_write(path, data, 0o600)


def _copy_hash(store: Store, copy: Copy) -> str:
    return keyed_digest(store.key, "copy", copy.request, copy.file, copy.identity, copy.kind)[:32]


def decisions_in(lines: Lines) -> dict[str, dict[str, str]]:
    """Return the decisions of a ledger on the copies of each open request, by keyed hash of the copy."""
    decisions: dict[str, dict[str, str]] = {}
    for entry in lines.of_kind("copies"):
        decisions.setdefault(str(entry["request"]), {}).update(entry["decisions"])
    closed = closed_in(lines)
    return {
        request: {copy: each for copy, each in copies.items() if each != REPLACED}
        for request, copies in decisions.items()
        if request not in closed
    }


def read_copies(store: Store, *, repairing: bool = False) -> list[Copy]:
    """Return the copies of the photographs of open requests: a view of the ledger, which has hashes and decisions.

    Args:
        store: The store.
        repairing: Accept rows that are missing or out of date, as a killed process leaves them.

    Raises:
        DataError: Naming the row that differs from the ledger, and what to do.
    """
    lines = store.ledger.read()
    decisions, closed, copies = decisions_in(lines), closed_in(lines), []
    for row, copy in _rows_of_copies(store):
        if copy.request not in closed:
            decision = decisions.get(copy.request, {}).get(_copy_hash(store, copy))
            if decision is None:
                raise DataError(
                    f"{row.where}: the ledger has no such copy. Remove the row; gli erase add finds copies again."
                )
            if decision != copy.decision and not repairing:
                raise DataError(
                    f"{row.where}: the decision is {copy.decision!r}, but {decision!r} in the ledger. Decide with gli "
                    "erase add --accept FILE or gli erase add --keep FILE."
                )
            copy = replace(copy, decision=cast("Decision", decision))
        copies.append(copy)
    for request, count in ({} if repairing else missing_copies(store, lines)).items():
        raise DataError(
            f"{store.folder / COPIES}: {counted(count, 'copy', 'copies')} of the request {request} missing. Find the "
            f"copies again: {repair_of(lines, request)}"
        )
    return copies


def _rows_of_copies(store: Store) -> list[tuple[Row, Copy]]:
    """Return the rows of the file of copies, unchecked."""
    path = store.folder / COPIES
    rows = read_csv(path, COPY_COLUMNS, exact=True) if path.exists() else []
    return [
        (row, Copy(row["request"], row["file"], row["identity"], row["kind"], cast("Decision", row["decision"])))
        for row in rows
    ]


def missing_copies(store: Store, lines: Lines) -> dict[str, int]:
    """Return the number of copies of each request of a ledger that the file of copies does not have."""
    rows = {_copy_hash(store, copy) for _, copy in _rows_of_copies(store)}
    noted = {name: copies.keys() - rows for name, copies in decisions_in(lines).items() if name in dates_of(lines)}
    return {name: len(copies) for name, copies in noted.items() if copies}


def write_copies(
    store: Store, copies: Sequence[Copy], replaced: Sequence[Copy] = (), now: datetime | None = None
) -> None:
    """Note copies and decisions in the ledger, then write them.

    Args:
        store: The store.
        copies: All copies.
        replaced: Copies that are no longer among them.
        now: The present; None for the clock's.
    """
    lines = store.ledger.read()
    noted, closed = decisions_in(lines), closed_in(lines)
    new: dict[str, dict[str, str]] = {}
    for copy, decision in [*((each, REPLACED) for each in replaced), *((each, each.decision) for each in copies)]:
        hash_ = _copy_hash(store, copy)
        if copy.request not in closed and noted.get(copy.request, {}).get(hash_) != decision:
            new.setdefault(copy.request, {})[hash_] = decision
    for request, decisions in new.items():
        store.ledger.append("copies", {"request": request, "decisions": decisions}, now)
    rows = [[each.request, each.file, each.identity, each.kind, each.decision] for each in copies]
    write_rows(store.folder / COPIES, COPY_COLUMNS, rows)


def find_copies(store: Store, request: str, subject: str, noted: Noted) -> list[Copy]:
    """Return the rows of other names whose photographs are, or may be, copies of the subject's.

    Identical files are always erased as well; near-copies are for a person to decide, and so are the rows of somebody
    whose name may be another spelling of the subject's. The held-out people are searched too: a photograph of the
    subject among them was trained on, and would make the audit void.

    Args:
        store: The store.
        request: Pseudonym of the request.
        subject: Name of the person.
        noted: What was noted of the photographs when they were asked for, some of which may be deleted since.
    """
    subject, held_out = one_spelling(subject), set(store.held_out)
    own = [photo for photo in store.photos if photo.identity == subject]
    rows = [photo for photo in (*store.photos, *store.held_out) if photo.identity != subject]
    digests = noted.files | {file_hash(store.key, photo.digest) for photo in own}
    found = {photo: IDENTICAL for photo in rows if file_hash(store.key, photo.digest) in digests}
    erased = erased_in(store.ledger.read())
    doubles = {
        name
        for name in {photo.identity for photo in rows}
        if may_be_doubles(name, subject) and not erased.request_of(store.key, name)
    }
    found |= {photo: NAME for photo in rows if photo.identity in doubles and photo not in found}
    others = [photo for photo in rows if photo not in found]
    found |= dict.fromkeys(near_copies(store, request, own, others), NEAR)
    if not own and noted.looks:
        looks = looks_of(store.key, others, store.settings)
        found |= {photo: NEAR for photo, look in zip(others, looks, strict=True) if look in noted.looks}
    return [
        Copy(request, photo.file, photo.identity, kind, "accept")
        if kind == IDENTICAL
        else Copy(request, photo.file, photo.identity, f"{kind}{' held-out' * (photo in held_out)}", "undecided")
        for photo, kind in found.items()
    ]


def tables_hash(store: Store) -> str:
    """Return a keyed hash of the rows of both tables, which tells whether copies were looked for among all of them."""
    rows = ("\0".join((photo.file, photo.identity, photo.digest)) for photo in (*store.photos, *store.held_out))
    return keyed_digest(store.key, "tables", *sorted(rows))


def _search(store: Store, requests: Sequence[tuple[Request, Noted]], now: datetime | None) -> list[Copy]:
    """Search the tables for copies of the photographs of some requests; note and return those that are new."""
    copies = {(copy.request, copy.file): copy for copy in read_copies(store, repairing=True)}
    noted, new, replaced = decisions_in(store.ledger.read()), [], []
    for copy in (copy for each, hashes in requests for copy in find_copies(store, each.request, each.subject, hashes)):
        known = copies.get((copy.request, copy.file))
        # A file that has become identical to one of the subject's is no longer for anybody to decide.
        if known is None or (copy.kind == IDENTICAL != known.kind):
            replaced += [known] if known else []
            decision = noted.get(copy.request, {}).get(_copy_hash(store, copy))
            new += [copy] if decision is None else []
            copies[copy.request, copy.file] = replace(copy, decision=cast("Decision", decision or copy.decision))
    write_copies(store, [*copies.values()], replaced, now)
    return new


def look_again(store: Store, now: datetime | None = None) -> list[Copy]:
    """Look for copies of the photographs of open requests that arrived since the last look; call with the store locked.

    Returns:
        The copies that are new, which are printed. Nothing is searched where the tables are as they were.
    """
    lines, tables = store.ledger.read(), tables_hash(store)
    looks = [entry for entry in lines.entries if entry["kind"] in ("request", "looked")]
    known = {name: entry.get("tables") for entry in looks for name in entry.get("requests", [entry.get("request")])}
    stale = [each for each in read_requests(store) if known.get(each.request) != tables]
    new = _search(store, [(each, noted_in(lines, store.key, [each.request])) for each in stale], now) if stale else []
    if stale:
        store.ledger.append("looked", {"requests": sorted(each.request for each in stale), "tables": tables}, now)
    for sentence in copies_in_words(store, new):
        print(sentence)
    return new


def copies_in_words(store: Store, copies: Sequence[Copy]) -> list[str]:
    """Return what was found for each request and has to be decided, one sentence each."""
    sentences = []
    for request in sorted({copy.request for copy in copies}):
        kinds: dict[str, list[Copy]] = {}
        for copy in (each for each in copies if each.request == request):
            left_out = copy.kind.endswith("held-out") and copy.decision == "accept"
            kind = "left out" if left_out else copy.kind if copy.kind == IDENTICAL else copy.kind.split()[0]
            if left_out or copy.kind == IDENTICAL or copy.decision == "undecided":
                kinds.setdefault(kind, []).append(copy)
        names = {kind: sorted({copy.identity for copy in found}) for kind, found in kinds.items()}
        shown = {kind: ", ".join(map(printable, each)) for kind, each in names.items()}
        if IDENTICAL in kinds:
            count = counted(len(kinds[IDENTICAL]), "identical file", "identical files")
            sentences.append(f"{request}: {count} under other names ({shown[IDENTICAL]}), to be erased as well.")
        if NEAR in kinds:
            count, page = counted(len(kinds[NEAR]), "possible copy", "possible copies"), copies_page(store, request)
            where = page if page.exists() else store.folder / COPIES
            sentences.append(
                f"{request}: {count} under other names ({shown[NEAR]}) to decide (--accept, --keep): {where}"
            )
        for name in names.get(NAME, ()):
            count = counted(sum(copy.identity == name for copy in kinds[NAME]), "photograph", "photographs")
            word = shlex.quote(printable(name))
            sentences.append(
                f"{request}: {word} ({count}) may be the same person in another spelling: --accept {word} if so, "
                f"--keep {word} if it is somebody else."
            )
        if "left out" in kinds:
            people = counted(len(names["left out"]), "held-out person", "held-out people")
            sentences.append(
                f"{request}: {people} left out of the comparison, because of a copy among their photographs."
            )
    return sentences


def near_copies(store: Store, request: str, own: Sequence[Photo], others: Sequence[Photo]) -> list[Photo]:
    """Return the rows among ``others`` whose pictures look like copies of the subject's, and write a page of them."""
    from gli.data.near_copies import find_near_copies
    from gli.reporting.page import write_near_copies_page

    photos = [*own, *others]
    held_out, rows, others_rows = set(store.held_out), np.arange(len(own)), np.arange(len(own), len(photos))
    with progress("Looking for copies", len(own) + len(photos)) as advance:  # Own ones mirrored, too.
        pairs = find_near_copies(LazyPixels(photos, store.settings, advance), rows, others_rows, chunk=AT_ONCE)
    if pairs:
        command = shlex.join(["gli", "erase", "add", "--store", str(store.folder)])
        note = "To accept a picture of a held-out person leaves all pictures of that name out of the comparison."
        names = np.array([f"{photo.identity}{HELD_OUT_MARK if photo in held_out else ''}" for photo in photos])
        files = [photo.file for photo in photos]
        page = copies_page(store, request)
        pixels = LazyPixels(photos, store.settings)
        write_near_copies_page(page, pairs, pixels, names, files=files, command=command, note=note)
    return [photos[row] for row in sorted({pair.copy_row for pair in pairs})]


def copies_page(store: Store, request: str) -> Path:
    """Return the path of the page that shows the near-copies of a request."""
    return store.folder / "copies" / f"{request}.html"


def decide(store: Store, files: Sequence[str], decision: Decision) -> list[Copy]:
    """Record whether near-copies are erased as well; call with the store locked.

    Args:
        store: The store.
        files: Files of copies as in ``copies.csv``, or names of possible doubles; ``all`` for all that are undecided.
        decision: ``accept`` or ``keep``.

    Returns:
        The copies that are still undecided.

    Raises:
        SettingError: If a file is no copy, or is an identical file, which cannot be kept.
    """
    copies = read_copies(store, repairing=True)
    known = {copy.file for copy in copies} | {copy.identity for copy in copies if copy.is_meant(copy.identity)}
    for file in files:
        if file != ALL and not any(copy.is_meant(file) for copy in copies):
            raise SettingError(f"{file!r} is not a copy in {store.folder / COPIES}.{did_you_mean(file, known)}")
        if decision == "keep" and any(copy.file == file and copy.kind == IDENTICAL for copy in copies):
            raise SettingError(f"{file!r} is an identical file: a model that keeps it does not forget the photograph.")
    decided = [
        replace(copy, decision=decision)
        if any(map(copy.is_meant, files)) or (ALL in files and copy.decision == "undecided")
        else copy
        for copy in copies
    ]
    write_copies(store, decided)
    return [copy for copy in read_copies(store) if copy.decision == "undecided"]


# -- status ------------------------------------------------------------------------------------------------------------

#: Steps of a batch in their order, as kinds of ledger entries, and the state of a request after each.
STEPS = {"run": "run", "purge": "purged", "release": "released"}


@dataclass(frozen=True)
class State:
    """The state of one request."""

    request: str  # Pseudonym.
    received: str  # Day of receipt.
    due: str  # Last day to answer.
    left: int | None  # Days left; None once the case is closed.
    state: str  # ``open``, ``planned``, ``run``, ``purged`` or ``released``.
    batch: str  # Name of the batch; empty where there is none.

    @property
    def line(self) -> str:
        """One line of text; it names nobody."""
        when = "closed" if self.left is None else shown_days(self.left)
        return (
            f"{self.request}  received {self.received}  due {self.due}  {self.state:<8}  {when}  {self.batch}".rstrip()
        )


def step_of(lines: Lines, batch: str) -> str:
    """Return the state of a batch: ``planned``, ``run``, ``purged`` or ``released``."""
    done = [state for kind, state in STEPS.items() if lines.of_kind(kind, batch=batch)]
    return done[-1] if done else "planned"


def status(store: Store, now: datetime | None = None) -> list[State]:
    """Return the states of all requests that were ever received, those due first in front, closed ones last.

    Raises:
        DataError: If the ledger or the list of requests is damaged, or the weights are not those of the ledger.
    """
    lines = store.ledger.read()
    _ = store.weights  # Compared with the ledger.
    read_requests(store)  # Raises where it differs from the ledger, as does the next line.
    read_copies(store)
    batch_of = batches_of(lines)
    day = today(store.zone, now)
    states = []
    for name, (received, last_day) in dates_of(lines).items():
        due = date.fromisoformat(last_day)
        batch = batch_of.get(name, "")
        state = step_of(lines, batch) if batch else "open"
        left = None if state == "released" else days_left(due, day)
        states.append(State(name, received, last_day, left, state, batch))
    return sorted(states, key=lambda each: (each.left is None, each.due, each.request))


def due_within(states: list[State], duration: str) -> list[State]:
    """Return the open requests that are due within a duration such as ``7d``, or overdue.

    Raises:
        SettingError: If the duration is invalid.
    """
    days = parse_days(duration)
    return [state for state in states if state.left is not None and state.left <= days]
