"""Purge a batch from its store and from the folder of runs, or some people from folders without a store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gli.erasure.batches import (
    BATCH,
    EVIDENCE,
    EXACT,
    MODEL,
    PASS,
    WORK,
    choose,
    doubles_of,
    new_weights,
    read_batch,
    read_evidence,
)
from gli.erasure.cohorts import SERVED, that_saw
from gli.erasure.purge import (
    INSTEAD,
    JOURNAL,
    RECEIPT,
    WEIGHTS,
    Journal,
    Scope,
    Traces,
    check_folder,
    digests_of,
    purge,
    receipt_of,
    rows_of_pixels,
)
from gli.erasure.requests import (
    COPIES,
    REQUESTS,
    Request,
    copies_page,
    held_out_copies,
    photos_of,
    read_copies,
    read_requests,
    step_of,
    write_copies,
    write_requests,
)
from gli.erasure.store import (
    BATCHES,
    NOTHING,
    REHEARSAL,
    RELEASES,
    SETTINGS,
    Noted,
    Photo,
    Store,
    cached_sizes,
    check_noted,
    noted_in,
)
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.digest import file_hash, one_spelling
from gli.system.files import file_lock, inside, read_csv
from gli.system.ledger import (
    HEAD,
    KEY_FILE,
    LEDGER,
    Lines,
    counted,
    durable_copy,
    is_named,
    read_canonical,
    sha256_file,
    shred,
    timestamp,
    write_canonical,
)

# -- a batch -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Purged:
    """The result of a purge."""

    batch: str  # Name of the batch.
    #: What happened, or would happen, to each file: path, bytes, SHA-256 before, action, reason.
    files: list[dict[str, Any]]
    exceptions: list[str]  # What could not be reached.
    left: list[str]  # Traces that are left; the purge has failed where there are any.
    receipt: Path | None  # Path of the receipt; None after a dry run.


def traces_of(
    photos: Sequence[Photo],
    names: Sequence[str],
    root: Path,
    sizes: Sequence[int],
    weights: frozenset[str] = frozenset(),
    noted: Noted = NOTHING,
) -> Traces:
    """Return what to look for: names, digests and rows of pixels of some photographs.

    Args:
        photos: The photographs.
        names: Names of the people.
        root: Folder of the photographs.
        sizes: Sides of the images in caches, in pixels.
        weights: SHA-256 of weights that remember the people.
        noted: What was noted of their photographs before.
    """
    from gli.data.faces import ImageFiles

    digests: set[str] = set()
    rows: list[bytes] = []
    images = ImageFiles(root, [photo.file for photo in photos])
    for number, photo in enumerate(photos):
        with suppress(OSError):
            digests |= digests_of((root / photo.file).read_bytes())
        with suppress(DataError):
            rows += [row for size in sizes for row in rows_of_pixels(images.pixels(number, size))]
    files = [photo.file for photo in photos]
    left = noted.files - {file_hash(noted.key, each) for each in digests}
    gone = replace(noted, files=left) if left else NOTHING
    return Traces(list(dict.fromkeys(names)), files, frozenset(digests), list(dict.fromkeys(rows)), weights, gone=gone)


def scope_of(store: Store, name: str, requests: Sequence[Request], photos: Sequence[Photo]) -> Scope:
    """Return where the purge of a batch works and what it looks for.

    Raises:
        SettingError: If the folder holds no runs.
    """
    folders = {"store": store.folder.resolve()}
    if store.settings.logs:
        folders["logs"] = check_folder(Path(store.settings.logs))
    if folders.get("logs") in (folders["store"], *folders["store"].parents):
        raise SettingError(f"{store.settings.logs}: holds the store. Keep the store beside the folder of runs.")
    evidence = read_evidence(store, name)
    sizes = sorted(cached_sizes(list(folders.values())) | {store.settings.image_size})
    # Pictures that others show as well, such as one of two identical files that were both asked for, are traces too.
    home = folders["store"]
    # What was released before this batch remembers its people.
    released = [path for path in sorted((home / RELEASES).glob("*/*")) if path.suffix in WEIGHTS]
    saw = [str(each["weights"]) for each in that_saw(store, read_batch(store, name)["hashes"])]
    weights = frozenset([evidence["weights"]["before"], *map(sha256_file, released), *saw])
    people = {each for one in requests for each in doubles_of(store, one.request, one_spelling(one.subject))[0]}
    spellings = sorted(people | {photo.spelling for photo in photos if photo.identity in people})
    noted = noted_in(store.ledger.read(), store.key, [each.request for each in requests])
    traces = traces_of(photos, [*(each.subject for each in requests), *spellings], store.root, sizes, weights, noted)
    batches = home / BATCHES
    kept = {home / each for each in (SETTINGS, KEY_FILE, LEDGER, HEAD)}
    kept |= {batches / name / each for each in (EVIDENCE, MODEL, BATCH, JOURNAL, RECEIPT)}
    pages = [copies_page(store, each.request).resolve() for each in requests]
    works = [folder / WORK for folder in sorted(batches.iterdir())]
    current = home / store.current.relative_to(store.folder)
    return Scope(
        folders,
        traces,
        frozenset(kept),
        [*works, home / REHEARSAL, *pages, *released],
        frozenset({home / REQUESTS, home / COPIES, current}),
    )


def elsewhere(store: Store, photos: Sequence[Photo], exceptions: Sequence[str]) -> list[str]:
    """Return what the purge does not reach: the user's own files, and what the user declared."""
    settings, first = store.settings, [*store.ledger.read().of_kind(SERVED), {"weights": store.settings.weights_sha256}]
    given = "as it was given" if settings.weights else "that networks of cohorts taught first"
    own = [
        "The table and the photographs themselves: remove the rows and the files, and restore no backup of them.",
        f"The classifier {given} (SHA-256 {first[0]['weights'][:16]}), where it is deployed, its backups.",
        "Trackers, notebooks, caches and copies on other machines.",
    ]
    if settings.weights and not settings.logs:
        own.append("The folder of the runs that trained the classifier: the store does not know it (--logs).")
    return [*own, *exceptions]


