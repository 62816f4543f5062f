"""Requests: who asked, when, until when, which photographs and copies that concerns, and how far each request is."""

from __future__ import annotations

import calendar
import csv
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from gli.erasure.store import Photo, Store, note_departures, noted_settings, read_photos, settings_text
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.digest import one_spelling
from gli.system.files import read_csv
from gli.system.ledger import (
    AMEND,
    Entry,
    Lines,
    counted,
    durable_write,
    erased_in,
    is_named,
    pseudonym,
    sha256,
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
    """An open request.

    Attributes:
        request: Pseudonym, which is all that the ledger and the certificate have.
        subject: Name of the person in the table.
        received: Day of receipt.
        due: Last day to answer.
        batch: Name of the batch; empty before it is planned.
    """

    request: str
    subject: str
    received: date
    due: date
    batch: str = ""


def read_requests(store: Store) -> list[Request]:
    """Return the open requests, those that are due first in front.

    Raises:
        DataError: If the file is damaged.
    """
    path = store.folder / REQUESTS
    if not path.exists():
        return []
    requests = []
    for row in read_csv(path, REQUEST_COLUMNS, exact=True):
        try:
            received, due = date.fromisoformat(row["received"]), date.fromisoformat(row["due"])
        except ValueError as error:
            raise DataError(f"{path}, line {row.line}: {error}. Dates are written as 2026-11-03.") from error
        if row["request"] != pseudonym(store.key, row["subject"], row["received"]):
            raise DataError(f"{path}, line {row.line}: was changed: the request is not that of its subject and date.")
        requests.append(Request(row["request"], row["subject"], received, due, row["batch"]))
    return sorted(requests, key=lambda each: (each.due, each.request))


def write_requests(store: Store, requests: Sequence[Request]) -> None:
    """Write the open requests."""
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

    A person has one request at a time: one that is already there is returned as it is.

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
    requests = {one_spelling(each.subject): each for each in read_requests(store)}
    added: dict[str, Request] = {}
    for subject, text in dict.fromkeys((one_spelling(subject), text) for subject, text in subjects):
        received = parse_received(text, store.zone)
        if received > today(store.zone, now):
            raise SettingError(f"{text}: this day lies in the future. Give the day on which the request was received.")
        before = erased.request_of(store.key, subject)
        if before:
            raise DataError(f"This person was erased by request {before}. Nothing was added.")
        if subject not in known:
            if subject in {photo.identity for photo in store.held_out}:
                raise DataError(
                    f"{subject!r} was never trained on (held-out people): there is nothing to unlearn. Delete the "
                    "photographs, remove the rows, and name other held-out people."
                )
            raise DataError(
                f"{subject!r} is not in {store.settings.table}.{did_you_mean(subject, known)} Nothing was added."
            )
        request = Request(
            pseudonym(store.key, subject, str(received)),
            subject,
            received,
            due_date(received, store.settings.policy.months),
        )
        added[subject] = requests.setdefault(subject, request)
    copies = read_copies(store)
    for each in added.values():
        if not lines.of_kind("request", request=each.request):
            known_copies = {(copy.request, copy.file) for copy in copies}
            found = find_copies(store, each.request, each.subject)
            copies += [copy for copy in found if (copy.request, copy.file) not in known_copies]
    write_copies(store, copies)
    write_requests(store, sorted(requests.values(), key=lambda each: (each.due, each.request)))
    for each in added.values():
        if not lines.of_kind("request", request=each.request):
            dates = {"received": str(each.received), "due": str(each.due)}
            store.ledger.append("request", {"request": each.request, **dates}, now)
    return list(added.values())


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
    undecided = sum(copy.decision == "undecided" for copy in copies)
    if undecided:
        raise SettingError(
            f"{undecided} possible copies are not decided. Look at {store.folder / 'copies'}, then accept or "
            "keep each: gli erase add --accept FILE, gli erase add --keep FILE."
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
    return " ".join(amendments([store.ledger.append(AMEND, fields, now)]))


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
#: Addition to the name of a held-out person on the page of near-copies.
HELD_OUT_MARK = " (held out)"
#: Word for all undecided copies.
ALL = "all"


@dataclass(frozen=True)
class Copy:
    """A photograph that is, or may be, a copy of one of the subject's photographs.

    Attributes:
        request: Pseudonym of the request.
        file: Name of the copy's file.
        identity: Name under which the table has it.
        kind: ``identical``, ``near``, or ``near held-out`` (under the name of a held-out person).
        decision: ``accept`` (erase it too), ``keep`` (another picture), or ``undecided``.
    """

    request: str
    file: str
    identity: str
    kind: str
    decision: Decision


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a private file; remove it where there are no rows."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    file = io.StringIO(newline="")
    csv.writer(file).writerows([columns, *rows])
    durable_write(path, file.getvalue().encode(), 0o600)


def read_copies(store: Store) -> list[Copy]:
    """Return the copies of the photographs of open requests.

    Raises:
        DataError: If the file is damaged.
    """
    path = store.folder / COPIES
    if not path.exists():
        return []
    copies = []
    for row in read_csv(path, COPY_COLUMNS, exact=True):
        decision = row["decision"]
        if decision not in get_args(Decision):
            raise DataError(f"{path}, line {row.line}: the decision is {decision!r}; write accept or keep.")
        copies.append(Copy(row["request"], row["file"], row["identity"], row["kind"], cast("Decision", decision)))
    return copies


def write_copies(store: Store, copies: Sequence[Copy]) -> None:
    """Write the copies."""
    rows = [[each.request, each.file, each.identity, each.kind, each.decision] for each in copies]
    write_rows(store.folder / COPIES, COPY_COLUMNS, rows)


def find_copies(store: Store, request: str, subject: str) -> list[Copy]:
    """Return the rows of other names whose photographs are, or may be, copies of the subject's.

    Identical files are always erased as well; near-copies are for a person to decide. The held-out people are searched
    too: a photograph of the subject among them was trained on, and would make the audit void.
    """
    subject = one_spelling(subject)
    own = [photo for photo in store.photos if photo.identity == subject]
    others = [photo for photo in store.photos if photo.identity != subject]
    digests = {photo.digest for photo in own}
    identical = [photo for photo in others if photo.digest in digests]
    copies = [Copy(request, photo.file, photo.identity, IDENTICAL, "accept") for photo in identical]
    others = [photo for photo in others if photo.digest not in digests]
    near, near_held_out = near_copies(store, request, own, others)
    copies += [Copy(request, photo.file, photo.identity, NEAR, "undecided") for photo in near]
    return copies + [Copy(request, photo.file, photo.identity, NEAR_HELD_OUT, "undecided") for photo in near_held_out]


class _Pixels:
    """Pixels of photographs by row, decoded when they are needed and kept nowhere."""

    def __init__(self, store: Store, photos: Sequence[Photo]) -> None:
        self.store, self.photos = store, photos

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[np.uint8]:
        from gli.erasure.store import pixels_of

        return pixels_of([self.photos[row] for row in rows], self.store.settings)


def near_copies(
    store: Store, request: str, own: Sequence[Photo], others: Sequence[Photo]
) -> tuple[list[Photo], list[Photo]]:
    """Return the rows whose pictures look like copies of the subject's, and write a page of them.

    Returns:
        Those among ``others``, and those of held-out people.
    """
    from gli.data.near_copies import find_near_copies
    from gli.reporting.page import write_near_copies_page

    photos = [*own, *others, *store.held_out]
    held_out, pixels = set(store.held_out), _Pixels(store, photos)
    pairs = find_near_copies(pixels, np.arange(len(own)), np.arange(len(own), len(photos)))
    if pairs:
        command = shlex.join(["gli", "erase", "add", "--store", str(store.folder)])
        note = "To accept a picture of a held-out person leaves all pictures of that name out of the comparison."
        names = np.array([f"{photo.identity}{HELD_OUT_MARK if photo in held_out else ''}" for photo in photos])
        files = [photo.file for photo in photos]
        page = copies_page(store, request)
        write_near_copies_page(page, pairs, pixels, names, files=files, command=command, note=note)
    found = [photos[row] for row in sorted({pair.copy_row for pair in pairs})]
    return [photo for photo in found if photo not in held_out], [photo for photo in found if photo in held_out]


def copies_page(store: Store, request: str) -> Path:
    """Return the path of the page that shows the near-copies of a request."""
    return store.folder / "copies" / f"{request}.html"


def decide(store: Store, files: Sequence[str], decision: Decision) -> list[Copy]:
    """Record whether near-copies are erased as well; call with the store locked.

    Args:
        store: The store.
        files: Files of copies as in ``copies.csv``; ``all`` for all that are undecided.
        decision: ``accept`` or ``keep``.

    Returns:
        The copies that are still undecided.

    Raises:
        SettingError: If a file is no copy, or is an identical file, which cannot be kept.
    """
    copies = read_copies(store)
    known = {copy.file for copy in copies}
    for file in files:
        if file != ALL and file not in known:
            raise SettingError(f"{file!r} is not a copy in {store.folder / COPIES}.{did_you_mean(file, known)}")
        if decision == "keep" and any(copy.file == file and copy.kind == IDENTICAL for copy in copies):
            raise SettingError(f"{file!r} is an identical file: a model that keeps it does not forget the photograph.")
    decided = [
        replace(copy, decision=decision)
        if copy.file in files or (ALL in files and copy.decision == "undecided")
        else copy
        for copy in copies
    ]
    write_copies(store, decided)
    return [copy for copy in decided if copy.decision == "undecided"]


# -- status ------------------------------------------------------------------------------------------------------------

#: Steps of a batch in their order, as kinds of ledger entries, and the state of a request after each.
STEPS = {"run": "run", "purge": "purged", "release": "released"}


@dataclass(frozen=True)
class State:
    """The state of one request.

    Attributes:
        request: Pseudonym.
        received: Day of receipt.
        due: Last day to answer.
        left: Days left; None once the case is closed.
        state: ``open``, ``planned``, ``run``, ``purged`` or ``released``.
        batch: Name of the batch; empty where there is none.
    """

    request: str
    received: str
    due: str
    left: int | None
    state: str
    batch: str

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
        DataError: If the ledger or the list of requests is damaged.
    """
    lines = store.ledger.read()
    open_requests: dict[str, Request] = {each.request: each for each in read_requests(store)}
    batch_of = {str(name): str(entry["batch"]) for entry in lines.of_kind("plan") for name in entry["requests"]}
    day = today(store.zone, now)
    states = []
    for entry in lines.of_kind("request"):
        name, due = str(entry["request"]), date.fromisoformat(str(entry["due"]))
        batch = batch_of.get(name, "")
        state = step_of(lines, batch) if batch else "open"
        left = None if state == "released" else days_left(due, day)
        states.append(State(name, str(entry["received"]), str(due), left, state, batch))
    # A kill between the list and the ledger: the request counts.
    known = {each.request for each in states}
    states += [
        State(name, str(each.received), str(each.due), days_left(each.due, day), "open", each.batch)
        for name, each in open_requests.items()
        if name not in known
    ]
    return sorted(states, key=lambda each: (each.left is None, each.due, each.request))


def due_within(states: list[State], duration: str) -> list[State]:
    """Return the open requests that are due within a duration such as ``7d``, or overdue.

    Raises:
        SettingError: If the duration is invalid.
    """
    days = parse_days(duration)
    return [state for state in states if state.left is not None and state.left <= days]
