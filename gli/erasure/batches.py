"""Batches: requests that are carried out together, and the tables that their runs read.

Runs see keyed pseudonyms instead of names: the only file of a batch with a name in it is its table, whose file names
may contain one. All of it is in ``work/``, which the purge removes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gli.erasure.canonical import durable_write, read_canonical, write_canonical
from gli.erasure.dates import days_left
from gli.erasure.keys import file_hash, person_hash, rehearsal_hash, word_hash
from gli.erasure.ledger import Lines
from gli.erasure.requests import Request, held_out_copies, photos_of, read_requests, write_requests
from gli.erasure.status import step_of
from gli.erasure.store import BATCHES, Store
from gli.erasure.table import Photo, assignment_text, manifest, table_text
from gli.errors import DataError, SettingError

BATCH, WORK, TABLE, ASSIGNMENT, HELD_OUT = "batch.json", "work", "table.csv", "assignment.csv", "held_out.txt"


@dataclass(frozen=True)
class Sets:
    """The rows of a batch.

    Attributes:
        retain: Rows to remember: the table minus open requests, minus everybody erased before.
        forget: Rows to forget, those of this batch, by request.
        earlier: Rows of people erased before that are still in the table.
        test: Rows of held-out people that measure accuracy.
        unseen: Rows of held-out people that the forgotten ones are compared with.
        left_out: Number of rows of open requests of other batches.
        copied_people: Number of held-out people left out because a photograph of somebody who asked is among theirs.
    """

    retain: list[Photo]
    forget: dict[str, list[Photo]]
    earlier: list[Photo]
    test: list[Photo]
    unseen: list[Photo]
    left_out: int
    copied_people: int = 0

    @property
    def forget_rows(self) -> list[Photo]:
        """Rows to forget."""
        return [photo for rows in self.forget.values() for photo in rows]

    @property
    def manifests(self) -> dict[str, Any]:
        """Hash and number of the training images before and after."""
        before = [*self.retain, *self.forget_rows]
        return {
            "before": manifest(before),
            "after": manifest(self.retain),
            "images_before": len(before),
            "images_after": len(self.retain),
        }


def group(store: Store, now: datetime | None = None) -> dict[str, list[Request]]:
    """Assign open requests to batches by their due dates, and return the batches; call with the store locked.

    A batch that has not run takes in requests that are due within ``policy.batch_days`` of its first one.
    """
    lines, requests = store.ledger.read(), read_requests(store)
    batches: dict[str, list[Request]] = {}
    for each in requests:
        if each.batch:
            batches.setdefault(each.batch, []).append(each)
    window = store.settings.policy.batch_days
    names = {str(entry["batch"]) for entry in lines.of_kind("plan")} | batches.keys()
    for each in requests:
        if each.batch:
            continue
        fitting = (
            name
            for name, members in batches.items()
            if step_of(lines, name) == "planned" and abs(days_left(each.due, members[0].due)) <= window
        )
        name = next(fitting, "") or next(f"batch-{n}" for n in range(1, 10**6) if f"batch-{n}" not in names)
        names.add(name)
        batches.setdefault(name, []).append(replace(each, batch=name))
    write_requests(store, [each for members in batches.values() for each in members])
    for name, members in batches.items():
        pseudonyms = sorted(each.request for each in members)
        if not lines.of_kind("plan", batch=name, requests=pseudonyms) and step_of(lines, name) == "planned":
            store.ledger.append("plan", {"batch": name, "requests": pseudonyms}, now)
    return batches


def requests_of(store: Store, batch: str) -> list[Request]:
    """Return the open requests of a batch.

    Raises:
        SettingError: If there is no such batch.
    """
    requests = [each for each in read_requests(store) if each.batch == batch]
    if not requests:
        raise SettingError(f"There are no open requests in {batch!r}. Run gli erase plan; gli erase status lists them.")
    return requests


def choose(store: Store, name: str | None, states: Sequence[str]) -> str:
    """Return the name of a batch: the given one, or the first one in the first of some states that has any.

    Raises:
        SettingError: If there is none, or the given name is none.
    """
    lines = store.ledger.read()
    planned = [str(entry["batch"]) for entry in lines.of_kind("plan")]
    if name is not None:
        store.batch(name)
        if name not in planned:
            raise SettingError(f"There is no batch {name!r}. Batches: {', '.join(dict.fromkeys(planned)) or 'none'}.")
        return name
    for state in states:
        for each in dict.fromkeys(planned):
            if step_of(lines, each) == state:
                return each
    raise SettingError(f"No batch is {' or '.join(states)}. gli erase status shows where every request is.")


def check_alone(lines: Lines, name: str) -> None:
    """Refuse to start a batch while another one is on its way: both would start from the same weights.

    Raises:
        SettingError: Naming the other batch.
    """
    for other in dict.fromkeys(str(entry["batch"]) for entry in lines.of_kind("plan")):
        if other != name and step_of(lines, other) in ("run", "purged"):
            raise SettingError(f"{other} has run and is not released. Purge and release it before {name} runs.")


def sets_of(store: Store, name: str) -> Sets:
    """Return the rows of a batch.

    Raises:
        DataError: If an erased person has returned, or there is nobody to remember or to compare with.
        SettingError: If a copy is undecided.
    """
    lines = store.ledger.read()
    earlier = [photo for rows in store.erased_rows(lines).values() for photo in rows]
    open_requests = read_requests(store)
    open_rows = photos_of(store, open_requests)
    own = {each.request for each in requests_of(store, name)}
    erased = {photo.file for photo in earlier}
    forget = {request: [each for each in rows if each.file not in erased] for request, rows in open_rows.items()}
    out = erased | {photo.file for rows in forget.values() for photo in rows}
    retain = [photo for photo in store.photos if photo.file not in out]
    forgotten = {request: rows for request, rows in forget.items() if request in own}
    left_out = sum(len(rows) for request, rows in forget.items() if request not in own)
    *halves, copied_people = held_out_halves(store, lines, open_requests)
    kept = kept_for_rehearsals(lines)
    test, unseen = (
        [photo for photo in half if rehearsal_hash(store.key, photo.identity) not in kept] for half in halves
    )
    if not test or not unseen:
        besides = f" besides {len(kept)} who took part in rehearsals" if kept else ""
        raise DataError(
            f"{store.settings.held_out}: has too few people{besides}. Name ten or more who were never trained on."
        )
    if not retain or not any(forgotten.values()):
        raise DataError(f"{store.settings.table}: nobody is left to {'remember' if not retain else 'forget'}.")
    return Sets(retain, forgotten, earlier, test, unseen, left_out, copied_people)


def held_out_halves(
    store: Store, lines: Lines, open_requests: Sequence[Request]
) -> tuple[list[Photo], list[Photo], int]:
    """Return the held-out rows that measure accuracy, those to compare with, and how many people are in neither.

    The keyed hash of a person decides. In neither are people with a photograph of somebody who asked among theirs.
    """
    copied = [*store.erased_held_out(lines).values(), *held_out_copies(store, open_requests).values()]
    people_out = {photo.identity for rows in copied for photo in rows}
    halves: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in (each for each in store.held_out if each.identity not in people_out):
        halves[int(person_hash(store.key, photo.identity)[:8], 16) % 2].append(photo)
    return *halves, len(people_out)


def kept_for_rehearsals(lines: Lines) -> set[str]:
    """Return the keyed hashes of the held-out people who took part in a rehearsal, and so in no later verdict."""
    return {str(person) for entry in lines.of_kind("rehearse") for person in entry["held_out"]}


def known_as(store: Store, photo: Photo) -> str:
    """Return the pseudonym of a person in the tables of runs."""
    return f"p-{person_hash(store.key, photo.identity)[:16]}"


def prepare(store: Store, work: Path, sets: Sets) -> dict[str, Any]:
    """Write the tables of some sets into a folder, and return the settings of their data (``data`` of ``gli fit``)."""
    groups: Mapping[str, list[Photo]] = {
        "retain": [replace(photo, identity=known_as(store, photo)) for photo in sets.retain],
        "forget": [replace(photo, identity=request) for request, rows in sets.forget.items() for photo in rows],
        "test": [replace(photo, identity=known_as(store, photo)) for photo in sets.test],
        "unseen": [replace(photo, identity=known_as(store, photo)) for photo in sets.unseen],
    }
    people = {photo.identity: key for key, rows in groups.items() for photo in rows}
    work.mkdir(parents=True, exist_ok=True)
    rows = [photo for photos in groups.values() for photo in photos]
    durable_write(work / TABLE, table_text(rows, store.settings), 0o600)
    durable_write(work / ASSIGNMENT, assignment_text(people), 0o600)
    held_out = sorted({photo.identity for key in ("test", "unseen") for photo in groups[key]})
    durable_write(work / HELD_OUT, "\n".join([*held_out, ""]).encode(), 0o600)
    settings = store.settings
    return {
        **settings.policy.data_settings,
        "root": str(store.root.absolute()),
        "csv": str((work / TABLE).absolute()),
        "file": settings.file,
        "identity": settings.identity,
        "labels": list(settings.labels),
        "task": "multi_class" if settings.classes else "multi_label",
        **({"classes": list(settings.classes)} if settings.classes else {}),
        "assignment": str((work / ASSIGNMENT).absolute()),
        "held_out": str((work / HELD_OUT).absolute()),
        "image_size": settings.image_size,
        "cache_dir": str((work / "cache").absolute()),
        **({"recipe": dict(settings.policy.recipe)} if settings.policy.recipe else {}),
    }


def hashes_of(store: Store, name: str, sets: Sets) -> dict[str, dict[str, list[str]]]:
    """Return the keyed hashes by which erased people and files are recognised, by request."""
    requests = requests_of(store, name)
    subjects, copies = {each.request: each.subject for each in requests}, held_out_copies(store, requests)
    return {
        request: {
            "people": [person_hash(store.key, subjects[request])],
            "words": [word_hash(store.key, subjects[request])],
            "files": sorted({file_hash(store.key, photo.digest) for photo in [*rows, *copies[request]]}),
        }
        for request, rows in sets.forget.items()
    }


def facts_of(store: Store, name: str, sets: Sets, minutes: Mapping[str, float]) -> dict[str, Any]:
    """Return the contents of ``batch.json``.

    Args:
        store: The store.
        name: Name of the batch.
        sets: Its rows.
        minutes: Measured minutes of each route; empty where nothing was measured.
    """
    requests = requests_of(store, name)
    return {
        "batch": name,
        "requests": {each.request: {"received": str(each.received), "due": str(each.due)} for each in requests},
        "photographs": {request: len(rows) for request, rows in sets.forget.items()},
        "minutes": minutes,
        "hashes": hashes_of(store, name, sets),
    }


def write_batch(store: Store, name: str, contents: Mapping[str, Any]) -> str:
    """Write ``batch.json``; return its SHA-256."""
    return write_canonical(store.batch(name) / BATCH, contents)


def read_batch(store: Store, name: str) -> dict[str, Any]:
    """Return ``batch.json``; empty where there is none.

    Raises:
        DataError: If it was changed.
    """
    path = store.folder / BATCHES / name / BATCH
    return read_canonical(path, "a batch")[0] if path.exists() else {}
