"""Scores derived from accuracies: utility drop, forgetting score and final score; the Pareto front of several."""

from __future__ import annotations

from collections.abc import Sequence


def utility_drop(original_accuracy: float, accuracy: float) -> float:
    """Return how much test accuracy unlearning has cost, in [-1, 1]; lower is better.

    Source:
        Paper, sections 1 and 4.2 (the *catastrophic utility drop*) and Figure 3.
    """
    return original_accuracy - accuracy


def forgetting_score(mia_accuracy: float) -> float:
    """Return |0.5 - MIA accuracy|, in [0, 0.5]; lower is better (paper, section 5.2.2)."""
    return abs(0.5 - mia_accuracy)


def final_score(accuracy: float, forgetting_score: float) -> float:
    """Return (accuracy + 1 - 2 * forgetting score) / 2, in [0, 1]; higher is better (paper, section 5.2.3)."""
    return (accuracy + (1 - 2 * forgetting_score)) / 2


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point, whose values are to fall, whether no other is at least as low in all and lower in one."""

    def beats(first: Sequence[float], second: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)

    return [not any(beats(candidate, point) for candidate in points) for point in points]
