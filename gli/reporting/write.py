"""Write a report: load once, reduce, write ``results.csv``, ``.json`` and ``.md``, ``tradeoff.png`` and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gli.errors import DataError
from gli.reporting import SELECTIONS, Select
from gli.reporting.audit import auc_of_methods, audit_section, read_audit
from gli.reporting.claims import Claims, Compared, decide_claims
from gli.reporting.page import json_element, render
from gli.reporting.published import PUBLISHED
from gli.reporting.results import Result, Summary, collect_results, reported_scores, summarise, warm_up
from gli.reporting.tables import AUDIT_HEADING, table_of_methods, table_of_runs
from gli.reporting.tradeoff import Tradeoff, tradeoff_of
from gli.runs.read import Run
from gli.system.console import progress
from gli.system.files import write_json, write_table, write_text

WARM_UP = "Class-loss warm-up: LI, GLI with a fixed weight and with a warm-up"
LEGEND = (
    "Mean ± standard deviation over runs; **best** and *second best* of the methods that went at least half of the way "
    "from the original's MIA accuracy to that of retraining (or of guessing) with at least half of its accuracy."
)
CLAIMS_NOTE = (
    "Claims: yes or no where the 95 % confidence interval of the difference, over seeds and people, excludes 0, "
    "otherwise cannot tell. The intervals are not corrected for the number of claims."
)


def write_report(
    runs: Sequence[Run],
    output: Path,
    select: Select = "final_score",
    resamples: int = 0,
    missing: Sequence[str] = (),
    audit: Path | None = None,
    claims: Claims | None = None,
) -> list[str]:
    """Write the report of runs on one data set.

    Args:
        runs: The runs.
        output: Folder of the report.
        select: Which audit of a run is reported, see :func:`gli.reporting.results.load_results`.
        resamples: Number of bootstrap resamples for the confidence intervals of every run; 0 for none.
        missing: Messages for runs that are expected in the report and could not be read.
        audit: Folder of an audit of the same methods: its AUC per person stands beside the scores, and the page ends
            with it. The trade-off between privacy and accuracy is then that of the audit.
        claims: Claims that one method is better than another, which the report decides.

    Returns:
        A message for every run that gave no result.

    Raises:
        DataError: If the runs are of several data sets, or none gave a result.
    """
    data_sets = sorted({run.data for run in runs})
    if len(data_sets) != 1:
        raise DataError(
            f"The runs are of several data sets ({', '.join(data_sets)}), so their scores cannot be compared. Write a "
            "report of each data set."
        )
    data, claims = data_sets[0], claims or Claims()
    audited = None if audit is None else read_audit(audit)
    states = {comparison.at for comparison in claims.comparisons}
    with progress("Reading runs" + (f", {resamples} resamples each" if resamples else ""), len(runs)) as tick:
        results, failed = collect_results(runs, select, resamples, tick, states)
    if not results:
        raise DataError("None of the runs gave a result: " + " ".join(failed))

    summaries = summarise(results)
    compared = decide_claims(claims, results)
    tradeoff = tradeoff_of(summaries, audited)
    methods = table_of_methods(summaries, data, None if audited is None else auc_of_methods(audited))
    by_warm_up = summarise(warm_up(results))
    tables = {WARM_UP: table_of_methods(by_warm_up, data)} if by_warm_up else {}
    runs_table = table_of_runs(results)
    notes = _notes(data, select, resamples, [*missing, *failed], results, audit, compared)
    rows = [_flat_row(result, select) for result in results]
    contents = _contents(data, select, summaries, rows, [*missing, *failed], compared, tradeoff)

    columns = dict.fromkeys(name for row in rows for name in row if name != "run")
    write_table(output / "results.csv", [*columns, "run"], rows)
    write_json(output / "results.json", contents)
    shown = {
        "data": data,
        "notes": notes,
        "methods": methods,
        "tables": tables,
        "claims": [claim.sentence for claim in compared],
        "runs": runs_table,
    }
    write_text(output / "results.md", render("results.md.j2", **shown, legend=LEGEND, tradeoff=tradeoff))
    # Only pictures need matplotlib.
    from gli.reporting.plots import draw_report

    runs_svg, figures = draw_report(runs, results, summaries, tradeoff, output / "tradeoff.png", data)
    page = render(
        "report.html.j2",
        **shown,
        title=f"{data}: unlearning methods",
        contents=json_element(contents),
        runs_svg=runs_svg,
        figures=figures,
        audit=None if audited is None else audit_section(audited),
    )
    write_text(output / "report.html", page)
    return failed


def _notes(
    data: str,
    select: Select,
    resamples: int,
    left_out: Sequence[str],
    results: Sequence[Result],
    audit: Path | None,
    compared: Sequence[Compared],
) -> list[str]:
    notes = [
        f"Reported: {SELECTIONS[select]}.",
        "What each score means, typical values, and what it cannot show: scores.md of gli's documentation.",
    ]
    if data in PUBLISHED:
        notes.append("In round brackets the published scores of the paper (ResNet-18 at 128x128).")
    if resamples:
        notes.append(
            f"In square brackets the 95 % confidence interval from {resamples} bootstrap resamples of the people."
        )
    if left_out:
        notes.append("Without a result: " + " ".join(left_out))
    notes += dict.fromkeys(result.caution for result in results if result.caution)
    if audit is not None:
        notes.append(f"{AUDIT_HEADING}: 0.5 if the attack does not distinguish forgotten from unseen people ({audit}).")
    return [*notes, CLAIMS_NOTE] if compared else notes


def _flat_row(result: Result, select: Select) -> dict[str, Any]:
    """Return a result as a row of ``results.csv``."""
    origin = {"data": result.run.data, "method": result.label, "seed": result.run.seed, "select": select}
    scores = {name: value for name, value in result.scores.items() if not name.startswith("loss_")}
    intervals = {
        f"{name}_{end}": value
        for name, interval in result.intervals.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    return {
        **origin,
        "iteration": result.iteration,
        **scores,
        **intervals,
        **result.cost,
        "run": str(result.run.folder),
    }


def _contents(
    data: str,
    select: Select,
    summaries: Sequence[Summary],
    rows: Sequence[Mapping[str, Any]],
    left_out: Sequence[str],
    compared: Sequence[Compared],
    tradeoff: Tradeoff,
) -> dict[str, Any]:
    """Return the contents of ``results.json``; ``rows`` are in the order of the table of runs."""
    lines = [
        {
            "method": summary.label,
            "mean": summary.mean,
            "standard_deviation": summary.spread,
            "gap_to_retrained": summary.gap,
            "runs": [str(result.run.folder) for result in summary.results],
        }
        for summary in summaries
    ]
    scores = [
        {"name": score.name, "heading": score.with_arrow, "better": score.better}
        for score in reported_scores(summaries)
    ]
    return {
        "data": data,
        "select": select,
        "scores": scores,
        "lines": lines,
        "results": rows,
        "failed": left_out,
        "comparisons": [claim.values for claim in compared],
        "tradeoff": tradeoff.values,
    }
