"""The figure of a trade-off, as SVG for a page and as PNG for a document."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from gli.auditing.plots import BLUE, GREEN, GREY, RED, save
from gli.reporting.figures import svg_of, svg_settings
from gli.reporting.label_places import Box, nearest, place_labels
from gli.reporting.tradeoff import RETRAINED, SHARE, Point, Tradeoff, read_tradeoff

#: Areas in square points of 1/72 inch: of the most expensive unlearning method, the smallest, and without a cost.
LARGEST, SMALLEST, PLAIN = 420.0, 18.0, 45.0
STAR, CROSS = 190.0, 80.0
#: Pixels between a point and its label from which a line joins them.
FAR = 9.0


def areas(tradeoff: Tradeoff) -> dict[str, float]:
    """Return the area of each point: proportional to its cost, but not below the smallest that can be seen.

    Args:
        tradeoff: The trade-off.
    """
    largest = max((point.cost or 0.0 for point in tradeoff.points if point.unlearned), default=0.0)

    def area(point: Point) -> float:
        if not point.unlearned:
            return STAR if point.label == RETRAINED else CROSS
        if not largest:
            return PLAIN
        return SMALLEST if point.cost is None else max(SMALLEST, LARGEST * point.cost / largest)

    return {point.label: area(point) for point in tradeoff.points}


def tradeoff_figure(tradeoff: Tradeoff, title: str = "") -> Figure:
    """Return the figure: privacy against test accuracy, with the Pareto frontier and a name beside each point.

    Args:
        tradeoff: The trade-off.
        title: Title of the figure.
    """
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
        _draw_bars(axes, point, colour)
        marker = "o" if point.unlearned else "*" if point.label == RETRAINED else "x"
        edge: dict[str, Any] = {} if marker == "x" else {"edgecolors": "white", "linewidths": 0.8}
        axes.scatter(
            [point.privacy], [point.accuracy], s=size_of[point.label], marker=marker, color=colour, zorder=3, **edge
        )  # fmt: skip
    _set_limits(axes, tradeoff.points)
    _draw_frontier(axes, frontier)
    _legend(axes, tradeoff, bool(frontier))
    _name_points(figure, axes, tradeoff, size_of)
    return figure


def _draw_bars(axes: Axes, point: Point, colour: str) -> None:
    style: dict[str, Any] = {"color": colour, "linewidth": 1, "alpha": 0.55, "zorder": 2}
    if point.privacy_bar is not None:
        axes.plot(point.privacy_bar, [point.accuracy] * 2, **style)
    if point.accuracy_bar is not None:
        axes.plot([point.privacy] * 2, point.accuracy_bar, **style)


def _set_limits(axes: Axes, points: Sequence[Point]) -> None:
    """Begin the axis of privacy at its best value, a little left of it so that points there are whole."""
    right = max([0.01, *(end for point in points for end in (point.privacy, *(point.privacy_bar or ())))])
    axes.set_xlim(-0.04 * right, 1.12 * right)
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=3))


def _draw_frontier(axes: Axes, frontier: Sequence[Point]) -> None:
    """Draw the steps: below and right of them, a method is beaten."""
    if not frontier:
        return
    across = [frontier[0].privacy, *(point.privacy for point in frontier), axes.get_xlim()[1]]
    up = [axes.get_ylim()[0], *(point.accuracy for point in frontier), frontier[-1].accuracy]
    limits = axes.get_ylim()
    axes.step(across, up, where="post", color=BLUE, linewidth=1.2, linestyle="--", zorder=1, label="Pareto frontier")
    axes.set_ylim(limits)


def _legend(axes: Axes, tradeoff: Tradeoff, frontier: bool) -> None:
    """Explain the marks, and three sizes with the costs that they stand for."""
    present = {point.label for point in tradeoff.points}
    if RETRAINED in present:
        axes.scatter([], [], s=STAR * 0.6, marker="*", color=GREEN, label="retrained")
    if present - {RETRAINED} - {point.label for point in tradeoff.points if point.unlearned}:
        axes.scatter([], [], s=CROSS * 0.6, marker="x", color=RED, label="original")
    if frontier:
        axes.scatter([], [], s=PLAIN, marker="o", color=BLUE, label="on the frontier")
    axes.scatter([], [], s=PLAIN, marker="o", color=GREY, label="not on the frontier")
    costs = [point.cost for point in tradeoff.points if point.unlearned and point.cost]
    for cost in legend_costs(max(costs, default=0.0)):
        area = max(SMALLEST, LARGEST * cost / max(costs))
        label = f"cost {cost:.2g} of retraining" if tradeoff.unit == SHARE else f"cost {cost:,.3g} s"
        axes.scatter([], [], s=area, marker="o", facecolors="none", edgecolors=GREY, label=label)
    axes.figure.legend(loc="outside right center", fontsize=8, frameon=False, labelspacing=1.1)


def legend_costs(largest: float) -> list[float]:
    """Return three round costs up to the largest, for the legend; none where there is no cost."""
    if largest <= 0:
        return []
    return sorted({float(f"{largest * share:.1g}") for share in (1.0, 0.4, 0.1)})


def _name_points(figure: Figure, axes: Axes, tradeoff: Tradeoff, size_of: dict[str, float]) -> None:
    """Write the label of each point where it covers nothing, with a line to the point where it could be another's."""
    points = tradeoff.points
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    places: list[tuple[float, float]] = axes.transData.transform(
        [(point.privacy, point.accuracy) for point in points]
    ).tolist()
    radii = [figure.dpi / 72 * (size_of[point.label] ** 0.5) / 2 for point in points]
    texts = [Text(0, 0, point.label, fontsize=8, figure=figure) for point in points]
    extents = [text.get_window_extent(renderer) for text in texts]
    boxes = place_labels(
        places,
        radii,
        [(extent.width + 4, extent.height + 2) for extent in extents],
        Box(frame.x0 + 2, frame.y0 + 2, frame.x1 - 2, frame.y1 - 2),
        _lines(axes),
    )
    back = axes.transData.inverted()
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    for number, (point, box) in enumerate(zip(points, boxes, strict=True)):
        x, y = back.transform(box.middle).tolist()
        axes.text(x, y, point.label, fontsize=8, ha="center", va="center", zorder=5, bbox=behind)
        if nearest(box, places, radii) != number or box.distance(*places[number]) > radii[number] + FAR:
            line = back.transform([places[number], box.nearest(*places[number])])
            axes.plot(line[:, 0], line[:, 1], color=GREY, linewidth=0.7, zorder=4)


