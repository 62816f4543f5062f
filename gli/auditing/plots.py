"""Figures of one model: functions of arrays that return a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gli.metrics.jensen_shannon import loss_densities
from gli.metrics.registry import shown_in
from gli.system.files import atomic_write

if TYPE_CHECKING:
    from gli.metrics.losses import Losses

#: Okabe and Ito's colours, which colour-blind readers can tell apart; forget blue and unseen red as in the paper's
#: Figure 6.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
COLOURS = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
Rows = Sequence[Mapping[str, float]]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return path


def utility_drop(rows: Rows, title: str = "") -> Figure:
    """Return the scores over the iterations, as in the paper's Figure 3."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, rows)
    axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=title)
    axes.legend(fontsize=8, loc="lower left", ncols=2)
    return figure


def draw_curves(axes: Axes, rows: Rows) -> None:
    """Draw the scores registered for curves over the iterations, with the original's accuracy and a random attacker."""
    iterations = [row["iteration"] for row in rows]
    for number, score in enumerate(shown_in("curves")):
        axes.plot(
            iterations,
            [row.get(score.name, np.nan) for row in rows],
            color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[number % len(DASHES)],
            label=score.heading,
            marker=".",
            markersize=4,
        )
    if rows:
        axes.axhline(rows[0]["accuracy"], color=BLUE, linestyle=":", linewidth=1, label="accuracy of the original")
    axes.axhline(0.5, color=GREY, linestyle=(0, (1, 3)), linewidth=1, label="MIA by random guessing")


def densities(forget_losses: Losses, unseen_losses: Losses, title: str = "") -> Figure:
    """Plot the loss densities of forget and unseen (paper, Figure 6), or a note where they cannot be estimated."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    if draw_densities(axes, forget_losses, unseen_losses, title):
        axes.legend()
    return figure


def draw_densities(axes: Axes, forget_losses: Losses, unseen_losses: Losses, title: str) -> bool:
    """Draw both densities, or the reason why there are none; return whether there are."""
    axes.set(xlabel="loss per image (nats)", ylabel="density", title=title)
    try:
        grid, forget, unseen = loss_densities(forget_losses, unseen_losses)
    except ValueError as error:
        axes.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, transform=axes.transAxes)
        return False
    for density, label, colour, dashes in ((forget, "forget", BLUE, "-"), (unseen, "unseen", RED, "--")):
        axes.plot(grid, density, color=colour, linestyle=dashes, label=label, linewidth=1.3)
        axes.fill_between(grid, density, color=colour, alpha=0.12)
    return True


def perturbations(before: npt.NDArray[Any], after: npt.NDArray[Any], title: str = "") -> Figure:
    """Return a few images, their scaled perturbations (grey is zero), and the perturbed images that are trained on.

    Images are in [0, 1], shape ``(n, height, width, 3)``.
    """
    change = after - before
    largest = float(np.abs(change).max()) or 1.0
    figure = Figure(figsize=(1.3 * len(before) + 0.6, 4.4), layout="constrained")
    grid = figure.subplots(3, len(before), squeeze=False)
    scaled = 0.5 + change / (2 * largest)
    for row, (images, label) in enumerate(
        ((before, "retain"), (scaled, f"perturbation\n(grey 0, full {largest:.3f})"), (after, "trained on"))
    ):
        for axes, image in zip(grid[row], images, strict=True):
            axes.imshow(image.clip(0, 1))
            axes.set(xticks=[], yticks=[])
        grid[row][0].set_ylabel(label, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure
