"""Remove from disk what descends from some people, scan again, and write a receipt.

The purge goes through a store and folders of runs. It lists every file first, notes each in a journal before it is
touched, overwrites, renames and syncs, and scans again: a trace that is left is a failure. Links are never followed,
and what cannot be reached is listed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gli.auditing.record import FOLDER as AUDITS
from gli.erasure.canonical import canonical, parse_canonical, read_bytes, sha256, sha256_file, sync_folder
from gli.erasure.clean import INSTEAD, cleaned, named_rows, without_rows
from gli.erasure.descent import WEIGHTS, Run, holds_gli_files, related_runs, tracker_folders
from gli.erasure.search import Traces, digests_of, is_searchable
from gli.erasure.shred import DOOMED, has_other_names, is_regular, remove_remains, replace_contents, shred
from gli.erasure.unpack import PIECE, contents_of
from gli.errors import CheckpointError, DataError, SettingError
from gli.runs.folder import ORIGINALS
from gli.runs.read import LOG
from gli.system.digest import DIGEST_BYTES

RECEIPT, JOURNAL = "purge.json", "purge.journal"
SCHEMA = "gli-purge-receipt/1"
#: Reason for rewriting the audits of a run that only evaluated the people.
NEVER_TRAINED = "losses and names of people whom this run never trained on, in an audit"
REMOVED, REWRITTEN, RENAMED = "removed", "rewritten", "renamed"
LOCKS = (".lock",)
#: Endings of checkpoints that may have a record of their training images.
CHECKPOINTS = (".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Action:
    """What happens to a file.

    Attributes:
        path: The file.
        kind: ``removed``, ``rewritten`` or ``renamed``.
        reason: Why, without a name.
        data: New contents of a file that is rewritten.
    """

    path: Path
    kind: str
    reason: str
    data: bytes | None = None


@dataclass
class Scope:
    """Where a purge works and what it looks for.

    Attributes:
        folders: The folders by their name in the receipt, such as ``store`` or ``logs``.
        traces: What to look for.
        keep: Files that are not touched, such as the new weights, but searched.
        always: Files, and folders below which every file is removed.
        later: Files that the caller changes itself at the end.
        exceptions: What could not be reached, one sentence each.
    """

    folders: dict[str, Path]
    traces: Traces
    keep: frozenset[Path] = frozenset()
    always: Sequence[Path] = ()
    later: frozenset[Path] = frozenset()
    exceptions: list[str] = field(default_factory=list)

    def spares(self, path: Path) -> bool:
        """Return whether a file is left alone: the caller changes it, or a process may hold it as a lock.

        The lock of a run that was killed goes with the folder of the run.
        """
        locked = path.name in LOCKS and not any(path.is_relative_to(doomed) for doomed in self.always)
        return locked or path in self.later

    def shown(self, path: Path) -> str:
        """Return the path of a file as in the receipt: below the name of its folder, with names of people replaced."""
        for name, folder in self.folders.items():
            with suppress(ValueError):
                relative = self.traces.without_names(path.relative_to(folder).as_posix(), INSTEAD)
                parts = [INSTEAD if self.traces.is_name(part) else part for part in relative.split("/")]
                return f"{name}/{'/'.join(parts)}"
        raise SettingError(f"{path}: is outside of the folders of this purge.")


def check_folder(folder: Path) -> Path:
    """Return the real path of a folder of runs.

    Raises:
        SettingError: If it is a link, does not exist, or holds nothing that gli writes.
    """
    if folder.is_symlink():
        raise SettingError(f"{folder}: is a link. Name the folder itself.")
    if not folder.is_dir():
        raise SettingError(f"{folder}: no such folder. Nothing was changed.")
    if not holds_gli_files(folder):
        nested = [each for each in ("lightning_logs", "data/cache") if (folder / each).is_dir()]
        hint = f" Did you mean {folder / nested[0]}?" if nested else ""
        raise SettingError(f"{folder}: holds no runs and no pixel cache of gli, so nothing was changed.{hint}")
    return folder.resolve()


def files_of(scope: Scope) -> Iterator[Path]:
    """Yield the plain files in the folders of a purge once each, and list links and unreadable folders."""
    seen: set[Path] = set()

    def unreadable(error: OSError) -> None:
        _add(scope, f"{scope.shown(Path(str(error.filename)))}: cannot be read ({error.strerror}).")

    for folder in scope.folders.values():
        for parent, folders, names in os.walk(folder, onerror=unreadable):
            for name in [*folders, *names]:
                path = Path(parent, name)
                if path.is_symlink():
                    _add(scope, f"{scope.shown(path)}: a link, which was not followed.")
                elif is_regular(path) and path not in seen:
                    seen.add(path)
                    yield path


def _add(scope: Scope, exception: str) -> None:
    if exception not in scope.exceptions:
        scope.exceptions.append(exception)


def trace_in(path: Path, traces: Traces) -> str:
    """Return what a file holds of the people, also packed or in a picture; an empty string for nothing.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        return next(filter(None, map(traces.found_in, contents_of(path))), "")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), so it cannot be searched.") from error


