"""Figures from numbers: each function takes arrays or rows of a log and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from gli.data.files import replacing
from gli.metrics import Losses, loss_densities

#: Okabe and Ito's colours, told apart by colour-blind readers; forget blue and unseen red as in the paper's Figure 6.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


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
    iterations = [row["iteration"] for row in rows]
    lines = (
        ("accuracy", "test accuracy", BLUE),
        ("mia_accuracy", "MIA accuracy", RED),
        ("final_score", "final score", GREEN),
    )
    for key, label, colour in lines:
        axes.plot(iterations, [row[key] for row in rows], color=colour, label=label, marker=".", markersize=4)
    if rows:
        axes.axhline(rows[0]["accuracy"], color=BLUE, linestyle=":", linewidth=1, label="the original's accuracy")
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1, label="MIA of a coin toss")
    axes.set(xlabel="unlearning iteration", ylabel="share of images", ylim=(0, 1), title=title)
    axes.legend(fontsize=8, loc="lower left", ncols=2)
    return figure


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
