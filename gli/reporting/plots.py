"""Figures that compare models and people, and how they become SVG elements of a page."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from gli.auditing.plots import BLUE, COLOURS, GREEN, GREY, RED, Rows, draw_curves, draw_densities, save
from gli.metrics.registry import LOSS
from gli.reporting.results import FROM_SCRATCH, Result, Summary, labels, summarise, warm_up
from gli.reporting.tradeoff import RETRAINED, SHARE, Point, Tradeoff
from gli.runs.read import Run

if TYPE_CHECKING:
    from gli.metrics.losses import Losses

MARKERS = "osD^v<>Pp*Xh"
#: Inches that the legend below a grid of panels takes.
LEGEND_HEIGHT = 0.3
#: Colours that become variables of the page, so that figures follow the theme of the reader. Matplotlib leaves out the
#: black of areas and text, for which the page has a rule.
THEMED = {"#000000": "var(--text)", "#ffffff": "var(--back)"}
#: Areas in square points of 1/72 inch: of the most expensive unlearning method, the smallest, and without a cost.
LARGEST, SMALLEST, PLAIN = 420.0, 18.0, 45.0
STAR, CROSS = 190.0, 80.0
#: Steps of the placement of labels; a limit of time would make the figure depend on the machine.
PLACEMENT_STEPS = 300


# -- models side by side -----------------------------------------------------------------------------------------------


def _panels(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side and room for a legend below them, and its panels."""
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(3 * columns, 2.2 * rows + LEGEND_HEIGHT), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def _legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    if panels:
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8, frameon=False)


def utility_grid(runs: Mapping[str, Rows], columns: int = 3) -> Figure:
    """Return the score curves of several runs side by side, as in the paper's Figures 3 and 8."""
    figure, panels = _panels(len(runs), columns)
    for axes, (label, rows) in zip(panels, runs.items(), strict=True):
        draw_curves(axes, rows)
        axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=label)
        axes.title.set_fontsize(9)
    _legend_below(figure, panels)
    return figure


def density_grid(losses: Mapping[str, tuple[Losses, Losses]], columns: int = 3) -> Figure:
    """Return the loss densities of forget and unseen for several models side by side, as in the paper's Figure 6."""
    figure, panels = _panels(len(losses), columns)
    for axes, (label, (forget_losses, unseen_losses)) in zip(panels, losses.items(), strict=True):
        draw_densities(axes, forget_losses, unseen_losses, label)
        axes.title.set_fontsize(9)
    _legend_below(figure, panels)
    return figure


def scatter(points: Sequence[tuple[str, float, float]], xlabel: str, ylabel: str, gid: str = "") -> Figure:
    """Return a plot of two scores against each other, with a colour and a marker for each label.

    ``gid`` begins the ``id`` of each point's SVG element, before its place among ``points``; empty for none.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    order = {label: number for number, label in enumerate(dict.fromkeys(label for label, _, _ in points))}
    drawn: dict[str, PathCollection] = {}
    for place, (label, x, y) in enumerate(points):
        style: dict[str, Any] = {
            "color": COLOURS[order[label] % len(COLOURS)],
            "marker": MARKERS[order[label] % len(MARKERS)],
        }
        point = axes.scatter([x], [y], s=36, gid=f"{gid}{place}" if gid else None, **style)
        drawn.setdefault(label, point)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if points:
        axes.legend(
            list(drawn.values()), list(drawn), fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
        )  # fmt: skip
    return figure


def correlated(points: Sequence[tuple[str, float, float]], xlabel: str, ylabel: str) -> Figure:
    """Return a plot of two scores against each other, titled with Pearson's r, as in the paper's Figure 7."""
    figure = scatter(points, xlabel, ylabel)
    correlation = pearson([(x, y) for _, x, y in points])
    if correlation is not None:
        figure.axes[0].set_title(f"Pearson's r = {correlation:.2f} over {len(points)} models")
    return figure


def pearson(points: Sequence[tuple[float, float]]) -> float | None:
    """Return Pearson's correlation of pairs; None for fewer than three finite pairs or without spread."""
    values = np.array(points, dtype=float).reshape(-1, 2)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 3 or (values.std(axis=0) == 0).any():
        return None
    return float(np.corrcoef(values.T)[0, 1])


