"""Remove from folders of runs and pixel caches what descends from some people: checkpoints, losses, pixels, names.

    gli purge lightning_logs data/cache --names anna ben --dry-run
    gli purge lightning_logs data/cache --names requests.txt --table faces.csv --keep new_model.ckpt

It lists every file first, overwrites, renames and syncs, scans again, and writes a receipt (purge.json in the first
folder). Folders that hold nothing of gli are refused, links are not followed. Exit status 4: a trace is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gli.commands.main import make_parser, run_command
from gli.errors import SettingError


def main(args: Sequence[str]) -> int:
    """Run ``gli purge``; return the exit status: 0, 4 where a trace is left, 2 after an error of the user."""
    parser = make_parser("purge", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folder of runs, or pixel cache")
    parser.add_argument("--names", nargs="+", required=True, help="names of people, or a text file with one per line")
    parser.add_argument(
        "--table", type=Path, help="CSV file that lists their photographs: finds digests and pixels too"
    )
    parser.add_argument("--root", type=Path, help="folder of the photographs (default: that of the table)")
    parser.add_argument("--file", default="file", help="column of the table with the file names (default: file)")
    parser.add_argument("--identity", default="identity", help="column with the people (default: identity)")
    parser.add_argument("--keep", nargs="+", type=Path, default=[], help="files to keep, such as the new weights")
    parser.add_argument("--receipt", type=Path, help="path of the receipt (default: purge.json in the first folder)")
    parser.add_argument("--dry-run", action="store_true", help="list only")
    options = parser.parse_args(args)
    return run_command("gli purge", lambda: _purge(options), "stopped. The same command continues.")


def _names(words: Sequence[str]) -> list[str]:
    """Return the names on the command line, or in a file of names."""
    from gli.data.people_lists import parse_names
    from gli.system.files import read_text

    if len(words) == 1 and Path(words[0]).is_file():
        return parse_names(read_text(Path(words[0])).split("\n"))
    return [word for word in words if word.strip()]


def _purge(options: argparse.Namespace) -> int:
    from gli.commands.erase import show_purge
    from gli.erasure.batch_purge import purge_folders

    names = _names(options.names)
    if not names:
        raise SettingError("--names: names nobody.")
    result = purge_folders(
        options.folders,
        names,
        table=options.table,
        root=options.root,
        columns=(options.file, options.identity),
        keep=options.keep,
        receipt=options.receipt,
        dry_run=options.dry_run,
    )
    return show_purge(result.files, result.exceptions, result.left, result.receipt)
