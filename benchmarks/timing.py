"""Time two functions in turn, so that a machine that is busy with other things disturbs both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Two ways of doing one thing.

    Attributes:
        name: What is done.
        plain: Median seconds of the straightforward way.
        ours: Median seconds of ours.
        ratio: Median over the rounds of plain / ours: how many times faster ours is.
        rounds: Number of rounds.
    """

    name: str
    plain: float
    ours: float
    ratio: float
    rounds: int


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> Comparison:
    """Call both once to warm up, then in turn."""
    plain()
    ours()
    pairs = [(seconds(plain), seconds(ours)) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in pairs)
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return Comparison(name, medians[0], medians[1], ratio, rounds)
