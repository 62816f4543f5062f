"""What each method pays for privacy: its place between privacy and test accuracy, its cost, and the Pareto frontier."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gli.metrics.utility import pareto_front
from gli.reporting.results import FROM_SCRATCH, NO_UNLEARNING, Summary

ORIGINAL, RETRAINED = FROM_SCRATCH
#: Names of the horizontal axis, and what a bar of either kind of score is.
AXES = {
    "mia": "forgetting score, |MIA accuracy - 0.5|",
    "methods": "|AUC per person against retraining - 0.5|",
    "runs": "|AUC per person (RMIA) - 0.5|",
}
OVER_SEEDS = "standard deviation over the seeds, or with a single run the 95 % interval over its people where known"
OF_AUDIT = "95 % interval of the AUC, and standard deviation of the accuracy over the models where known"
#: Units of cost: a share of the cost of retraining, or seconds where that is not known.
SHARE, SECONDS = "share of retraining", "training seconds"
Bar = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A method or variant in the figure."""

    label: str  # Name of the method or variant.
    privacy: float  # Distance of the attack from guessing, 0 is best.
    accuracy: float  # Test accuracy.
    privacy_bar: Bar | None = None  # Ends of the error bar of ``privacy``; None without one.
    accuracy_bar: Bar | None = None  # Ends of the error bar of ``accuracy``; None without one.
    cost: float | None = None  # Cost in the unit of the figure; None where unknown.

    @property
    def unlearned(self) -> bool:
        """Whether this is an unlearning method, not a model trained from scratch."""
        return self.label not in FROM_SCRATCH


@dataclass(frozen=True)
class Tradeoff:
    """The trade-off between privacy and accuracy of several methods."""

    axis: str  # Name of the horizontal axis.
    bars: str  # Meaning of the error bars.
    unit: str  # Unit of the costs; empty where none is known.
    points: tuple[Point, ...]  # The methods.

    @property
    def frontier(self) -> list[Point]:
        """The unlearning methods that no other one beats in both privacy and accuracy, the most private first."""
        points = sorted(
            (point for point in self.points if point.unlearned), key=lambda point: (point.privacy, point.accuracy)
        )
        front = pareto_front([(point.privacy, -point.accuracy) for point in points])
        return [point for point, on in zip(points, front, strict=True) if on]

    @property
    def values(self) -> dict[str, Any]:
        """Everything as plain values, as in ``results.json``."""
        return {**asdict(self), "frontier": [point.label for point in self.frontier]}

    @property
    def text(self) -> str:
        """The numbers of the figure in words, for readers who do not see it."""
        numbers = "; ".join(f"{point.label} {point.privacy:.3f}, {point.accuracy:.3f}" for point in self.points)
        frontier = ", ".join(point.label for point in self.frontier)
        return (
            f"Test accuracy against {self.axis} (0 is best). Each method with both: {numbers}. "
            f"On the Pareto frontier: {frontier or 'none'}."
        )

    @property
    def caption(self) -> str:
        """A description of the figure, in sentences."""
        sentences = [
            f"Left is more private (0: the attack only guesses), up is more accurate. Bars: {self.bars}.",
            "The line is the Pareto frontier: no other unlearning method is better in both.",
        ]
        if self.unit:
            sentences.append(f"The area of a point is its cost ({self.unit}), but not below the smallest one.")
        return " ".join(sentences)


def tradeoff_of(summaries: Sequence[Summary], audit: Mapping[str, Any] | None = None) -> Tradeoff:
    """Return the trade-off of a report.

    With an audit, both scores are those of the audited models: a method's audited models may have run for another
    number of iterations than the audit that the report shows, so one score of either would belong to no model.
    """
    if audit is not None:
        return _of_methods(audit["methods"]) if "methods" in audit else _of_runs(audit["runs"], summaries)
    costs, unit = costs_of(summaries)
    points = [
        Point(
            summary.label,
            summary.mean["forgetting_score"],
            summary.mean["accuracy"],
            _bar_of(summary, "forgetting_score"),
            _bar_of(summary, "accuracy"),
            costs[summary.label],
        )
        for summary in summaries
    ]
    return Tradeoff(AXES["mia"], OVER_SEEDS, unit, _finite(points))


