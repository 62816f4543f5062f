"""Requests: who asked, when, and which photographs that concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from gli.erasure.copies import find_copies, read_copies, write_copies, write_rows
from gli.erasure.dates import due_date, parse_received, today
from gli.erasure.keys import person_hash, pseudonym
from gli.erasure.store import Store, erased_in, note_departures
from gli.erasure.table import Photo
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import read_csv

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
        SettingError: If a date is none, or lies in the future.
    """
    lines = note_departures(store, now)
    erased, known = erased_in(lines), {photo.identity for photo in store.photos}
    requests = {each.subject: each for each in read_requests(store)}
    added: dict[str, Request] = {}
    for subject, text in dict.fromkeys(subjects):
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
        own = [photo for photo in store.photos if photo.identity == each.subject or photo.file in files]
        rows[each.request] = [photo for photo in own if photo.file not in taken]
        taken |= {photo.file for photo in own}
    return rows
