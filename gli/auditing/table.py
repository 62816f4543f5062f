"""The table of scores that ends a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from gli.metrics.registry import scores_among

#: Where each score is explained; printed below the closing table, and in the report.
SCORES_PAGE = "scores      docs/scores.md of the sources: what each means, typical values, and what it cannot show"


def comparison(columns: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """Return a table of the scores that are registered for it: a row for each score, a column for each model.

    Args:
        columns: Heading and scores of each model.
    """
    table = Table(title_justify="left")
    table.add_column("")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    names = {name for _, scores in columns for name in scores}
    for score in scores_among(names, "table"):
        values = [scores.get(score.name) for _, scores in columns]
        table.add_row(score.explained, *("" if value is None else f"{value:.4f}" for value in values))
    return table
