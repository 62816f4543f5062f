"""Random values as plain Python numbers, whose ``repr`` does not depend on the version of NumPy."""

from __future__ import annotations

import math

import numpy as np


def sample_bool(rng: np.random.Generator, probability: float) -> bool:
    """Sample True with a given probability."""
    return bool(rng.random() < probability)


def sample_index(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    """Sample an index with probability proportional to its weight."""
    return int(rng.choice(len(weights), p=np.asarray(weights) / math.fsum(weights)))


def sample_normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Sample from a normal distribution and clip the value to ``low..high``."""
    return float(np.clip(rng.normal(mean, sd), low, high))


def sample_shift(rng: np.random.Generator, mean: float = 0.0, sd: float = 0.5) -> float:
    """Sample a deviation from the average: normal, clipped to -1..1."""
    return sample_normal(rng, mean, sd, -1.0, 1.0)