def plan_actions(scope: Scope, notes: Sequence[Mapping[str, Any]] = ()) -> list[Action]:
    """List what has to happen to the files, changing none.

    Args:
        scope: Where, and what to look for.
        notes: Notes of an earlier pass: once the people have left the records of a run, only they say that the run
            never trained on them.
    """
    related, _ = related_runs(list(scope.folders.values()), scope.traces)
    spared = {str(note["path"]).rpartition(f"/{AUDITS}/")[0] for note in notes if note["reason"] == NEVER_TRAINED}
    spared_runs = {run.folder for run in related if scope.shown(run.folder) in spared}
    for run in related:
        for tracker in run.trackers:
            _add(scope, f"{scope.shown(run.folder)}: also logged to {tracker}. Look there.")
    for path in (each for folder in scope.folders.values() for each in tracker_folders(folder)):
        _add(scope, f"{scope.shown(path)}: a tracker's folder. It was searched, but figures in it may show the people.")
    labels = {run.folder.parent.name.rpartition("_")[2] for run in related}
    audits = {action.path: action for run in related for action in _audits(run, scope)}
    of_run = {run.folder: run for run in related}
    actions = []
    for path in files_of(scope):
        if scope.spares(path):
            continue
        if path in scope.keep:
            actions += _without_record(path, scope)
            continue
        action = audits.get(path) or _action(path, scope, of_run, labels, spared_runs)
        if action is not None:
            actions.append(action)
    return actions


def _without_record(path: Path, scope: Scope) -> list[Action]:
    """Return the rewriting of a checkpoint that is kept and whose record of its training images has the people."""
    if path.suffix not in CHECKPOINTS or not scope.traces.digests or trace_in(path, scope.traces) != "a digest":
        return []
    from gli.models.training_images import drop_training_images

    copy = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(path, copy)
        own = [each.encode() for each in scope.traces.digests if len(each) == 2 * DIGEST_BYTES]
        drop_training_images(copy, np.array(sorted(own)))
        return [Action(path, REWRITTEN, "digests of the photographs in a checkpoint that is kept", copy.read_bytes())]
    finally:
        shred(copy)


def _audits(run: Run, scope: Scope) -> list[Action]:
    """Return what happens to the records of a related run's audits: the rows of the people go."""
    if run.people is None:
        return []
    named = named_rows(run.people, scope.traces)
    if not any(rows.any() for rows in named.values()):
        return []
    emptied = any(rows.all() for rows in named.values())
    actions = []
    for path in sorted((run.folder / AUDITS).glob("*.npz")):
        if not is_regular(path):
            continue
        data = None if emptied else without_rows(path.read_bytes(), named)
        reason = (
            NEVER_TRAINED if run.trained_on(scope.traces) is False else "losses and names of the people in an audit"
        )
        actions.append(Action(path, REMOVED if data is None else REWRITTEN, reason, data))
    return actions


