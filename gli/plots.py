"""Figures from numbers: each function takes arrays or rows of a log and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gli.data.files import replacing
from gli.metrics import Losses, loss_densities

#: Okabe and Ito's colours, told apart by colour-blind readers; forget blue and unseen red as in the paper's Figure 6.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
MORE = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^v<>Pp*Xh"
Rows = Sequence[Mapping[str, float]]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=120)
    return path


def utility_drop(rows: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """Accuracy and MIA accuracy over the iterations (after the paper's Figure 3).

    Args:
        rows: Audits, each with ``iteration``, ``accuracy``, ``mia_accuracy`` and ``final_score``.
        title: Heading.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    _scores(axes, rows)
    axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=title)
    axes.legend(fontsize=8, loc="lower left", ncols=2)
    return figure


def _scores(axes: Axes, rows: Rows) -> None:
    """Accuracy, MIA accuracy and final score over the iterations, with what they are measured against."""
    iterations = [row["iteration"] for row in rows]
    lines = (
        ("accuracy", "test accuracy", BLUE, "-"),
        ("mia_accuracy", "MIA accuracy", RED, "--"),
        ("final_score", "final score", GREEN, "-."),
    )
    for key, label, colour, dashes in lines:
        values = [row.get(key, np.nan) for row in rows]
        axes.plot(iterations, values, color=colour, linestyle=dashes, label=label, marker=".", markersize=4)
    if rows:
        axes.axhline(rows[0]["accuracy"], color=BLUE, linestyle=":", linewidth=1, label="the original's accuracy")
    axes.axhline(0.5, color=GREY, linestyle=(0, (1, 3)), linewidth=1, label="MIA of a coin toss")


def densities(forget_losses: Losses, unseen_losses: Losses, title: str = "") -> Figure:
    """Loss densities of forget and unseen (after the paper's Figure 6), or a note where they cannot be estimated."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="loss per image (nats)", ylabel="density", title=title)
    try:
        grid, forget, unseen = loss_densities(forget_losses, unseen_losses)
    except ValueError as error:
        axes.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, transform=axes.transAxes)
        return figure
    for density, label, colour in ((forget, "forget", BLUE), (unseen, "unseen", RED)):
        axes.plot(grid, density, color=colour, label=label)
        axes.fill_between(grid, density, color=colour, alpha=0.15)
    axes.legend()
    return figure


def perturbations(before: npt.NDArray, after: npt.NDArray, title: str = "") -> Figure:
    """A few images, their perturbation scaled to be seen (grey is none), and the images that are trained on.

    Args:
        before: Images in [0, 1], shape ``(n, height, width, 3)``.
        after: The same, perturbed.
        title: Heading.
    """
    change = after - before
    largest = float(np.abs(change).max()) or 1.0
    figure = Figure(figsize=(1.3 * len(before) + 0.6, 4.4), layout="constrained")
    grid = figure.subplots(3, len(before), squeeze=False)
    scaled = 0.5 + change / (2 * largest)
    for row, (images, label) in enumerate(
        ((before, "retain"), (scaled, f"change\n(grey 0, full {largest:.3f})"), (after, "trained on"))
    ):
        for axes, image in zip(grid[row], images, strict=True):
            axes.imshow(image.clip(0, 1))
            axes.set(xticks=[], yticks=[])
        grid[row][0].set_ylabel(label, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def _panels(count: int, columns: int, legend: float = 0.3) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels side by side, with room for a legend below."""
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(3 * columns, 2.2 * rows + legend), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    if axes:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8, frameon=False)


def utility_grid(runs: Mapping[str, Rows], columns: int = 3) -> Figure:
    """Accuracy, MIA accuracy and final score of several runs over their iterations (after the paper's Figures 3 and 8).

    Args:
        runs: The audits of each run, by its name.
        columns: How many side by side.
    """
    figure, panels = _panels(len(runs), columns)
    for axes, (name, rows) in zip(panels, runs.items(), strict=True):
        _scores(axes, rows)
        axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=name)
        axes.title.set_fontsize(9)
    _legend_below(figure, panels)
    return figure


def density_grid(losses: Mapping[str, tuple[Losses, Losses]], columns: int = 3) -> Figure:
    """Loss densities of forget and unseen for several models side by side (after the paper's Figure 6).

    Args:
        losses: Losses of forget and of unseen of each model, by its name.
        columns: How many side by side.
    """
    figure, panels = _panels(len(losses), columns)
    for axes, (name, (forget_losses, unseen_losses)) in zip(panels, losses.items(), strict=True):
        axes.set(xlabel="loss per image (nats)", ylabel="density", title=name)
        axes.title.set_fontsize(9)
        try:
            points, forget, unseen = loss_densities(forget_losses, unseen_losses)
        except ValueError:
            axes.text(0.5, 0.5, "not finite", ha="center", va="center", transform=axes.transAxes)
            continue
        for density, label, colour, dashes in ((forget, "forget", BLUE, "-"), (unseen, "unseen", RED, "--")):
            axes.plot(points, density, color=colour, linestyle=dashes, label=label, linewidth=1.3)
            axes.fill_between(points, density, color=colour, alpha=0.12)
    _legend_below(figure, panels)
    return figure


def scatter(points: Mapping[str, tuple[float, float]], xlabel: str, ylabel: str) -> Figure:
    """Two scores of several models against each other, with Pearson's r (after the paper's Figure 7).

    Args:
        points: Both scores of each model, by its name.
        xlabel: The first score.
        ylabel: The second one.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(points.items()):
        colour, marker = MORE[number % len(MORE)], MARKERS[number % len(MARKERS)]
        axes.scatter([x], [y], color=colour, marker=marker, label=name, s=36)
    correlation = pearson(list(points.values()))
    said = "" if correlation is None else f"Pearson's r = {correlation:.2f} over {len(points)} models"
    axes.set(xlabel=xlabel, ylabel=ylabel, title=said)
    if points:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def pearson(points: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's correlation of pairs; None where it is not defined (fewer than three, or no spread)."""
    values = np.array(points, dtype=float).reshape(-1, 2)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 3 or (values.std(axis=0) == 0).any():
        return None
    return float(np.corrcoef(values.T)[0, 1])
