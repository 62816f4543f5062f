"""Area under the ROC curve of an attack, its confidence interval over originals and people, and equivalence tests.

The unit of resampling is the person: pictures of one person are correlated. If several models are attacked, those that
were unlearned from one original are correlated too, so both are resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Answer = Literal["pass", "fail", "cannot tell"]

#: Probability with which the smallest detectable difference is found.
POWER = 0.8
#: Simulated maxima from which the limits of the strongest of several attacks follow; the quantile varies by 0.02.
SIMULATED = 5_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float  # The estimate.
    low: float  # Lower limit.
    high: float  # Upper limit.
    error: float  # Standard error.
    #: Smallest difference whose interval excludes 0.5 with a probability of 80 %; NaN if not computed.
    detectable: float = math.nan

    def covers(self, value: float) -> bool:
        """Return whether a value lies in the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Trials:
    """Scores of an attack: one per person (or image) and attacked model."""

    scores: Array  # Higher means "was forgotten", shape ``(n,)``.
    positive: Booleans  # Whether the person was forgotten by the model, shape ``(n,)``.
    people: Integers  # Number of the person, shape ``(n,)``.
    originals: Integers  # Number of the original that the model was unlearned from, shape ``(n,)``.

    def __post_init__(self) -> None:
        """Check that there are positives and negatives, and finite scores; ValueError otherwise."""
        if not self.positive.any() or self.positive.all():
            raise ValueError("an attack needs people who were forgotten and people who were never seen")
        if not np.isfinite(self.scores).all():
            raise ValueError("a score of the attack is not finite")


def auc(positives: Array, negatives: Array) -> float:
    """Return the area under the ROC curve: P(positive > negative) + P(equal) / 2, from the scores of both."""
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    count = len(positives)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(negatives)))


def true_positive_rate(positives: Array, negatives: Array, false_positive_rate: float) -> float:
    """Return the share of positives above the threshold that at most a share of negatives, in (0, 1), exceeds."""
    allowed = math.floor(false_positive_rate * len(negatives))
    threshold = np.sort(negatives)[::-1][min(allowed, len(negatives) - 1)]
    return float((positives > threshold).mean())


def _placements(trials: Trials) -> tuple[float, Array]:
    """Return the AUC and the influence of each trial on it (DeLong et al., 1988).

    The influence of a positive is its share of negatives below it, minus the AUC, over the number of positives; of a
    negative likewise. The AUC's error is the sum of the influences, so clusters are summed before squaring.
    """
    positives, negatives = trials.scores[trials.positive], trials.scores[~trials.positive]
    area = auc(positives, negatives)
    below = np.sort(negatives)
    above = np.sort(positives)
    left, right = np.searchsorted(below, positives, "left"), np.searchsorted(below, positives, "right")
    influence = np.empty(len(trials.scores))
    influence[trials.positive] = ((left + right) / 2 / len(negatives) - area) / len(positives)
    left, right = np.searchsorted(above, negatives, "left"), np.searchsorted(above, negatives, "right")
    influence[~trials.positive] = ((1 - (left + right) / 2 / len(positives)) - area) / len(negatives)
    return area, influence


def _cluster_variance(influence: Array, clusters: Integers) -> tuple[float, Array]:
    """Return the variance of the sum of influences whose clusters are independent, and the sum of each cluster."""
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.asarray(np.bincount(number, influence), dtype=np.float64)
    count = len(sums)
    return float((sums**2).sum()) * count / max(1, count - 1), sums


def auc_interval(trials: Trials, level: float = 0.95) -> Interval:
    """Return the AUC of an attack with its confidence interval over originals and people.

    The variance is that of the two-level resampling in closed form: of people, plus of originals, minus that of single
    trials, which both contain (Cameron, Gelbach and Miller, 2011, on the influences of DeLong et al., 1988). The plain
    bootstrap of both levels counts the last term three times (Owen, 2007) and gives intervals that are too wide.
    """
    return auc_intervals([trials], level)[0]


def auc_intervals(attacks: Sequence[Trials], level: float = 0.95) -> list[Interval]:
    """Return the AUCs of several attacks on the same people, of which the strongest is to be chosen afterwards.

    The scores of all attacks are of the same people in the same order. The limit nearer to 0.5 is that of simultaneous
    intervals: without a leak, all of them cover 0.5 with probability ``level``. The error in it is at least that of an
    AUC without a leak, since the estimated one is too small far out. The limit farther from 0.5 is that of the attack
    alone: that every attack stays within a margin, the strongest included, needs no correction (an intersection-union
    test). With one attack both are the same.
    """
    found = [_auc_error(trials) for trials in attacks]
    degrees = min(each[2] for each in found)
    alone, power = float(stats.t.ppf((1 + level) / 2, degrees)), float(stats.t.ppf(POWER, degrees))
    least, chosen = 0.0, alone
    if len(found) > 1:
        positive = int(attacks[0].positive.sum())
        least = null_error(positive, len(attacks[0].positive) - positive)
        sums = np.array([each[3] for each in found])
        # With one model the error without a leak is known; with several, few originals make it uncertain.
        uncertain = alone / float(stats.norm.ppf((1 + level) / 2)) if degrees < sums.shape[1] - 1 else 1.0
        chosen = max(alone, uncertain * _largest_of_several(sums, level))
    intervals = []
    for area, error, _, _ in found:
        inner, outer = chosen * max(error, least), alone * error
        below, above = (inner, outer) if area >= 0.5 else (outer, inner)
        low, high = max(0.0, area - below), min(1.0, area + above)
        intervals.append(Interval(area, low, high, error, inner + power * error))
    return intervals


