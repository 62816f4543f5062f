"""Paired comparison of two methods: the difference of a score over seeds and people, and the answer to a claim.

In seed s, the difference of two methods on the same people is d_s = mu + a_s + b + e_s: mu is what the claim is about,
a_s what the seed adds (training, and the order of batches), b what the people add in all seeds alike, and e_s what they
add in this seed.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import stats

from gli.metrics.intervals import Array, Interval

Decision = Literal["yes", "no", "cannot tell"]


def paired_interval(differences: Array, resampled: Array, people: int, level: float = 0.95) -> Interval:
    """Return the mean difference of two methods with its confidence interval over seeds and people.

    The variance over seeds is estimated from the differences themselves, with Student's t for as many seeds; it holds
    a_s and e_s. The part b of the people does not vary over seeds: its variance is the covariance of
    the resampled differences of two seeds, about 0 where each seed has people of its own. The two half-widths are added
    in quadrature, and the interval is never narrower than that over people alone, which a few seeds that agree by
    chance would otherwise give. It assumes that seeds are exchangeable, and that their differences are about normal.

    With one seed the interval is over people only, and says nothing about other seeds.

    Args:
        differences: Difference of each seed, shape ``(seeds,)``.
        resampled: Differences where people were resampled, the same ones in all seeds, shape ``(resamples, seeds)``. A
            row that is not finite is left out.
        people: Number of people that were resampled, at least 2.
        level: Probability that the interval covers the difference.

    Raises:
        ValueError: If a difference is not finite, or there are fewer than two people or finite resamples.
    """
    resampled = resampled[np.isfinite(resampled).all(axis=1)]
    if not len(differences) or not np.isfinite(differences).all():
        raise ValueError("a difference is not finite")
    if people < 2 or len(resampled) < 2:
        raise ValueError("a confidence interval needs two people and two finite resamples or more")
    seeds = len(differences)
    # The bootstrap of n people gives (n - 1) / n of the variance.
    covariance = np.cov(resampled, rowvar=False).reshape(seeds, seeds) * people / (people - 1)
    of_people, over_people = float(covariance.mean()), _quantile(level, people - 1)
    variance, width = of_people, over_people * math.sqrt(of_people)
    if seeds > 1:
        over_seeds = _quantile(level, seeds - 1)
        between = float(differences.var(ddof=1)) / seeds
        common = max(0.0, float(covariance[~np.eye(seeds, dtype=bool)].mean()))
        variance = max(variance, between + common)
        width = max(width, math.sqrt(over_seeds**2 * between + over_people**2 * common))
    mean = float(differences.mean())
    return Interval(mean, mean - width, mean + width, math.sqrt(variance))


def _quantile(level: float, degrees: int) -> float:
    return float(stats.t.ppf((1 + level) / 2, degrees))


def decide(interval: Interval, seeds: int, sign: int) -> Decision:
    """Decide whether the first method is better than the second: whether the whole interval is on one side of 0.

    The interval is that of :func:`paired_interval`; a single seed decides nothing. ``sign`` is 1 where higher is
    better, -1 where lower is better; 0 asks whether the two differ.
    """
    if seeds < 2 or interval.low <= 0 <= interval.high:
        return "cannot tell"
    return "yes" if sign * interval.value >= 0 else "no"
