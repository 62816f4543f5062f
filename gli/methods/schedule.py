"""Schedules of the learning rate over a run: factors of its first value, by the iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

ScheduleName = Literal["cosine", "warmup"]
#: Share of the run over which ``warmup`` rises.
WARMUP_SHARE = 0.2


def cosine(iteration: int, iterations: int) -> float:
    """Return the factor of a cosine decay, from 1 in iteration 0 to nearly 0 in the last of ``iterations``."""
    return 0.5 * (1 + math.cos(math.pi * min(iteration, iterations) / iterations))


def warmup(iteration: int, iterations: int) -> float:
    """Return the factor that rises linearly to 1 over the first fifth of ``iterations``, then decays linearly."""
    rising = max(1, round(WARMUP_SHARE * iterations))
    if iteration < rising:
        return (iteration + 1) / rising
    return max(0.0, (iterations - iteration) / max(1, iterations - rising))


SCHEDULES: dict[ScheduleName, Callable[[int, int], float]] = {"cosine": cosine, "warmup": warmup}