def _action(
    path: Path, scope: Scope, related: Mapping[Path, Run], labels: set[str], spared: set[Path]
) -> Action | None:
    traces = scope.traces
    if path.name.startswith(DOOMED):
        return Action(path, REMOVED, "left by an interrupted purge")
    if any(each == path or each in path.parents for each in scope.always):
        released = path.suffix in WEIGHTS and path in scope.always
        reason = "weights that were released before" if released else "a file of the runs of these people"
        return Action(path, REMOVED, reason)
    run = next((related[parent] for parent in path.parents if parent in related), None)
    if run is not None:
        reason = _descends(path, run, traces, run.folder in spared)
        if reason:
            return Action(path, REMOVED, reason)
    if path.suffix in WEIGHTS:
        if traces.weights and sha256_file(path) in traces.weights:
            return Action(path, REMOVED, "weights that remember the people")
        original = path.parent.name == ORIGINALS and path.stem.partition("-")[0].rpartition("_")[2] in labels
        if original and _recorded(path, traces) is not False:
            return Action(path, REMOVED, "an original trained on the same data")
    try:
        found = trace_in(path, traces)
    except DataError as error:
        _add(scope, str(error))
        return None
    if found:
        return _remove_or_rewrite(path, found, traces)
    if _short_field(path, traces):
        return _remove_or_rewrite(path, "a name", traces)
    if any(
        traces.is_name(part) or traces.name_in(part.encode()) for part in path.relative_to(_folder(path, scope)).parts
    ):
        return Action(path, RENAMED, "a name in its path")
    return None


def _folder(path: Path, scope: Scope) -> Path:
    return next(folder for folder in scope.folders.values() if folder in path.parents)


def _remove_or_rewrite(path: Path, found: str, traces: Traces) -> Action:
    data = cleaned(path.name, path.read_bytes(), traces) if path.stat().st_size <= PIECE else None
    if data is not None and traces.found_in(data):
        data = None
    return Action(path, REMOVED if data is None else REWRITTEN, f"{found} in it", data)


def _short_field(path: Path, traces: Traces) -> bool:
    """Return whether a table or settings have a field that is a name too short to be searched for."""
    if all(is_searchable(name) for name in traces.names) or path.suffix not in (
        ".csv",
        ".yaml",
        ".yml",
        ".json",
        ".txt",
    ):
        return False
    if path.name == LOG or path.stat().st_size > PIECE:
        return False
    short = Traces([name for name in traces.names if not is_searchable(name)])
    data = path.read_bytes()
    new = cleaned(path.name, data, short)
    if new is None or path.suffix != ".json":
        return new != data and new is not None
    import json

    return bool(json.loads(new) != json.loads(data))


def _recorded(path: Path, traces: Traces) -> bool | None:
    """Return whether a checkpoint's record of its training images has the people; None if that is not known."""
    if path.suffix not in CHECKPOINTS or not traces.digests:
        return None
    from gli.models.training_images import read_training_images

    with suppress(CheckpointError):
        recorded = read_training_images(path)
        return None if recorded is None else bool({each.decode() for each in recorded.tolist()} & traces.digests)
    return None


def _descends(path: Path, run: Run, traces: Traces, spared: bool) -> str:
    """Return why a file of a related run has to go; an empty string if only its contents decide."""
    if path.name.startswith("events.out.tfevents"):
        return "events with figures and losses"
    if path.suffix == ".png":
        return "a figure"
    unseen = spared or run.trained_on(traces) is False
    if path.suffix in WEIGHTS and not unseen and _recorded(path, traces) is not False:
        return "a checkpoint, with its optimiser, of a run on the same data"
    if path.name == LOG and run.people is not None:
        rows = named_rows(run.people, traces)
        if "forget" in rows and rows["forget"].all():
            return "scores of these people alone"
    return ""


