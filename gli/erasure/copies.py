"""Copies of the photographs of people who asked: identical files and near-copies, also under other names."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from gli.erasure.canonical import durable_write
from gli.erasure.store import Store
from gli.erasure.table import Photo
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import read_csv

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
        from gli.erasure.evaluate import pixels_of

        return pixels_of([self.photos[row] for row in rows], self.store.settings)


def near_copies(
    store: Store, request: str, own: Sequence[Photo], others: Sequence[Photo]
) -> tuple[list[Photo], list[Photo]]:
    """Return the rows whose pictures look like copies of the subject's, and write a page of them.

    Returns:
        Those among ``others``, and those of held-out people.
    """
    from gli.data.near_copies import find_near_copies
    from gli.reporting.near_copies import write_near_copies_page

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