def people_figure(values: Sequence[float], low: float, high: float, label: str) -> Figure:
    """Return the figure of an audited method: a value for each person, in order, before the band without any leak."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(low, high, color=GREY, alpha=0.3, linewidth=0, label="95 % of people if nobody is distinguished")
    axes.plot(range(1, len(values) + 1), values, ".", color=BLUE, markersize=3, label="people")
    axes.set(xlabel="people, the most distinguished first", ylabel=label)
    axes.legend(fontsize=8, frameon=False)
    return figure


# -- a report ----------------------------------------------------------------------------------------------------------


def draw_figures(runs: Sequence[Run], results: Sequence[Result], summaries: Sequence[Summary]) -> dict[str, Figure]:
    """Return the figures of a report by title; curves and densities are those of the first seed of each label."""
    label_of = labels(runs)
    curves: dict[str, Rows] = {}
    for run in sorted(runs, key=lambda run: (label_of[run.folder], run.seed)):
        if run.method not in FROM_SCRATCH:
            curves.setdefault(label_of[run.folder], run.rows)
    losses = {}
    for result in (summary.results[0] for summary in summaries):
        if result.records is not None and (audit := result.records.audits.get(result.iteration)) is not None:
            losses[result.label] = (audit.values["forget"][LOSS], audit.values["unseen"][LOSS])
    figures = {"Utility drop: scores over the iterations": utility_grid(curves)}
    if compared := summarise(warm_up(results)):
        figures["Class-loss warm-up: score curves"] = utility_grid(
            {summary.label: summary.results[0].run.rows for summary in compared}
        )
    points = [(summary.label, summary.mean["forgetting_score"], summary.mean["jsd"]) for summary in summaries]
    figures["Forgetting score against JSD"] = correlated(points, "forgetting score", "JSD")
    if losses:
        figures["Loss densities of forget and unseen"] = density_grid(losses)
    return figures


def runs_figure(results: Sequence[Result]) -> Figure:
    """Return test accuracy against forgetting score with a point for each result, which the page's script finds."""
    points = [(result.label, result.scores["forgetting_score"], result.scores["accuracy"]) for result in results]
    return scatter(points, "forgetting score (0 is best)", "test accuracy", gid="run-")


def draw_report(
    runs: Sequence[Run],
    results: Sequence[Result],
    summaries: Sequence[Summary],
    tradeoff: Tradeoff,
    path: Path,
    title: str,
) -> tuple[Markup, dict[str, dict[str, str]]]:
    """Draw all figures of a report, and write that of the trade-off as PNG as well.

    Returns:
        The figure of the runs, and for the heading of each other one its SVG element and its caption.
    """
    figures: dict[str, dict[str, str]] = {}
    with svg_settings():
        if tradeoff.points:
            figure = tradeoff_figure(tradeoff, title)
            save(figure, path)
            figures["Privacy against accuracy"] = {
                "svg": svg_of(figure, tradeoff.text), "caption": tradeoff.caption
            }  # fmt: skip
        for heading, figure in draw_figures(runs, results, summaries).items():
            figures[heading] = {"svg": svg_of(figure), "caption": ""}
        return svg_of(runs_figure(results)), figures


# -- privacy against accuracy ------------------------------------------------------------------------------------------


def areas(tradeoff: Tradeoff) -> dict[str, float]:
    """Return the area of each point: proportional to its cost, but not below the smallest that can be seen."""
    largest = max((point.cost or 0.0 for point in tradeoff.points if point.unlearned), default=0.0)

    def area(point: Point) -> float:
        if not point.unlearned:
            return STAR if point.label == RETRAINED else CROSS
        if not largest:
            return PLAIN
        return SMALLEST if point.cost is None else max(SMALLEST, LARGEST * point.cost / largest)

    return {point.label: area(point) for point in tradeoff.points}