def _largest_of_several(sums: Array, level: float) -> float:
    """Return the quantile of the largest of several correlated normal variables, without regard to sign.

    ``sums`` are of the influences of each person on the AUC of each attack, shape ``(attacks, people)``.
    """
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    directions = sums / np.where(lengths > 0, lengths, 1)
    values, vectors = np.linalg.eigh(directions @ directions.T)
    normal = np.random.default_rng(0).standard_normal((SIMULATED, len(sums))) @ (vectors * np.sqrt(values.clip(0))).T
    return float(np.quantile(np.abs(normal).max(axis=1), level))


def _auc_error(trials: Trials) -> tuple[float, float, int, Array]:
    """Return the AUC, its standard error, degrees of freedom, and the sum of each person's influences."""
    area, influence = _placements(trials)
    people, sums = _cluster_variance(influence, trials.people)
    count = len(sums)
    variance, degrees = people, count - 1
    if len(np.unique(trials.originals)) > 1:
        originals, groups = _cluster_variance(influence, trials.originals)
        both, _ = _cluster_variance(influence, trials.people * (trials.originals.max() + 1) + trials.originals)
        variance = max(people, originals, people + originals - both)
        degrees = min(degrees, len(groups) - 1)
    # Without a trial out of order the influences vanish: bound the error by that of one more pair out of order.
    smallest = 1 / (2 * max(1, min(count, len(np.unique(trials.people[trials.positive])))) + 2)
    error = max(math.sqrt(variance), smallest * math.sqrt(max(area * (1 - area), smallest) / max(1, count)))
    return area, error, max(1, degrees), sums


def mean_interval(values: Array, level: float = 0.95) -> Interval:
    """Return the mean of at least two independent values with its confidence interval (Student's t)."""
    if len(values) < 2:
        raise ValueError("a confidence interval needs two values or more")
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    width = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return Interval(mean, mean - width, mean + width, error)


def equivalence(interval: Interval, target: float, margin: float) -> Answer:
    """Test whether a value equals a target up to a margin, declared before the audit, by two one-sided tests.

    It is ``pass`` if the whole interval lies within the margin, ``fail`` if it lies outside, otherwise ``cannot tell``.
    """
    if target - margin <= interval.low and interval.high <= target + margin:
        return "pass"
    if interval.low > target + margin or interval.high < target - margin:
        return "fail"
    return "cannot tell"


def people_means(values: Array, people: Integers) -> tuple[Array, Integers]:
    """Return the mean of each person's values, and the numbers of the people, from both for each image."""
    numbers, inverse = np.unique(people, return_inverse=True)
    return np.bincount(inverse, values) / np.bincount(inverse), numbers


# -- what an audit can find with a number of people --------------------------------------------------------------------
# Without a leak every order of the people is equally likely: the variance of the AUC is that of the Mann-Whitney
# statistic, (m + n + 1) / (12 m n).


def null_error(positives: int, negatives: int) -> float:
    """Return the standard error of an AUC without a leak, for at least one person on either side."""
    if min(positives, negatives) < 1:
        raise ValueError(f"an AUC needs people on both sides; there are {positives} and {negatives}")
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def detectable_difference(positives: int, negatives: int, level: float = 0.95) -> float:
    """Return the smallest difference of an AUC from 0.5 whose interval excludes 0.5 with a probability of 80 %.

    It may exceed 0.5: then no leak of any size is found that often. ``Interval.detectable`` is the same number after an
    audit, from the spread of its scores.
    """
    degrees = max(1, positives + negatives - 1)
    widths = stats.t.ppf((1 + level) / 2, degrees) + stats.t.ppf(POWER, degrees)
    return float(widths) * null_error(positives, negatives)


def people_for_margin(margin: float, level: float = 0.95) -> int:
    """Return the people that each side needs so that an AUC of 0.5 can lie within a margin with its interval."""
    if not 0 < margin <= 0.5:
        raise ValueError(f"margin is {margin:g}; it must lie in (0, 0.5]")
    people = 1
    while stats.t.ppf((1 + level) / 2, max(1, 2 * people - 1)) * null_error(people, people) > margin:
        people += 1
    return people
