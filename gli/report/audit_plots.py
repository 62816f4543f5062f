"""Pictures of an audit: the people, ordered by how well they can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from gli.audit.plots import BLUE, GREY
from gli.report.figures import svg_of, svg_settings

if TYPE_CHECKING:
    from gli.audit.method_audit import MethodAudit

#: Seed and number of permutations of the null band.
SEED, PERMUTATIONS = 0, 200


def null_band(audit: MethodAudit) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the 95 % band of the ordered differences if nobody could be told: labels permuted within each person."""
    trials = audit.privacy.trials
    generator = np.random.default_rng(SEED)
    numbers = [np.flatnonzero(trials.people == number) for number in np.unique(trials.people)]
    numbers = [own for own in numbers if 0 < trials.positive[own].sum() < len(own)]
    curves = []
    for _ in range(PERMUTATIONS):
        differences = []
        for own in numbers:
            positive = generator.permutation(trials.positive[own])
            scores = trials.scores[own]
            differences.append(scores[positive].mean() - scores[~positive].mean())
        curves.append(np.sort(differences)[::-1])
    low, high = np.quantile(np.array(curves), [0.025, 0.975], axis=0)
    return low, high


def people_figure(audit: MethodAudit) -> Figure:
    """Return the picture of a method: each person's difference of scores, in order, before the null band."""
    differences = np.sort([person.score for person in audit.exposed])[::-1]
    places = np.arange(1, len(differences) + 1)
    low, high = null_band(audit)
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(places, low, high, color=GREY, alpha=0.3, linewidth=0, label="if nobody could be told (95 %)")
    axes.plot(places, differences, ".", color=BLUE, markersize=3, label="people")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="people, the most exposed first", ylabel="score when forgotten\nminus when never seen")
    axes.legend(fontsize=8, frameon=False)
    return figure


def people_svg(audit: MethodAudit) -> str:
    """Return the picture of a method as an SVG element."""
    with svg_settings():
        return svg_of(people_figure(audit))