def check_texts(store: Store, name: str, texts: Sequence[str]) -> None:
    """Refuse texts for the certificate that name a person of the batch, or hold characters that nobody can see.

    Raises:
        SettingError: If there is one.
    """
    for text in texts:
        if not text.isprintable():
            raise SettingError(f"{text[:60]!r}: holds characters that cannot be printed. Write it in one plain line.")
    hashes = frozenset(word for each in read_batch(store, name).get("hashes", {}).values() for word in each["words"])
    if any(is_named(store.key, text, hashes) for text in texts):
        raise SettingError(
            "This text names a person of the batch. Certificates name nobody: write it without the name."
        )


def read_receipt(store: Store, name: str) -> dict[str, Any]:
    """Return the receipt of the purge of a batch.

    Raises:
        DataError: If it is missing, or is not the one that the ledger speaks of.
    """
    receipt, digest = read_canonical(store.batch(name) / RECEIPT, "a receipt of a purge")
    check_noted(store.batch(name) / RECEIPT, digest, store.ledger.read().last("purge", batch=name).get("receipt"))
    return receipt


def check_verdict(store: Store, name: str, accepted_risk: str | None) -> None:
    """Refuse a batch whose verdict is neither pass nor exact, unless the risk is accepted.

    Raises:
        SettingError: If nobody accepts the risk.
    """
    answer = read_evidence(store, name)["answer"]
    if answer not in (PASS, EXACT) and not (accepted_risk or "").strip():
        raise SettingError(
            f"The verdict on {name} is {answer!r}. Retrain (gli erase run --route retrain), audit more people, or "
            'accept the risk with a reason, which the certificate will show: --accept-risk "REASON".'
        )


def erased_entries(store: Store, lines: Lines, name: str, now: datetime | None) -> None:
    """Note in the ledger by which keyed hashes the people of a batch are recognised, before their names go."""
    for request, hashes in read_batch(store, name)["hashes"].items():
        if not lines.of_kind("erased", request=request):
            hashes = {each: hashes[each] for each in ("people", "others", "files") if each in hashes}
            store.ledger.append("erased", {"batch": name, "request": request, **hashes}, now)


