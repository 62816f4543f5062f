"""The figures of a report: which runs and scores they show."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from matplotlib import rc_context
from matplotlib.figure import Figure

from gli.auditing.plots import Rows
from gli.auditing.record import read_record
from gli.metrics.registry import LOSS
from gli.reporting import plots
from gli.reporting.results import FROM_SCRATCH, Result, labels, summarise, warm_up
from gli.runs.read import Run

#: Colours that become variables of the page, so that figures follow the theme of the reader. Matplotlib leaves out the
#: black of areas and text, for which the page has a rule.
THEMED = {"#000000": "var(--text)", "#ffffff": "var(--back)"}


def svg_settings() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and written as the same text for the same numbers."""
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "gli", "text.parse_math": False})


def draw_figures(runs: Sequence[Run], results: Sequence[Result]) -> dict[str, Figure]:
    """Return the figures of a report by their titles; each shows one run of a label, that of the first seed.

    Args:
        runs: The runs.
        results: Their results.
    """
    summaries = summarise(results)
    points = {summary.label: (summary.mean["forgetting_score"], summary.mean["jsd"]) for summary in summaries}
    losses = {}
    for summary in summaries:
        first = summary.results[0]
        audit = read_record(first.run.folder, first.iteration)
        if audit is not None:
            losses[summary.label] = (audit.values["forget"][LOSS], audit.values["unseen"][LOSS])
    figures = {"Utility drop: scores over the iterations": plots.utility_grid(_curves(runs))}
    if compared := summarise(warm_up(results)):
        curves = {summary.label: summary.results[0].run.rows for summary in compared}
        figures["Class-loss warm-up: score curves"] = plots.utility_grid(curves)
    figures["Forgetting score against JSD"] = plots.scatter(points, "forgetting score", "JSD")
    if losses:
        figures["Loss densities of forget and unseen"] = plots.density_grid(losses)
    return figures


def _curves(runs: Sequence[Run]) -> Mapping[str, Rows]:
    """Return the audits of the first unlearning run of each label."""
    label_of = labels(runs)
    curves: dict[str, Rows] = {}
    for run in sorted(runs, key=lambda run: (label_of[run.folder], run.seed)):
        if run.method not in FROM_SCRATCH:
            curves.setdefault(label_of[run.folder], run.rows)
    return curves


def draw_svg(runs: Sequence[Run], results: Sequence[Result]) -> dict[str, str]:
    """Return the figures of a report as SVG elements by their titles, the same text for the same runs.

    Args:
        runs: The runs.
        results: Their results.
    """
    # Texts of a figure read parse_math when they are created: a dollar sign in the label of a run begins no formula.
    with svg_settings():
        return {title: svg_of(figure) for title, figure in draw_figures(runs, results).items()}


def svg_of(figure: Figure, text: str = "") -> str:
    """Return a figure as an SVG element in the colours of the page that it is put into.

    Call inside :func:`svg_settings`, where the figure was drawn.

    Args:
        figure: The figure.
        text: Text alternative for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in THEMED.items():
        drawn = drawn.replace(colour, variable)
    alternative = f' role="img" aria-label="{html.escape(text)}"' if text else ""
    return drawn.replace("<svg", f"<svg{alternative}", 1)
