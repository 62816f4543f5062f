"""The people of an audit in order, and the band in which they would lie if nobody could be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gli.metrics.intervals import Trials

Array = npt.NDArray[np.float64]

#: Seed and number of permutations of the band.
SEED, PERMUTATIONS = 0, 200


@dataclass(frozen=True)
class Picture:
    """Values of the forgotten people, the largest first, and the 95 % band of such ordered values without any leak.

    Attributes:
        values: Shape ``(people,)``; a large value means that the person can be told.
        low: Lower limit of the band, of the same shape.
        high: Upper limit of the band.
    """

    values: Array
    low: Array
    high: Array

    @property
    def above(self) -> int:
        """Number of people above the band: they can be told."""
        return int((self.values > self.high).sum())

    @property
    def below(self) -> int:
        """Number of people below the band: they stand out in the other direction."""
        return int((self.values < self.low).sum())


def _picture(values: Array, permuted: Callable[[np.random.Generator], Array]) -> Picture:
    generator = np.random.default_rng(SEED)
    curves = np.array([np.sort(permuted(generator))[::-1] for _ in range(PERMUTATIONS)])
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return Picture(np.sort(values)[::-1], low, high)


def picture_of_method(trials: Trials) -> Picture:
    """Return each person's mean score when forgotten minus that when never seen; the band permutes within a person."""
    numbers = [np.flatnonzero(trials.people == number) for number in np.unique(trials.people)]
    numbers = [own for own in numbers if 0 < trials.positive[own].sum() < len(own)]

    def difference(scores: Array, positive: npt.NDArray[np.bool_]) -> float:
        return float(scores[positive].mean() - scores[~positive].mean())

    def permuted(generator: np.random.Generator) -> Array:
        return np.array(
            [difference(trials.scores[own], generator.permutation(trials.positive[own])) for own in numbers]
        )

    return _picture(np.array([difference(trials.scores[own], trials.positive[own]) for own in numbers]), permuted)


def picture_of_run(trials: Trials) -> Picture:
    """Return each forgotten person's rank among people who were never seen, from 0 to 1; the band permutes people."""

    def ranks(positive: npt.NDArray[np.bool_]) -> Array:
        below = np.sort(trials.scores[~positive])
        left, right = (np.searchsorted(below, trials.scores[positive], side) for side in ("left", "right"))
        return np.asarray((left + right) / 2 / len(below))

    return _picture(ranks(trials.positive), lambda generator: ranks(generator.permutation(trials.positive)))
