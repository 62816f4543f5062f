"""The tables of a report, as text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli.metrics.registry import Score, shown_in
from gli.reporting.published import PUBLISHED
from gli.reporting.results import Result, Summary, ranks, reported_scores

#: Marks around the best and the second best score: Markdown, which the pages turn into HTML.
MARKS = {1: "**", 2: "*"}
#: Heading of the column of an audit.
AUDIT_HEADING = "AUC per person of the audit"
#: Columns of cost: name in the record of a run's cost, heading, and divisor.
COSTS = (("training_seconds", "training, s", 1), ("peak_memory_bytes", "peak memory, MB", 2**20))


@dataclass(frozen=True)
class Table:
    """A table of text: a heading for each column, and rows of as many cells."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: float, spread: float = math.nan) -> str:
    """Return a score as text with three decimals, with its standard deviation where there is one; ``-`` for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"


def table_of_methods(summaries: Sequence[Summary], data: str, audited: Mapping[str, str] | None = None) -> Table:
    """Return the table with a row for each label: scores, cost, and the reported iterations.

    ``audited`` has the AUC per person of an audit, as text by method.
    """
    columns = [("method", [summary.label for summary in summaries])]
    for score in reported_scores(summaries):
        columns.append((score.with_arrow, _score_cells(summaries, score, PUBLISHED.get(data, {}))))
    if any(summary.gap for summary in summaries):
        gaps = [f"{summary.gap['final_score']:+.3f}" if summary.gap else "" for summary in summaries]
        columns.append(("final score, gap to retrained", gaps))
    if audited:
        names = [
            summary.results[0].run.method if summary.label != "Original" else summary.label for summary in summaries
        ]
        columns.append((AUDIT_HEADING, [audited.get(name, "") for name in names]))
    costs = [[result.cost for result in summary.results] for summary in summaries]
    if any(cost for group in costs for cost in group):
        columns += [
            (heading, [_mean_cost(group, name, divisor) for group in costs]) for name, heading, divisor in COSTS
        ]
    iterations = [", ".join(str(result.iteration) for result in summary.results) for summary in summaries]
    columns.append(("iteration of each run", iterations))
    headings, cells = zip(*columns, strict=True)
    return Table(headings, list(zip(*cells, strict=True)))


def _score_cells(summaries: Sequence[Summary], score: Score, published: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a column: mean and spread, best and second best marked, the published score in brackets."""
    rank_of = ranks(summaries, score)
    cells = []
    for summary in summaries:
        mark = MARKS.get(rank_of.get(summary.label, 0), "")
        kind = "Original" if summary.label == "Original" else summary.results[0].run.kind
        value = published.get(kind, {}).get(score.name)
        beside = "" if value is None else f" ({value:.3f})"
        cells.append(f"{mark}{number(summary.mean[score.name], summary.spread[score.name])}{mark}{beside}")
    return cells


def _mean_cost(costs: Sequence[Mapping[str, Any]], name: str, divisor: float) -> str:
    measured = [cost[name] / divisor for cost in costs if name in cost]
    return f"{sum(measured) / len(measured):,.0f}" if measured else ""


def table_of_runs(results: Sequence[Result]) -> Table:
    """Return the table with a row for each run: scores with their confidence intervals, and the folder."""
    scores = shown_in("runs")
    rows = [
        [
            result.label,
            str(result.run.seed),
            str(result.iteration),
            *(_cell_of_run(result, score) for score in scores),
            str(result.run.folder),
        ]
        for result in results
    ]
    return Table(["method", "seed", "iteration", *(score.with_arrow for score in scores), "run"], rows)


def _cell_of_run(result: Result, score: Score) -> str:
    value = number(result.scores.get(score.name, math.nan))
    if score.name not in result.intervals:
        return value
    low, high = result.intervals[score.name]
    return f"{value} [{low:.3f}, {high:.3f}]"


def plain_markdown(text: Any) -> str:
    """Return a label or a name as Markdown that shows it as it is: no HTML, no link, no end of a cell."""
    return re.sub(r"[\\`*\[\]|]", r"\\\g<0>", html.escape(" ".join(str(text).split()), quote=False))


def without_html(text: str) -> str:
    """Return Markdown in which nothing, such as a label or a name, starts an element of HTML."""
    return text.replace("<", "&lt;")


def markdown(table: Table) -> str:
    """Return a table in Markdown; a vertical bar in a cell becomes a slash."""
    lines = [f"| {' | '.join(table.headings)} |", f"|{'---|' * len(table.headings)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.rows]
    return "\n".join(lines)
