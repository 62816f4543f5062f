"""Pictures of an audit: the people, ordered by how well they can be told."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from gli.auditing.plots import BLUE, GREY
from gli.reporting.figures import svg_of, svg_settings


def people_figure(values: Sequence[float], low: float, high: float, label: str) -> Figure:
    """Return the picture of a method: a value for each person, in order, before the band without any leak.

    Args:
        values: The values, the largest first.
        low: Lower limit of the band.
        high: Upper limit of the band.
        label: What a value is.
    """
    places = range(1, len(values) + 1)
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(low, high, color=GREY, alpha=0.3, linewidth=0, label="95 % of people if nobody could be told")
    axes.plot(places, values, ".", color=BLUE, markersize=3, label="people")
    axes.set(xlabel="people, in order of how well they can be told", ylabel=label)
    axes.legend(fontsize=8, frameon=False)
    return figure


def people_svg(values: Sequence[float], low: float, high: float, label: str) -> str:
    """Return the picture of a method as an SVG element; see :func:`people_figure`."""
    with svg_settings():
        return svg_of(people_figure(values, low, high, label))
