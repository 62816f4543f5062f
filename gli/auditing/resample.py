"""Bootstrap of people: scores of one audit, and differences between pairs of audits.

People, not images, are drawn with replacement in every evaluation set, because pictures of one person are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gli.auditing.record import Array, People, Record

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two audits of the same images."""

    first: Record  # The audit of one model.
    second: Record  # The audit of the other model.
    people: People  # Identity on each image of each evaluation set. The same name in two pairs means the same person.

    def difference(self, score: str, chosen: Mapping[str, Rows] | None = None) -> float:
        """Return a score of the first audit minus that of the second; NaN where either has none.

        ``chosen`` has the row numbers of the images of each evaluation set, which may repeat; all by default.
        """
        return self.first.score(score, chosen) - self.second.score(score, chosen)


def bootstrap_intervals(
    audit: Record, people: People, resamples: int = 100, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 2.5 % and 97.5 % quantiles of one audit's scores over bootstrap resamples of its people."""
    samples: dict[str, list[float]] = {}
    for (chosen,) in _resampled([{name: people[name] for name in audit.values}], resamples, seed):
        for key, value in audit.scores(chosen).items():
            samples.setdefault(key, []).append(value)
    return {key: tuple(np.quantile(values, (0.025, 0.975)).tolist()) for key, values in samples.items()}


def resampled_differences(pairs: Sequence[Pair], score: str, resamples: int = 200, seed: int = 0) -> Array:
    """Return the differences of a score where people are resampled, shape ``(resamples, pairs)``.

    A person is resampled alike in both audits and in all pairs, such as one for each seed.
    """
    samples = _resampled([pair.people for pair in pairs], resamples, seed)
    return np.array(
        [
            [pair.difference(score, chosen) for pair, chosen in zip(pairs, chosen_of, strict=True)]
            for chosen_of in samples
        ]
    )


def _resampled(groups: Sequence[People], resamples: int, seed: int) -> Iterator[list[dict[str, Rows]]]:
    """Draw people with replacement, and yield for each resample and group the row numbers in each evaluation set."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    generator = np.random.default_rng(seed)
    everyone = {name: np.unique(np.concatenate([group[name] for group in groups])) for name in groups[0]}
    rows_of = [{name: _rows_of_people(group[name], everyone[name]) for name in everyone} for group in groups]
    strata = {name: _strata(people, [group[name] for group in groups]) for name, people in everyone.items()}
    for _ in range(resamples):
        drawn = {
            name: np.concatenate([people[generator.integers(0, len(people), len(people))] for people in strata[name]])
            for name in everyone
        }
        yield [
            {name: np.concatenate([rows[name][person] for person in drawn[name]]) for name in everyone}
            for rows in rows_of
        ]


def _strata(everyone: npt.NDArray[np.str_], groups: Sequence[npt.NDArray[np.str_]]) -> list[Rows]:
    """Return the numbers of the people who are in the same groups: so drawn, no group loses people by chance."""
    member = np.stack([np.isin(everyone, group) for group in groups], axis=1)
    number = np.unique(member, axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(number == stratum) for stratum in range(number.max() + 1)]


def _rows_of_people(identities: npt.NDArray[np.str_], everyone: npt.NDArray[np.str_]) -> list[Rows]:
    """Return the row numbers of the images of each person; none for a person of another group."""
    order = np.argsort(identities, kind="stable")
    ends = np.searchsorted(identities[order], everyone, "right")
    starts = np.searchsorted(identities[order], everyone, "left")
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]
