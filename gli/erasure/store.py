"""The store: a folder of plain files that holds requests, batches, the ledger and what was released.

store.yaml            settings; nothing in it names a person
key                   random key of the pseudonyms, readable by its owner only
requests.csv          open requests (private)
copies.csv            copies of the photographs of open requests (private)
ledger.jsonl          one line per step, with a hash chain
weights/current.pt    the classifier that the next batch starts from
batches/<name>/       one batch: batch.json, evidence.json, model.pt, purge.json; its runs until they are purged
releases/<name>/      the files to ship: weights, model card, certificate
rehearsal/            the runs of a rehearsal, until it ends
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from gli.erasure.canonical import durable_copy, durable_write, sha256, sha256_file
from gli.erasure.dates import time_zone
from gli.erasure.keys import KEY_FILE, create_key, file_hash, person_hash, read_key
from gli.erasure.ledger import Ledger, Lines
from gli.erasure.settings import SETTINGS, Settings, read_settings, settings_text
from gli.erasure.shred import remove_remains
from gli.erasure.table import Photo, manifest, read_photos, with_digests
from gli.errors import DataError, SettingError
from gli.system.files import file_lock

LOCK, WEIGHTS, BATCHES, RELEASES = ".lock", "weights/current.pt", "batches", "releases"
REHEARSAL = "rehearsal"
BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Erased:
    """The keyed hashes of erased people in a ledger.

    Attributes:
        people: Request pseudonym by keyed hash of a person.
        files: Request pseudonym by keyed hash of a file.
        gone: Requests whose photographs have left the table.
    """

    people: dict[str, str]
    files: dict[str, str]
    gone: frozenset[str]

    def request_of(self, key: bytes, photo: Photo) -> str | None:
        """Return the pseudonym of the request that erased the person or the file of a row; None for nobody."""
        found = self.people.get(person_hash(key, photo.identity))
        return found or (self.files.get(file_hash(key, photo.digest)) if photo.digest else None)


def erased_in(lines: Lines) -> Erased:
    """Return the erased people of a ledger."""
    people: dict[str, str] = {}
    files: dict[str, str] = {}
    for entry in lines.of_kind("erased"):
        people |= dict.fromkeys(map(str, entry.get("people", ())), str(entry.get("request")))
        files |= dict.fromkeys(map(str, entry.get("files", ())), str(entry.get("request")))
    return Erased(people, files, frozenset(str(entry.get("request")) for entry in lines.of_kind("gone")))


class Store:
    """A store that exists; see :func:`create` for a new one.

    Args:
        folder: Folder of the store.

    Raises:
        DataError: If there is no store in the folder, or its settings or its key cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: Settings = read_settings(folder)
        self.key = read_key(folder / KEY_FILE)
        self.ledger = Ledger(folder)
        self.zone = time_zone(self.settings.policy.time_zone)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store; another process waits, and says so. The lock of a killed process is free."""
        with file_lock(self.folder / LOCK, "working on this store"):
            remove_remains(self.folder)
            yield

    @property
    def weights(self) -> Path:
        """The classifier that the next batch starts from."""
        return self.folder / WEIGHTS

    @property
    def root(self) -> Path:
        """Folder of the photographs."""
        return Path(self.settings.root)

    def batch(self, name: str) -> Path:
        """Return the folder of a batch.

        Raises:
            SettingError: If the name is not one of a batch; a path is none.
        """
        return self.folder / BATCHES / check_batch_name(name)

    def release(self, name: str) -> Path:
        """Return the folder of the release of a batch; see :meth:`batch`."""
        return self.folder / RELEASES / check_batch_name(name)

    # -- the tables ------------------------------------------------------------------------------------------------

    @cached_property
    def photos(self) -> list[Photo]:
        """All rows of the table, with content hashes."""
        return with_digests(read_photos(Path(self.settings.table), self.settings), self.root)

    @cached_property
    def held_out(self) -> list[Photo]:
        """The rows of people who were never trained on, with content hashes."""
        return with_digests(read_photos(Path(self.settings.held_out), self.settings), self.root)

    def erased_rows(self, lines: Lines) -> dict[str, list[Photo]]:
        """Return the rows of the table that belong to erased people, by the pseudonym of their request.

        Raises:
            DataError: If somebody has returned whose photographs had left the table, or was erased in another store.
        """
        erased = erased_in(lines)
        rows: dict[str, list[Photo]] = {}
        for photo in self.photos:
            request = erased.request_of(self.key, photo)
            if request is not None:
                refuse_return(request in erased.gone, request, self.settings.table, photo)
                rows.setdefault(request, []).append(photo)
        refuse_erased(self.photos, self.settings.table, self.settings.erased)
        return rows

    def erased_held_out(self, lines: Lines) -> dict[str, list[Photo]]:
        """Return the held-out rows that show erased people, by the pseudonym of their request.

        They are copies of erased photographs under names of held-out people: the classifier was trained on them.

        Raises:
            DataError: If an erased person is named as held out, or such a photograph has returned.
        """
        erased = erased_in(lines)
        rows: dict[str, list[Photo]] = {}
        for photo in self.held_out:
            request = erased.request_of(self.key, photo)
            if request is not None:
                named = person_hash(self.key, photo.identity) in erased.people
                refuse_return(named or request in erased.gone, request, self.settings.held_out, photo)
                rows.setdefault(request, []).append(photo)
        refuse_erased(self.held_out, self.settings.held_out, self.settings.erased)
        return rows


def note_departures(store: Store, now: datetime | None = None) -> Lines:
    """Note in the ledger whose photographs have left both tables, refuse whoever returns, and return the ledger.

    Until their rows are removed, erased people are left out of training and audited again; from then on, a row of
    theirs is a return. Call with the store locked.

    Raises:
        DataError: If somebody has returned or was erased in another store, or held-out people are in the table.
    """
    lines = store.ledger.read()
    check_tables(store.photos, store.held_out, store.settings)
    present, erased = {**store.erased_rows(lines), **store.erased_held_out(lines)}, erased_in(lines)
    for request in sorted({*erased.people.values()} - erased.gone - present.keys()):
        store.ledger.append("gone", {"request": request}, now)
    return store.ledger.read()


def refuse_return(returned: bool, request: str, table: str, photo: Photo) -> None:
    """Refuse a row of an erased person.

    Raises:
        DataError: Naming the request, not the person.
    """
    if returned:
        raise DataError(
            f"{table}, line {photo.line}: this person or photograph was erased by request {request} and has returned, "
            "perhaps with a restored backup. Remove the row and its photograph."
        )


def refuse_erased(photos: list[Photo], table: str, stores: list[str]) -> None:
    """Refuse rows of people whom other stores have erased.

    Raises:
        DataError: Naming the table's line and the request.
    """
    for name in stores:
        folder = Path(name)
        key, erased = read_key(folder / KEY_FILE), erased_in(Ledger(folder).read())
        for photo in photos:
            request = erased.request_of(key, photo)
            refuse_return(request is not None, str(request), table, photo)


def check_batch_name(name: str) -> str:
    """Return the name of a batch.

    Raises:
        SettingError: If it has other characters than small letters, digits and hyphens.
    """
    if not BATCH_NAME.fullmatch(name):
        raise SettingError(
            f"{name[:60]!r} is not the name of a batch: small letters, digits and hyphens, such as batch-1."
        )
    return name


def check_tables(photos: list[Photo], held_out: list[Photo], settings: Settings) -> None:
    """Refuse held-out people or files that are in the table, and class names that are names of people.

    Raises:
        DataError: Naming the first of them.
    """
    people, files = {photo.identity for photo in photos}, {photo.digest for photo in photos}
    for photo in held_out:
        what = "person" if photo.identity in people else "file" if photo.digest in files else ""
        if what:
            raise DataError(
                f"{settings.held_out}, line {photo.line}: this {what} is in {settings.table} too, so the classifier "
                "may have been trained on it. Held-out people must never have been in training."
            )
    both = {value for photo in photos for value in photo.labels} & people
    if both:
        raise DataError(
            f"{settings.table}: the label {sorted(both)[0]!r} is also the name of a person. A classifier whose outputs "
            "are people names them wherever it goes; gli erase is for classifiers of other labels."
        )


def create(folder: Path, settings: Settings, weights: Path) -> Store:
    """Create a store, or return the one that is there if it has the same settings.

    Args:
        folder: The folder.
        settings: The settings; ``weights_sha256`` is filled in.
        weights: The classifier, which is copied into the store.

    Raises:
        SettingError: If the folder holds something else, or a store of other settings.
        DataError: If a table cannot be read, or held-out people are in the table.
    """
    settings = replace(settings, weights_sha256=sha256_file(weights))
    path = folder / SETTINGS
    if (
        not path.exists()
        and folder.exists()
        and any(each.name not in (LOCK, KEY_FILE, "weights") for each in folder.iterdir())
    ):
        raise SettingError(f"{folder}: is not empty, and holds no store. Name another folder with --store.")
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / LOCK, "creating this store"):
        if path.exists():
            store = Store(folder)
            if replace(store.settings, policy=settings.policy) != settings:
                raise SettingError(f"{folder}: holds a store of other settings. Name another folder with --store.")
        else:
            photos = with_digests(read_photos(Path(settings.table), settings), Path(settings.root))
            held_out = with_digests(read_photos(Path(settings.held_out), settings), Path(settings.root))
            check_tables(photos, held_out, settings)
            refuse_erased(photos, settings.table, settings.erased)
            refuse_erased(held_out, settings.held_out, settings.erased)
            if not (folder / KEY_FILE).exists():
                create_key(folder / KEY_FILE)
            durable_copy(weights, folder / WEIGHTS)
            durable_write(path, settings_text(settings))
            store = Store(folder)
        if not store.ledger.read().of_kind("init"):
            store.ledger.append("init", _first_entry(store))
    return store


def _first_entry(store: Store) -> dict[str, Any]:
    settings = store.settings
    return {
        "weights": settings.weights_sha256,
        "backbone": settings.backbone,
        "manifest": manifest(store.photos),
        "images": len(store.photos),
        "held_out_manifest": manifest(store.held_out),
        "held_out_images": len(store.held_out),
        "policy": sha256(settings_text(settings)),
    }
