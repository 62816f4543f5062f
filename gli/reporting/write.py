"""Write a report: ``results.csv``, ``results.json``, ``results.md``, ``tradeoff.png`` and ``report.html``."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gli.errors import DataError
from gli.reporting.audit import auc_of_methods, audit_section, read_audit
from gli.reporting.compare import Claims, decide_claims
from gli.reporting.page import RUNS, Section, page
from gli.reporting.published import PUBLISHED
from gli.reporting.results import Result, collect_results, reported_scores, summarise, warm_up
from gli.reporting.selections import SELECTIONS, Select
from gli.reporting.tables import AUDIT_HEADING, Table, markdown, table_of_methods, table_of_runs
from gli.reporting.tradeoff import tradeoff_of
from gli.runs.membership import read_membership
from gli.runs.read import Run
from gli.system.console import progress
from gli.system.files import atomic_write, json_text, write_json

WARM_UP = "Class-loss warm-up: LI, GLI with a fixed weight and with a warm-up"

CLAIMS, TRADEOFF = "Claims", "Privacy against accuracy"
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
        select: Which audit of a run is reported, see :func:`gli.reporting.results.select_audit`.
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
    data = data_sets[0]
    audited_models = read_audit(audit) if audit is not None else None
    audited = auc_of_methods(audited_models) if audited_models is not None else {}
    with progress("Reading runs" + (f", {resamples} resamples each" if resamples else ""), len(runs)) as tick:
        results, failed = collect_results(runs, select, resamples, tick)
    if not results:
        raise DataError("None of the runs gave a result: " + " ".join(failed))
    left_out = [*missing, *failed]
    notes = _notes(data, select, resamples, left_out) + _without_meaning(results)
    if audited:
        notes.append(f"{AUDIT_HEADING}: 0.5 if forgotten people cannot be told from those never seen ({audit}).")
    claims = claims or Claims()
    compared = []
    if claims.comparisons:
        notes.append(CLAIMS_NOTE)
        with progress("Deciding claims", len(claims.comparisons)) as tick:
            compared = decide_claims(claims, results, select, tick)
    decided = {CLAIMS: [each.sentence for each in compared]} if compared else {}
    tradeoff = tradeoff_of(results, audited_models)
    tables = {"": table_of_methods(results, data, audited)}
    if by_warm_up := warm_up(results):
        tables[WARM_UP] = table_of_methods(by_warm_up, data)
    runs_table = {RUNS: table_of_runs(results)}
    rows = [_flat_row(result, select) for result in results]
    _write_csv(output / "results.csv", rows)
    contents = _contents(data, select, results, rows, left_out) | {
        "comparisons": [each.values for each in compared],
        "tradeoff": tradeoff.values,
    }
    write_json(output / "results.json", contents)
    picture = {TRADEOFF: f"![{tradeoff.text}](tradeoff.png)\n\n{tradeoff.caption}"} if tradeoff.points else {}
    _write_text(output / "results.md", _markdown(data, notes, {**tables, **decided, **picture, **runs_table}))
    # Only pictures need matplotlib.
    from gli.reporting.figures import draw_svg
    from gli.reporting.tradeoff_plot import draw_tradeoff

    if tradeoff.points:
        drawn = draw_tradeoff(tradeoff, output / "tradeoff.png", data)
        picture = {TRADEOFF: f"{drawn}<figcaption>{html.escape(tradeoff.caption)}</figcaption>"}
    after = ["<h2>Audit</h2>", *audit_section(audited_models, level=3)] if audited_models is not None else []
    sections: dict[str, Section] = {**tables, **decided, **picture, **draw_svg(runs, results), **runs_table}
    _write_text(output / "report.html", page(data, notes, sections, json_text(contents), after))
    return failed


def _notes(data: str, select: Select, resamples: int, left_out: Sequence[str]) -> list[str]:
    """Return the sentences above the tables."""
    notes = [
        f"Reported: {SELECTIONS[select]}.",
        "Mean ± standard deviation over runs; **best** and *second best* of the methods.",
        "What each score means, typical values, and what it cannot show: docs/scores.md of the sources.",
    ]
    if data in PUBLISHED:
        notes.append("In round brackets the published scores of the paper (ResNet-18 at 128x128).")
    if resamples:
        notes.append(
            f"In square brackets the 95 % confidence interval from {resamples} bootstrap resamples of the people."
        )
    if left_out:
        notes.append("Without a result: " + " ".join(left_out))
    return notes


def _without_meaning(results: Sequence[Result]) -> list[str]:
    """Return a note for every run whose scores are not those of a report: unseen people may be members, or rehearse."""
    notes = []
    for folder in (result.run.folder for result in results):
        try:
            membership = read_membership(folder)
        except DataError as error:
            notes.append(str(error))
            continue
        if membership is not None and membership.reasons:
            notes.append(f"{folder}: {membership.warning}")
        if membership is not None and membership.rehearsal:
            notes.append(f"{folder}: a rehearsal, to choose settings by; its people are not those to be reported.")
    return notes


def _markdown(data: str, notes: Sequence[str], sections: Mapping[str, Section]) -> str:
    paragraphs = [f"# {data}", _list(notes)]
    for heading, content in sections.items():
        paragraphs += [f"## {heading}"] if heading else []
        if isinstance(content, Table):
            paragraphs.append(markdown(content))
        else:
            paragraphs.append(content if isinstance(content, str) else _list(content))
    return "\n\n".join(paragraphs) + "\n"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


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


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row if name != "run"))
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*names, "run"])
        writer.writeheader()
        writer.writerows(rows)


def _contents(
    data: str,
    select: Select,
    results: Sequence[Result],
    rows: Sequence[Mapping[str, Any]],
    left_out: Sequence[str],
) -> dict[str, Any]:
    """Return the contents of ``results.json``; ``results`` are in the order of the table of runs."""
    lines = [
        {
            "method": summary.label,
            "mean": summary.mean,
            "standard_deviation": summary.spread,
            "gap_to_retrained": summary.gap,
            "runs": [str(result.run.folder) for result in summary.results],
        }
        for summary in summarise(results)
    ]
    scores = [
        {"name": score.name, "heading": score.with_arrow, "better": score.better} for score in reported_scores(results)
    ]
    return {"data": data, "select": select, "scores": scores, "lines": lines, "results": rows, "failed": left_out}