def tradeoff_figure(tradeoff: Tradeoff, title: str = "") -> Figure:
    """Return the figure: privacy against test accuracy, with the Pareto frontier and a name beside each point."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=f"{tradeoff.axis} (0 is best)", ylabel="test accuracy", title=title)
    axes.margins(0.08)
    axes.grid(color=GREY, alpha=0.2, linewidth=0.6)
    axes.set_axisbelow(True)
    size_of = areas(tradeoff)
    frontier = tradeoff.frontier
    # Large points first, so that they cover no small ones.
    for point in sorted(tradeoff.points, key=lambda point: (not point.unlearned, -size_of[point.label])):
        colour = BLUE if point in frontier else GREY
        if not point.unlearned:
            colour = GREEN if point.label == RETRAINED else RED
        bar: dict[str, Any] = {"color": colour, "linewidth": 1, "alpha": 0.55, "zorder": 2}
        if point.privacy_bar is not None:
            axes.plot(point.privacy_bar, [point.accuracy] * 2, **bar)
        if point.accuracy_bar is not None:
            axes.plot([point.privacy] * 2, point.accuracy_bar, **bar)
        marker = "o" if point.unlearned else "*" if point.label == RETRAINED else "x"
        edge: dict[str, Any] = {} if marker == "x" else {"edgecolors": "white", "linewidths": 0.8}
        axes.scatter(
            [point.privacy], [point.accuracy], s=size_of[point.label], marker=marker, color=colour, zorder=3, **edge
        )  # fmt: skip
    # The axis of privacy begins at its best value, a little left of it so that points there are whole.
    right = max([0.01, *(end for point in tradeoff.points for end in (point.privacy, *(point.privacy_bar or ())))])
    axes.set_xlim(-0.04 * right, 1.12 * right)
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=3))
    if frontier:
        _draw_frontier(axes, frontier)
    _legend(axes, tradeoff, bool(frontier))
    _name_points(figure, axes, tradeoff.points, size_of)
    return figure


def _draw_frontier(axes: Axes, frontier: Sequence[Point]) -> None:
    """Draw the steps: below and right of them, a method is beaten."""
    limits = axes.get_ylim()
    across = [frontier[0].privacy, *(point.privacy for point in frontier), axes.get_xlim()[1]]
    up = [limits[0], *(point.accuracy for point in frontier), frontier[-1].accuracy]
    axes.step(across, up, where="post", color=BLUE, linewidth=1.2, linestyle="--", zorder=1, label="Pareto frontier")
    axes.set_ylim(limits)


def _legend(axes: Axes, tradeoff: Tradeoff, frontier: bool) -> None:
    """Explain the marks, and three sizes with the costs that they stand for."""
    from_scratch = {point.label for point in tradeoff.points if not point.unlearned}
    if RETRAINED in from_scratch:
        axes.scatter([], [], s=STAR * 0.6, marker="*", color=GREEN, label="retrained")
    if from_scratch - {RETRAINED}:
        axes.scatter([], [], s=CROSS * 0.6, marker="x", color=RED, label="original")
    if frontier:
        axes.scatter([], [], s=PLAIN, marker="o", color=BLUE, label="on the frontier")
    axes.scatter([], [], s=PLAIN, marker="o", color=GREY, label="not on the frontier")
    largest = max((point.cost or 0.0 for point in tradeoff.points if point.unlearned), default=0.0)
    for cost in legend_costs(largest):
        label = f"cost {cost:.2g} of retraining" if tradeoff.unit == SHARE else f"cost {cost:,.3g} s"
        area = max(SMALLEST, LARGEST * cost / largest)
        axes.scatter([], [], s=area, marker="o", facecolors="none", edgecolors=GREY, label=label)
    axes.figure.legend(loc="outside right center", fontsize=8, frameon=False, labelspacing=1.1)


def legend_costs(largest: float) -> list[float]:
    """Return three round costs up to the largest, for the legend; none where there is no cost."""
    if largest <= 0:
        return []
    return sorted({float(f"{largest * share:.1g}") for share in (1.0, 0.4, 0.1)})


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point], size_of: Mapping[str, float]) -> None:
    """Write the label of each point where it covers neither points nor labels, with a line to a point that is far."""
    from adjustText import adjust_text

    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    figure.draw_without_rendering()
    to_data, pixels = axes.transData.inverted(), figure.dpi / 72
    texts, discs = [], []
    for point in points:
        x, y = axes.transData.transform((point.privacy, point.accuracy))
        radius = pixels * size_of[point.label] ** 0.5 / 2
        discs.append(Bbox(to_data.transform([(x - radius, y - radius), (x + radius, y + radius)])))
        texts.append(axes.text(point.privacy, point.accuracy, point.label, fontsize=8, zorder=5, bbox=behind))
    adjust_text(
        texts, objects=discs, ax=axes, iter_lim=PLACEMENT_STEPS, force_text=(0.5, 0.8), force_static=(0.5, 0.8),
        force_explode=(0.3, 0.8), explode_radius=60, expand=(1.1, 1.3), prevent_crossings=False, min_arrow_len=14,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "zorder": 4},
    )  # fmt: skip


# -- SVG ---------------------------------------------------------------------------------------------------------------


def svg_settings() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and written as the same text for the same numbers.

    Texts of a figure read ``parse_math`` when they are created: a dollar sign in the label of a run begins no formula.
    """
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "gli", "text.parse_math": False})


def svg_of(figure: Figure, text: str = "") -> Markup:
    """Return a figure as an SVG element in the colours of the page that it is put into.

    Call inside :func:`svg_settings`, where the figure was drawn. ``text`` is the text alternative for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in THEMED.items():
        drawn = drawn.replace(colour, variable)
    alternative = f' role="img" aria-label="{html.escape(text)}"' if text else ""
    return Markup(drawn.replace("<svg", f"<svg{alternative}", 1))
