"""Write a report of runs: tables, figures and one page."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from gli.commands.report import read_runs
from gli.errors import SettingError
from gli.reporting.claims import parse_comparisons
from gli.reporting.compare import Claims
from gli.reporting.results import SELECTIONS, Select
from gli.reporting.write import write_report
from gli.system.files import writable


def report(
    runs: str | Path | Sequence[str | Path],
    output: str | Path = "report",
    *,
    select: Select = "final_score",
    resamples: int = 0,
    audit: str | Path | None = None,
    compare: Sequence[str] = (),
) -> Path:
    """Write a report of runs, as ``gli report`` does, and return the path of its page.

    Args:
        runs: Folders of runs or of a benchmark, such as ``result.folder``.
        output: Folder of the report.
        select: ``final_score`` reports the audit with the best final score, ``held_out`` selects it on other people
            than those it reports, ``end`` takes the last.
        resamples: Bootstrap resamples of the people for each run's confidence intervals; 0 for none.
        audit: Folder of an audit of the same methods, to show beside the scores.
        compare: Claims to decide over seeds and people, such as ``["GLI>LI:accuracy@end"]``.

    Raises:
        DataError: If a folder is not a run, or the runs are of several data sets.
        SettingError: If an argument makes no sense, or a claim cannot be read.

    Example:
        >>> gli.report(["runs/gli_given/version_0", "runs/scrub_given/version_0"])  # doctest: +SKIP
        PosixPath('report/report.html')
    """
    if select not in SELECTIONS:
        raise SettingError(f"select is {select!r}; it must be one of {', '.join(SELECTIONS)}.")
    if resamples < 0:
        raise SettingError(f"resamples is {resamples}; it must not be negative.")
    folders = [runs] if isinstance(runs, str | Path) else runs
    if not folders:
        raise SettingError("runs is empty; give the folders of some runs, such as [result.folder].")
    found, missing = read_runs([Path(folder) for folder in folders])
    claims = Claims(parse_comparisons(compare, found))
    audited = None if audit is None else Path(audit)
    with writable(Path(output), content="the report", setting="output"):
        failed = write_report(found, Path(output), select, resamples, missing, audited, claims)
    for message in (*missing, *failed):
        warnings.warn(f"left out of the report: {message}", stacklevel=2)
    return Path(output) / "report.html"
