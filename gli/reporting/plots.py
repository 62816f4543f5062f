"""Figures that compare models: functions of arrays that return a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gli.auditing.plots import BLUE, COLOURS, RED, Rows, draw_curves
from gli.metrics.jensen_shannon import loss_densities

if TYPE_CHECKING:
    from gli.metrics.losses import Losses

MARKERS = "osD^v<>Pp*Xh"
#: Inches that the legend below a grid of panels takes.
LEGEND_HEIGHT = 0.3


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
    """Return the score curves of several runs side by side, as in the paper's Figures 3 and 8.

    Args:
        runs: The audits of each run, by its label: ``iteration`` and the scores.
        columns: Number of panels in a row.
    """
    figure, panels = _panels(len(runs), columns)
    for axes, (label, rows) in zip(panels, runs.items(), strict=True):
        draw_curves(axes, rows)
        axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=label)
        axes.title.set_fontsize(9)
    _legend_below(figure, panels)
    return figure


def density_grid(losses: Mapping[str, tuple[Losses, Losses]], columns: int = 3) -> Figure:
    """Return the loss densities of forget and unseen for several models side by side, as in the paper's Figure 6.

    Args:
        losses: Losses of the forget and of the unseen images under each model, by its label.
        columns: Number of panels in a row.
    """
    figure, panels = _panels(len(losses), columns)
    for axes, (label, (forget_losses, unseen_losses)) in zip(panels, losses.items(), strict=True):
        axes.set(xlabel="loss per image (nats)", ylabel="density", title=label)
        axes.title.set_fontsize(9)
        try:
            grid, forget, unseen = loss_densities(forget_losses, unseen_losses)
        except ValueError:
            axes.text(0.5, 0.5, "not finite", ha="center", va="center", transform=axes.transAxes)
            continue
        for density, name, colour, dashes in ((forget, "forget", BLUE, "-"), (unseen, "unseen", RED, "--")):
            axes.plot(grid, density, color=colour, linestyle=dashes, label=name, linewidth=1.3)
            axes.fill_between(grid, density, color=colour, alpha=0.12)
    _legend_below(figure, panels)
    return figure


def scatter(points: Mapping[str, tuple[float, float]], xlabel: str, ylabel: str) -> Figure:
    """Return a plot of two scores of several models against each other, with Pearson's r, as in the paper's Figure 7.

    Args:
        points: Both scores of each model, by its label.
        xlabel: Name of the first score.
        ylabel: Name of the second score.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (label, (x, y)) in enumerate(points.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.scatter([x], [y], color=colour, marker=marker, label=label, s=36)
    correlation = pearson(list(points.values()))
    title = "" if correlation is None else f"Pearson's r = {correlation:.2f} over {len(points)} models"
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if points:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def pearson(points: Sequence[tuple[float, float]]) -> float | None:
    """Return Pearson's correlation of pairs; None for fewer than three finite pairs or without spread."""
    values = np.array(points, dtype=float).reshape(-1, 2)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 3 or (values.std(axis=0) == 0).any():
        return None
    return float(np.corrcoef(values.T)[0, 1])