def _lines(axes: Axes) -> list[Box]:
    """Return boxes around the horizontal and vertical lines: error bars and the steps of the frontier."""
    boxes = []
    for line in axes.lines:
        corners = axes.transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()])).tolist()
        if line.get_drawstyle() == "steps-post":
            corners = [corner for (x, y), after in pairwise(corners) for corner in ((x, y), (after[0], y))] + corners[
                -1:
            ]
        for (left, bottom), (right, top) in pairwise(corners):
            boxes.append(Box(min(left, right) - 1, min(bottom, top) - 1, max(left, right) + 1, max(bottom, top) + 1))
    return boxes


def draw_tradeoff(tradeoff: Tradeoff, path: Path, title: str = "") -> str:
    """Write the figure as PNG, and return it as an SVG element whose text alternative gives its numbers.

    Args:
        tradeoff: The trade-off.
        path: The PNG file.
        title: Title of the figure.
    """
    with svg_settings():
        figure = tradeoff_figure(tradeoff, title)
        save(figure, path)
        return svg_of(figure, tradeoff.text)


def save_tradeoff(report: Path, path: Path, title: str = "") -> None:
    """Write the figure of a report as PNG, such as for a document.

    Args:
        report: Folder of the report.
        path: The file.
        title: Title of the figure.

    Raises:
        DataError: If the folder holds no report, or one of an earlier version.
    """
    draw_tradeoff(read_tradeoff(report), path, title)
