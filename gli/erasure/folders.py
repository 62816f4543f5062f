"""Purge folders of runs that belong to no store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gli.erasure.batch_purge import Purged, cached_sizes, traces_of
from gli.erasure.canonical import write_canonical
from gli.erasure.clean import INSTEAD
from gli.erasure.dates import timestamp
from gli.erasure.purge import RECEIPT, Journal, Scope, check_folder, purge, receipt_of
from gli.erasure.settings import SETTINGS
from gli.erasure.table import Photo
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import file_lock, inside, read_csv


def photos_named(table: Path, root: Path, names: Sequence[str], columns: tuple[str, str]) -> list[Photo]:
    """Return the rows of a table that belong to some people.

    Raises:
        DataError: If the table cannot be read, or lists none of a name.
    """
    file, identity = columns
    rows = read_csv(table, columns)
    known = {row[identity] for row in rows}
    for name in names:
        if name not in known:
            raise DataError(f"{table}: lists nobody called {name!r}.{did_you_mean(name, known)} Nothing was changed.")
    wanted = [row for row in rows if row[identity] in names]
    return [
        Photo(inside(root, row[file], f"{table}, line {row.line}"), row[identity], (), "", row.line) for row in wanted
    ]


def purge_folders(
    folders: Sequence[Path],
    names: Sequence[str],
    *,
    table: Path | None = None,
    root: Path | None = None,
    columns: tuple[str, str] = ("file", "identity"),
    keep: Sequence[Path] = (),
    receipt: Path | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Purged:
    """Remove from folders of runs and pixel caches what descends from some people.

    Args:
        folders: The folders.
        names: Names of the people.
        table: CSV file that lists their photographs; None to go by names alone.
        root: Folder of the photographs; None for that of the table.
        columns: Columns of the table with the file names and the people.
        keep: Files to keep, such as the new weights; they are searched all the same.
        receipt: Path of the receipt; None for ``purge.json`` in the first folder.
        dry_run: List what would be done, and change nothing.
        now: The present; None for the clock's.

    Raises:
        SettingError: If a folder holds nothing of gli, or belongs to a store.
        DataError: If the table cannot be read, or lists nobody of a name.
    """
    real = [check_folder(folder) for folder in folders]
    for folder in real:
        if next(folder.rglob(SETTINGS), None) is not None:
            raise SettingError(f"{folder}: holds a store of erasure requests. Purge its batches with gli erase purge.")
    for first in real:
        if any(first in second.parents or real.count(first) > 1 for second in real):
            raise SettingError(f"{first}: is named twice, or holds another of the folders. Name the outer one only.")
    photos = photos_named(table, root or table.parent, names, columns) if table is not None else []
    sizes = sorted(cached_sizes(real)) if photos else []
    traces = traces_of(photos, names, root or (table.parent if table else Path()), sizes)
    path = (receipt or real[0] / RECEIPT).absolute()
    journal = Journal(path.with_name(f"{path.stem}.journal"))
    shown = {
        f"{number}-{folder.name}" if len(real) > 1 else folder.name: folder for number, folder in enumerate(real, 1)
    }
    kept = {each.resolve() for each in keep} | {path, journal.path}
    scope = Scope(
        {traces.without_names(name, INSTEAD): folder for name, folder in shown.items()}, traces, frozenset(kept)
    )
    if not photos:
        scope.exceptions.append(
            "Digests and pixels were not looked for: give the table of their photographs (--table)."
        )
    scope.exceptions.append("Trackers, notebooks, backups and copies on other machines.")
    if dry_run:
        files, _ = purge(scope, journal, dry_run=True)
        return Purged("", files, scope.exceptions, [], None)
    with file_lock(real[0] / ".lock", "purging this folder"):
        _, left = purge(scope, journal)
        contents = receipt_of(scope, journal, left, timestamp(now), {})
        write_canonical(path, contents)
    return Purged("", contents["files"], contents["exceptions"], left, path)