class Journal:
    """Notes each file before it is touched, so that a purge that was killed keeps its receipt.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[dict[str, Any]]:
        """Return the notes; an incomplete last one does not count."""
        if not self.path.exists():
            return []
        *lines, _ = read_bytes(self.path, "the journal of a purge").split(b"\n")
        return [parse_canonical(line, "a line of the journal") for line in lines]

    def note(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append notes; they are on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            file.seek(data.rfind(b"\n") + 1)
            file.truncate()
            file.write(b"".join(canonical(entry) + b"\n" for entry in entries))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)


def note_of(action: Action, scope: Scope) -> dict[str, Any]:
    """Return the note of a file for journal and receipt. It names nobody."""
    data = action.path.read_bytes() if action.path.stat().st_size <= PIECE else b""
    known = bool(data) and bool(digests_of(data) & scope.traces.digests)
    return {
        "path": scope.shown(action.path),
        "bytes": action.path.stat().st_size,
        # The digest of a photograph would be a trace itself.
        "sha256": None if known else sha256(data) if data else sha256_file(action.path),
        "action": action.kind,
        "reason": action.reason,
    }


def carry_out(actions: Sequence[Action], scope: Scope, journal: Journal) -> None:
    """Note all actions, then do them; files with other names (hard links) are listed."""
    noted = {(entry["path"], entry["action"]) for entry in journal.entries()}
    notes = [note_of(action, scope) for action in actions if not action.path.name.startswith(DOOMED)]
    journal.note([note for note in notes if (note["path"], note["action"]) not in noted])
    for action in actions:
        if has_other_names(action.path):
            _add(
                scope,
                f"{scope.shown(action.path)}: had another name (a hard link), whose contents were left as they are.",
            )
        if action.kind == REWRITTEN and action.data is not None:
            replace_contents(action.path, action.data)
        elif action.kind == REMOVED:
            shred(action.path)
    for action in actions:
        if action.kind == RENAMED:
            _rename(action.path, scope)
    for folder in [*scope.always, *scope.folders.values()]:
        _remove_empty(folder, folder in scope.always)


def _rename(path: Path, scope: Scope) -> None:
    """Replace names of people in the path of a file below the folder of the purge."""
    target = _folder(path, scope)
    for part in path.relative_to(target).parts:
        new = INSTEAD if scope.traces.is_name(part) else scope.traces.without_names(part, INSTEAD)
        target /= new
    number = 0
    while target.exists():
        number += 1
        target = target.with_name(f"{target.stem}-{number}{target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        os.replace(path, target)
        sync_folder(target.parent)


def _remove_empty(folder: Path, itself: bool) -> None:
    """Remove empty folders below a folder."""
    for parent, _, _ in os.walk(folder, topdown=False):
        if (itself or Path(parent) != folder) and not any(Path(parent).iterdir()):
            with suppress(OSError):
                Path(parent).rmdir()


def scan(scope: Scope) -> list[str]:
    """Search every file again; return what is left, one sentence each."""
    left = []
    for path in files_of(scope):
        if scope.spares(path):
            continue
        found = trace_in(path, scope.traces)
        if not found and path.suffix in WEIGHTS and path not in scope.keep and scope.traces.weights:
            found = "weights that remember the people" if sha256_file(path) in scope.traces.weights else ""
        relative = path.relative_to(_folder(path, scope)).as_posix()
        if not found and scope.traces.name_in(relative.encode()):
            found = "a name in its path"
        if found:
            left.append(f"{scope.shown(path)}: {found}.")
    return left


def receipt_of(
    scope: Scope, journal: Journal, left: Sequence[str], time: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of the receipt."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in journal.entries():
        first.setdefault((str(entry["path"]), str(entry["action"])), entry)
    short = sum(not is_searchable(name) for name in scope.traces.names)
    limits = ["File systems that copy on write, flash memory and backups may keep old blocks."]
    if short:
        limits.append(f"{short} names are too short to be searched for in every file; they were looked for in fields.")
    return {
        "schema": SCHEMA,
        "time": time,
        "files": sorted(first.values(), key=lambda entry: str(entry["path"])),
        "exceptions": sorted(scope.exceptions),
        "left": list(left),
        "limits": limits,
        **more,
    }


def purge(
    scope: Scope, journal: Journal, *, dry_run: bool = False, before: Callable[[], None] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """List, and unless ``dry_run`` remove, what descends from the people; search again.

    Args:
        scope: Where, and what to look for.
        journal: Notes each file before it is touched.
        dry_run: List only.
        before: Called after the listing and before the first change.

    Returns:
        The files and what happens to each, and what is left.
    """
    if not dry_run:
        for folder in scope.folders.values():
            remove_remains(folder)
    actions = plan_actions(scope, journal.entries())
    if dry_run:
        return [note_of(action, scope) for action in actions], []
    if before is not None:
        before()
    carry_out(actions, scope, journal)
    again = plan_actions(scope, journal.entries())  # Removing a file may leave others that only its name protected.
    if again:
        carry_out(again, scope, journal)
    return journal.entries(), scan(scope)
