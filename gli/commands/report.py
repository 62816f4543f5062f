"""``gli report`` and ``gli.report``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gli.commands.parse import Flag
from gli.errors import DataError, SettingError
from gli.reporting import SELECTIONS, Select

if TYPE_CHECKING:
    from gli.runs.read import Run

HELP = """Report existing runs: tables, figures, and one page that needs no other file.

gli report lightning_logs/*_synthetic/version_* --output report --resamples 100
gli report benchmark_synthetic --output report --compare "GLI>LI:accuracy@end"
"""


def report(
    runs: str | Path | Sequence[str | Path],
    output: str | Path = "report",
    *,
    select: Select = "final_score",
    resamples: int = 0,
    audit: str | Path | None = None,
    compare: Annotated[Sequence[str], Flag(metavar="OF>WITH:SCORE@STATE", repeat=True)] = (),
) -> Path:
    """Write a report of runs and return the path of its page.

    Args:
        runs: Folders of runs or of a benchmark, such as ``result.folder``.
        output: Folder of the report.
        select: Which audit of a run is reported: ``final_score`` the one with the best final score, ``held_out``
            selects it on other people than those it reports, ``end`` takes the last.
        resamples: Bootstrap resamples of the people for each run's confidence intervals; 0 for none.
        audit: Folder of an audit of the same methods, to show beside the scores.
        compare: Claims to decide over seeds and people, such as ``GLI>LI:accuracy@end``.

    Raises:
        DataError: If a folder is not a run, or the runs are of several data sets.
        SettingError: If an argument makes no sense, or a claim cannot be read.

    Example:
        >>> gli.report(["runs/gli_given/version_0", "runs/scrub_given/version_0"])  # doctest: +SKIP
        PosixPath('report/report.html')
    """
    from gli.reporting.claims import Claims, parse_comparisons
    from gli.reporting.write import write_report
    from gli.system.files import writable

    if select not in SELECTIONS:
        raise SettingError(f"select is {select!r}; it must be one of {', '.join(SELECTIONS)}.")
    if resamples < 0:
        raise SettingError(f"resamples is {resamples}; it must not be negative.")
    folders = [runs] if isinstance(runs, str | Path) else runs
    if not folders:
        raise SettingError("runs is empty; give the folders of some runs, such as [result.folder].")
    readable, missing = read_runs([Path(folder) for folder in folders])
    claims = Claims(parse_comparisons(compare, readable))
    audited = None if audit is None else Path(audit)
    with writable(Path(output), content="the report", setting="--output"):
        failed = write_report(readable, Path(output), select, resamples, missing, audited, claims)
    for message in (*missing, *failed):
        warnings.warn(f"left out: {message}", stacklevel=2)
    return Path(output) / "report.html"


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
    from gli.runs.read import EvaluationFolder, read_run
    from gli.study.benchmark import CELLS, finished_runs

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
