"""Requests: who asked, when, and which photographs that concerns; copies of them under other names."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from gli.erasure.canonical import durable_write
from gli.erasure.dates import due_date, parse_received, today
from gli.erasure.keys import person_hash, pseudonym
from gli.erasure.store import Store, erased_in, note_departures
from gli.erasure.table import Photo
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import read_csv

REQUESTS, COPIES = "requests.csv", "copies.csv"
REQUEST_COLUMNS = ("request", "subject", "received", "due", "batch")
COPY_COLUMNS = ("request", "file", "identity", "kind", "decision")
Decision = Literal["accept", "keep", "undecided"]
IDENTICAL, NEAR = "identical", "near"
#: Word for all undecided copies.
ALL = "all"


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


@dataclass(frozen=True)
class Copy:
    """A photograph that is, or may be, a copy of one of the subject's photographs.

    Attributes:
        request: Pseudonym of the request.
        file: Name of the copy's file.
        identity: Name under which the table has it.
        kind: ``identical`` or ``near``.
        decision: ``accept`` (erase it too), ``keep`` (another picture), or ``undecided``.
    """

    request: str
    file: str
    identity: str
    kind: str
    decision: Decision


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a private file; remove it where there are no rows."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    file = io.StringIO(newline="")
    csv.writer(file).writerows([columns, *rows])
    durable_write(path, file.getvalue().encode(), 0o600)


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
    _write(store.folder / REQUESTS, REQUEST_COLUMNS, rows)


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
    _write(store.folder / COPIES, COPY_COLUMNS, rows)


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

    A request that is already there is returned as it is.

    Args:
        store: The store.
        subjects: Name of each person in the table, and the day of receipt.
        now: The present; None for the clock's.

    Raises:
        DataError: If somebody is not in the table, or was erased before.
        SettingError: If a date is none, or lies in the future.
    """
    lines = note_departures(store, now)
    erased, known = erased_in(lines), {photo.identity for photo in store.photos}
    requests = {each.request: each for each in read_requests(store)}
    added: list[Request] = []
    for subject, text in subjects:
        received = parse_received(text, store.zone)
        if received > today(store.zone, now):
            raise SettingError(f"{text}: this day lies in the future. Give the day on which the request was received.")
        before = erased.people.get(person_hash(store.key, subject))
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
        same = next((each for each in requests.values() if each.subject == subject), request)
        requests.setdefault(same.request, same)
        added.append(same)
    copies = read_copies(store)
    for each in added:
        if not lines.of_kind("request", request=each.request):
            known_copies = {(copy.request, copy.file) for copy in copies}
            copies += [copy for copy in find_copies(store, each) if (copy.request, copy.file) not in known_copies]
    write_copies(store, copies)
    write_requests(store, sorted(requests.values(), key=lambda each: (each.due, each.request)))
    for each in dict.fromkeys(added):
        if not lines.of_kind("request", request=each.request):
            dates = {"received": str(each.received), "due": str(each.due)}
            store.ledger.append("request", {"request": each.request, **dates}, now)
    return added


def find_copies(store: Store, request: Request) -> list[Copy]:
    """Return the rows of other names whose photographs are, or may be, copies of the subject's.

    Identical files are always erased as well; near-copies are for a person to decide.
    """
    own = [photo for photo in store.photos if photo.identity == request.subject]
    others = [photo for photo in store.photos if photo.identity != request.subject]
    digests = {photo.digest for photo in own}
    identical = [photo for photo in others if photo.digest in digests]
    copies = [Copy(request.request, photo.file, photo.identity, IDENTICAL, "accept") for photo in identical]
    others = [photo for photo in others if photo.digest not in digests]
    near = near_copies(store, request.request, own, others)
    return copies + [Copy(request.request, photo.file, photo.identity, NEAR, "undecided") for photo in near]


class _Pixels:
    """Pixels of photographs by row, decoded when they are needed and kept nowhere."""

    def __init__(self, store: Store, photos: Sequence[Photo]) -> None:
        self.store, self.photos = store, photos

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[np.uint8]:
        from gli.erasure.evaluate import pixels_of

        return pixels_of([self.photos[row] for row in rows], self.store.settings)


def near_copies(store: Store, request: str, own: Sequence[Photo], others: Sequence[Photo]) -> list[Photo]:
    """Return the rows of other names whose pictures look like copies of the subject's, and write a page of them."""
    from gli.data.near_copies import find_near_copies
    from gli.report.near_copies import write_near_copies_page

    photos = [*own, *others]
    pixels = _Pixels(store, photos)
    pairs = find_near_copies(pixels, np.arange(len(own)), np.arange(len(own), len(photos)))
    if pairs:
        command = shlex.join(["gli", "erase", "add", "--store", str(store.folder)])
        names = np.array([photo.identity for photo in photos])
        files = [photo.file for photo in photos]
        write_near_copies_page(copies_page(store, request), pairs, pixels, names, files=files, command=command)
    return [photos[row] for row in sorted({pair.copy_row for pair in pairs})]


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


def photos_of(store: Store, requests: Sequence[Request]) -> dict[str, list[Photo]]:
    """Return the rows that each request erases: those of its subject, and accepted copies.

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
        own = [photo for photo in store.photos if photo.identity == each.subject or photo.file in files]
        rows[each.request] = [photo for photo in own if photo.file not in taken]
        taken |= {photo.file for photo in own}
    return rows