def purge_batch(
    store: Store,
    name: str | None = None,
    *,
    dry_run: bool = False,
    accepted_risk: str | None = None,
    exceptions: Sequence[str] = (),
    now: datetime | None = None,
) -> Purged:
    """Purge a batch that has run; call with the store locked.

    After a kill, the same call continues. The earlier weights are overwritten: the next batch starts from the new ones.

    Args:
        store: The store.
        name: Name of the batch; None for the first one that has run.
        dry_run: List what would be done, and change nothing.
        accepted_risk: Reason for going on although the verdict is ``cannot tell`` or ``fail``.
        exceptions: Places that the user knows of and the purge does not reach, such as ``backup B expires 2027-01-15``.
        now: The present; None for the clock's.

    Raises:
        SettingError: If the batch has not run, its verdict is not ``pass``, or the folder of the logs holds no runs.
    """
    name = choose(store, name, ("run", "purged"))
    lines = store.ledger.read()
    state = step_of(lines, name)
    folder = store.batch(name)
    if state == "planned":
        raise SettingError(f"{name} has not run. Run it first: gli erase run --batch {name}.")
    if state in ("purged", "released"):
        _forget_requests(store, name)
        receipt = read_receipt(store, name)
        return Purged(name, receipt["files"], receipt["exceptions"], receipt["left"], folder / RECEIPT)
    check_verdict(store, name, accepted_risk)
    check_texts(store, name, [*exceptions, accepted_risk or ""])
    requests = [each for each in read_requests(store) if each.batch == name]
    rows = [*photos_of(store, requests).values(), *held_out_copies(store, requests).values()]
    photos = [photo for each in rows for photo in each]
    scope = scope_of(store, name, requests, photos)
    scope.exceptions.extend(elsewhere(store, photos, exceptions))
    if gone := len(scope.traces.gone.files):
        scope.exceptions.append(
            f"{counted(gone, 'photograph was', 'photographs were')} deleted before the purge: what was noted with the "
            "request finds them in pixel caches, lists of digests and checkpoints, not in other pictures."
        )
    journal = Journal(folder / JOURNAL)
    if dry_run:
        files, _ = purge(scope, journal, dry_run=True)
        return Purged(name, [*files, *_own_notes(scope, files)], scope.exceptions, [], None)
    new, current = new_weights(store, name), store.weights if store.current.exists() else store.current
    erased_entries(store, lines, name, now)
    files, left = purge(scope, journal, before=lambda: journal.note(_own_notes(scope, journal.entries())))
    if not current.exists() or sha256_file(current) != sha256_file(new):
        shred(current)
        durable_copy(new, current)
    more = {"batch": name, "accepted_risk": accepted_risk, "requests": sorted(each.request for each in requests)}
    more |= {"ledger": store.ledger.read().last_hash}
    receipt = receipt_of(scope, journal, left, timestamp(now), more)
    digest = write_canonical(folder / RECEIPT, receipt)
    if left:
        return Purged(name, receipt["files"], receipt["exceptions"], left, folder / RECEIPT)
    counts = {"files": len(receipt["files"]), "exceptions": len(receipt["exceptions"])}
    store.ledger.append("purge", {"batch": name, "receipt": digest, **counts}, now)
    _forget_requests(store, name)
    return Purged(name, receipt["files"], receipt["exceptions"], [], folder / RECEIPT)


def _own_notes(scope: Scope, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return notes of the files that the store itself changes at the end of a purge and that no entry names."""
    noted = {entry["path"] for entry in entries}
    notes = []
    for path in sorted(scope.later):
        shown = scope.shown(path)
        if path.exists() and shown not in noted:
            private = path.suffix == ".csv"
            notes.append(
                {
                    "path": shown,
                    "bytes": path.stat().st_size,
                    "sha256": sha256_file(path),
                    "action": "rewritten" if private else "removed",
                    "reason": "requests and copies of the people" if private else "weights that remember the people",
                }
            )
    return notes


def _forget_requests(store: Store, name: str) -> None:
    """Remove the requests of a purged batch, and their copies, from the private lists."""
    requests = read_requests(store)
    gone = {each.request for each in requests if each.batch == name}
    if gone:
        write_copies(store, [copy for copy in read_copies(store) if copy.request not in gone])
        write_requests(store, [each for each in requests if each.request not in gone])


# -- folders without a store -------------------------------------------------------------------------------------------


def photos_named(table: Path, root: Path, names: Sequence[str], columns: tuple[str, str]) -> list[Photo]:
    """Return the rows of a table that belong to some people.

    Raises:
        DataError: If the table cannot be read, or lists none of a name.
    """
    file, identity = columns
    rows = read_csv(table, columns)
    known, wanted = {one_spelling(row[identity]) for row in rows}, set(map(one_spelling, names))
    for name in sorted(wanted - known):
        raise DataError(f"{table}: lists nobody called {name!r}.{did_you_mean(name, known)} Nothing was changed.")
    return [
        Photo(inside(root, row[file], row.where), one_spelling(row[identity]), (), "", row.line, row[identity])
        for row in rows
        if one_spelling(row[identity]) in wanted
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
    names = [*names, *(photo.spelling for photo in photos)]
    traces = traces_of(photos, names, root or (table.parent if table else Path()), sizes)
    traces = replace(traces, columns=frozenset([columns[1]]))
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
