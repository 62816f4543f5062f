"""``gli purge``: remove from folders of runs and pixel caches what descends from some people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gli.errors import SettingError

#: Message after Ctrl-C.
INTERRUPTED = "stopped. The same command continues."


def purge(
    folders: Sequence[Path],
    *,
    names: Sequence[str],
    table: Path | None = None,
    root: Path | None = None,
    file: str = "file",
    identity: str = "identity",
    keep: Sequence[Path] = (),
    receipt: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Remove from folders of runs and pixel caches what descends from some people: checkpoints, losses, pixels, names.

    gli purge lightning_logs data/cache --names anna ben --dry-run
    gli purge lightning_logs data/cache --names requests.txt --table faces.csv --keep new_model.ckpt

    The folders of related runs go whole; only weights that were never trained on the people stay. It lists every file
    first, overwrites, renames and syncs, scans again, and writes a receipt (purge.json in the first folder). Folders
    without anything of gli are refused, links are not followed. Exit status 4: a trace is left.

    Args:
        folders: Folders of runs, or pixel caches.
        names: Names of people, or a text file with one per line.
        table: CSV file that lists their photographs: finds digests and pixels too.
        root: Folder of the photographs (default: that of the table).
        file: Column of the table with the file names.
        identity: Column with the people.
        keep: Files to keep, such as the new weights.
        receipt: Path of the receipt (default: purge.json in the first folder).
        dry_run: List only.
    """
    from gli.commands.erase import show_purge
    from gli.data.people_lists import parse_names
    from gli.erasure.batch_purge import purge_folders
    from gli.system.files import read_text

    people = [name for name in names if name.strip()]
    if len(names) == 1 and Path(names[0]).is_file():
        people = parse_names(read_text(Path(names[0])).split("\n"))
    if not people:
        raise SettingError("--names: names nobody.")
    result = purge_folders(
        folders,
        people,
        table=table,
        root=root,
        columns=(file, identity),
        keep=keep,
        receipt=receipt,
        dry_run=dry_run,
    )
    return show_purge(result.files, result.exceptions, result.left, result.receipt)