def _of_methods(entries: Sequence[Mapping[str, Any]]) -> Tradeoff:
    points = []
    for entry in entries:
        privacy, bar = _distance(entry["auc_person_against_retraining"])
        accuracy, deviation = entry["test_accuracy"], entry.get("test_accuracy_deviation")
        around = None if deviation is None else (accuracy - deviation, accuracy + deviation)
        label = ORIGINAL if entry["method"] == NO_UNLEARNING else entry["method"]
        points.append(Point(label, privacy, accuracy, bar, around, entry["cost"]))
    measured = any(point.cost is not None for point in points if point.unlearned)
    return Tradeoff(AXES["methods"], OF_AUDIT, SHARE if measured else "", _finite(points))


def _of_runs(entries: Sequence[Mapping[str, Any]], summaries: Sequence[Summary]) -> Tradeoff:
    """Return the trade-off of an audit of runs; accuracies of original and retrained models are those of the report."""
    costs, unit = costs_of(summaries)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(str(entry["method"]), []).append(entry)
    points = [
        _mean_point(
            label,
            [entry["auc_person"] for entry in group],
            [entry["test_accuracy"] for entry in group],
            costs.get(label),
        )
        for label, group in groups.items()
    ]
    for summary in summaries:
        if summary.label in FROM_SCRATCH:
            key = "auc_person_original" if summary.label == ORIGINAL else "auc_person_references"
            accuracies = [result.scores["accuracy"] for result in summary.results]
            points.append(
                _mean_point(summary.label, [entry[key] for entry in entries], accuracies, costs[summary.label])
            )
    return Tradeoff(AXES["runs"], OF_AUDIT, unit, _finite(points))


def _mean_point(
    label: str, areas: Sequence[Mapping[str, Any]], accuracies: Sequence[float], cost: float | None
) -> Point:
    """Return the mean of several runs; with one run, the bar of privacy is the interval of its AUC."""
    distances = [_distance(area) for area in areas]
    privacy, accuracy = [value for value, _ in distances], list(accuracies)
    bar = distances[0][1] if len(set(privacy)) == 1 else _deviation_bar(privacy)
    return Point(label, statistics.fmean(privacy), statistics.fmean(accuracy), bar, _deviation_bar(accuracy), cost)


def _deviation_bar(values: Sequence[float]) -> Bar | None:
    if len(values) < 2:
        return None
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return mean - deviation, mean + deviation


def _bar_of(summary: Summary, name: str) -> Bar | None:
    """Return mean ± standard deviation over the runs, or the bootstrap interval of a single run."""
    spread = summary.spread[name]
    if not math.isnan(spread):
        return summary.mean[name] - spread, summary.mean[name] + spread
    return summary.results[0].intervals.get(name) if len(summary.results) == 1 else None


def _distance(area: Mapping[str, Any]) -> tuple[float, Bar | None]:
    """Return the distance of an AUC from 0.5, on either side of it, and of its interval."""
    if area["value"] is None:
        return math.nan, None
    ends = sorted((abs(area["low"] - 0.5), abs(area["high"] - 0.5)))
    covers = area["low"] <= 0.5 <= area["high"]
    return abs(area["value"] - 0.5), (0.0 if covers else ends[0], ends[1])


def _finite(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(point for point in points if math.isfinite(point.privacy) and math.isfinite(point.accuracy))


def costs_of(summaries: Sequence[Summary]) -> tuple[dict[str, float | None], str]:
    """Return the mean cost of each label and its unit: a share of retraining, or seconds without a retrained model.

    Times of different devices cannot be compared: then no cost is known. The original costs nothing beyond what exists.
    """
    seconds: dict[str, float | None] = {}
    devices = set()
    for summary in summaries:
        costs = [result.cost for result in summary.results if "training_seconds" in result.cost]
        devices |= {cost.get("device") for cost in costs}
        seconds[summary.label] = statistics.fmean(cost["training_seconds"] for cost in costs) if costs else None
    seconds[ORIGINAL] = None
    if len(devices) != 1:
        return dict.fromkeys(seconds), ""
    whole = seconds.get(RETRAINED)
    if not whole:
        return seconds, SECONDS
    return {label: None if value is None else value / whole for label, value in seconds.items()}, SHARE
