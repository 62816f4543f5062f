"""What an audit can find with a number of people: standard error and smallest detectable difference of an AUC.

Both follow from the ranks alone. Without a leak every order of the people is equally likely, so that the variance of
the AUC is that of the Mann-Whitney statistic, (m + n + 1) / (12 m n).
"""

from __future__ import annotations

import math

from scipy import stats

from gli.metrics.intervals import POWER


def null_error(positives: int, negatives: int) -> float:
    """Return the standard error of an AUC where nothing can be told.

    Args:
        positives: Number of forgotten people, at least 1.
        negatives: Number of people who were never seen, at least 1.

    Raises:
        ValueError: If a number is below 1.
    """
    if min(positives, negatives) < 1:
        raise ValueError(f"an AUC needs people on both sides; there are {positives} and {negatives}")
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def detectable_difference(positives: int, negatives: int, level: float = 0.95) -> float:
    """Return the smallest difference of an AUC from 0.5 whose interval excludes 0.5 with a probability of 80 %.

    It may exceed 0.5: then no leak of any size is found that often. ``Interval.detectable`` is the same number after an
    audit, from the spread of its scores.

    Args:
        positives: Number of forgotten people, at least 1.
        negatives: Number of people who were never seen, at least 1.
        level: Probability that the interval covers the AUC.
    """
    degrees = max(1, positives + negatives - 1)
    widths = stats.t.ppf((1 + level) / 2, degrees) + stats.t.ppf(POWER, degrees)
    return float(widths) * null_error(positives, negatives)


def people_for_margin(margin: float, level: float = 0.95) -> int:
    """Return the people that each side needs so that an AUC of 0.5 can lie within a margin with its whole interval.

    Args:
        margin: Difference from 0.5 that does not matter, in (0, 0.5].
        level: Probability that the interval covers the AUC.

    Raises:
        ValueError: If the margin is out of range.
    """
    if not 0 < margin <= 0.5:
        raise ValueError(f"margin is {margin:g}; it must lie in (0, 0.5]")
    people = 1
    while stats.t.ppf((1 + level) / 2, max(1, 2 * people - 1)) * null_error(people, people) > margin:
        people += 1
    return people
