"""The Pareto front of points with several values."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point, whose values are to fall, whether no other is at least as low in all and lower in one."""

    def beats(first: Sequence[float], second: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)

    return [not any(beats(candidate, point) for candidate in points) for point in points]
