"""Report existing runs: tables, figures, and one page that needs no other file.

gli report lightning_logs/*_synthetic/version_* --output report --resamples 100
gli report benchmark_synthetic --output report --compare "GLI>LI:accuracy@end"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gli.commands.main import make_parser, run_command
from gli.errors import DataError, SettingError
from gli.reporting.claims import parse_comparisons
from gli.reporting.compare import Claims
from gli.reporting.results import SELECTIONS
from gli.reporting.write import write_report
from gli.runs.read import EvaluationFolder, Run, read_run
from gli.study.cells import CELLS, finished_runs
from gli.system.files import writable


def main(args: Sequence[str]) -> int:
    """Run ``gli report``; return the exit status 0, or 2 after an error that the user can correct."""
    parser = make_parser("report", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of a benchmark")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder of the report (default: report)")
    parser.add_argument(
        "--select",
        choices=list(SELECTIONS),
        default="final_score",
        help="which audit of a run is reported (default: final_score)",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=0,
        help="bootstrap resamples of the people for each run's confidence intervals (default: none)",
    )
    parser.add_argument("--audit", type=Path, help="folder of an audit of the same methods, to show beside the scores")
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="OF>WITH:SCORE@STATE",
        help="decide over seeds and people whether one method is better, such as 'GLI>LI:accuracy@end'; repeatable",
    )
    options = parser.parse_args(args)
    return run_command("gli report", lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    if options.resamples < 0:
        raise SettingError(f"--resamples is {options.resamples}; it must not be negative.")
    runs, missing = read_runs(options.runs)
    claims = Claims(parse_comparisons(options.compare, runs))
    with writable(options.output, content="the report", setting="--output"):
        failed = write_report(runs, options.output, options.select, options.resamples, missing, options.audit, claims)
    for message in (*missing, *failed):
        print(f"gli report: left out: {message}", file=sys.stderr)
    print(options.output / "report.html")
    return 0


def read_runs(arguments: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read runs.

    Args:
        arguments: Folders of runs; the folder of a benchmark stands for all its finished cells.

    Returns:
        The runs, each once, and a message for every run that was cut off before its first audit, or is damaged. Folders
        of ``gli test`` and ``gli validate`` are skipped: the run that they evaluate would count twice.

    Raises:
        DataError: If a folder does not exist, a benchmark has no cells, or no run can be read.
    """
    folders: list[Path] = []
    missing: list[str] = []
    for argument in arguments:
        if (argument / CELLS).is_dir():
            finished, unfinished = finished_runs(argument)
            folders += finished
            missing += unfinished
        else:
            folders.append(argument)
    runs: list[Run] = []
    skipped: list[str] = []
    for folder in dict.fromkeys(folders):
        try:
            runs.append(read_run(folder))
        except EvaluationFolder as error:
            skipped.append(str(error))
        except DataError as error:
            if not folder.is_dir():  # A mistyped path.
                raise
            missing.append(str(error))
    if not runs:
        raise DataError(" ".join(missing or skipped))
    return runs, missing
