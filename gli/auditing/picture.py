"""The people of an audit in order, and the band in which they would lie if nobody could be told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gli.metrics.intervals import Trials

Array = npt.NDArray[np.float64]

#: Share of the people without any leak that the band holds.
SHARE = 0.95


@dataclass(frozen=True)
class Picture:
    """Values of the forgotten people, the largest first, and the band that holds 95 % of people without any leak.

    Attributes:
        values: Shape ``(people,)``; a large value means that the person can be told.
        low: Lower limit of the band.
        high: Upper limit of the band.
    """

    values: Array
    low: float
    high: float

    @property
    def above(self) -> int:
        """Number of people above the band: they can be told."""
        return int((self.values > self.high).sum())

    @property
    def below(self) -> int:
        """Number of people below the band: they stand out in the other direction."""
        return int((self.values < self.low).sum())

    @property
    def expected(self) -> float:
        """Number of people on either side of the band by chance."""
        return (1 - SHARE) / 2 * len(self.values)


def differences(trials: Trials) -> Array:
    """Return each person's mean score when forgotten minus that when never seen, the largest first."""
    values = []
    for number in np.unique(trials.people):
        own = trials.people == number
        positive, negative = trials.scores[own & trials.positive], trials.scores[own & ~trials.positive]
        if len(positive) and len(negative):
            values.append(float(positive.mean() - negative.mean()))
    return np.sort(np.array(values))[::-1]


def picture_of_method(trials: Trials, retrained: Trials) -> Picture:
    """Return the picture of a method; its band holds the people of retrained models.

    Args:
        trials: Scores of the people in the models of the method.
        retrained: Scores of the same attack in retrained models, which never saw anybody.
    """
    low, high = np.quantile(differences(retrained), [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Picture(differences(trials), float(low), float(high))


def picture_of_run(trials: Trials) -> Picture:
    """Return each forgotten person's rank among people who were never seen, from 0 to 1, which are the band."""
    below = np.sort(trials.scores[~trials.positive])
    left, right = (np.searchsorted(below, trials.scores[trials.positive], side) for side in ("left", "right"))
    ranks = np.sort((left + right) / 2 / len(below))[::-1]
    return Picture(ranks, (1 - SHARE) / 2, (1 + SHARE) / 2)
