"""The fleet of an audit of methods: who is in which model, and the margins that its runs recorded.

K originals are trained on random halves of the people, in complementary pairs, so that everybody is in exactly half of
them. From each original, J draws of people are forgotten. Source: Hayes et al., 2024 (U-LiRA); the pairs are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.auditing import UPRIGHT
from gli.auditing.record import margins_by_view, read_model, read_people
from gli.errors import SettingError
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER
from gli.system.files import csv_text

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
#: Outside of a pair, everybody must be in two originals: otherwise nothing is observed twice.
LEAST_ORIGINALS = 6


@dataclass(frozen=True)
class Draw:
    """One model of the fleet: an original and the people that it has to forget."""

    original: int  # Number of the original, from 0; originals 2i and 2i + 1 are a pair.
    number: int  # Number of the draw from this original, from 0.
    retain: tuple[str, ...]  # Names of the people to remember.
    forget: tuple[str, ...]  # Names of the people to forget.
    unseen: tuple[str, ...]  # Names of the people whom the original never saw.
    test: tuple[str, ...]  # Names of the people on whom accuracy is measured; no model sees them.

    @property
    def name(self) -> str:
        """Name in tables and folders."""
        return f"original{self.original:02d}_draw{self.number}"

    def table(self) -> str:
        """Return the assignment of people to sets as CSV, as ``data.assignment`` reads it."""
        sets = ("retain", "forget", "test", "unseen")
        return csv_text([("identity", "set"), *((each, name) for name in sets for each in getattr(self, name))], "\n")


def plan_draws(
    groups: Sequence[Sequence[str]],
    originals: int,
    draws: int,
    *,
    forget_share: float = 1 / 3,
    test_share: float = 0.16,
    seed: int = 0,
) -> list[Draw]:
    """Assign people to the models of a fleet.

    Args:
        groups: People, grouped by household: a group is always in one set.
        originals: Number of originals K, even, at least 6.
        draws: Number of draws J from each original; nobody is forgotten twice from one original.
        forget_share: Share of the seen groups that a draw forgets.
        test_share: Share of the groups that no model sees, for the accuracy.
        seed: Seed of the assignment.

    Raises:
        SettingError: If the numbers do not go together, or there are too few people.
    """
    if originals < LEAST_ORIGINALS or originals % 2:
        raise SettingError(f"originals is {originals}; it must be an even number from {LEAST_ORIGINALS} on.")
    if draws < 1 or draws * forget_share > 1 + 1e-9:
        raise SettingError(
            f"draws is {draws} and forget_share {forget_share:g}; nobody may be forgotten twice from one original, so "
            "their product must be between 0 and 1."
        )
    generator = np.random.default_rng([seed, 0])
    order = generator.permutation(len(groups))
    count = round(test_share * len(groups))
    test, rest = order[:count], order[count:]
    size = round(forget_share * (len(rest) // 2))
    if size < 1 or count < 1:
        raise SettingError(f"{len(groups)} people are too few for an audit with {originals} originals.")

    def names(numbers: Integers) -> tuple[str, ...]:
        return tuple(name for number in sorted(numbers.tolist()) for name in groups[number])

    planned = []
    for pair in range(originals // 2):
        shuffled = generator.permutation(rest)
        halves = shuffled[: len(rest) // 2], shuffled[len(rest) // 2 :]
        for side in (0, 1):
            seen, unseen = halves[side], halves[1 - side]
            candidates = generator.permutation(seen)
            for number in range(draws):
                forget = candidates[number * size : (number + 1) * size]
                retain = np.setdiff1d(seen, forget)
                planned.append(Draw(2 * pair + side, number, names(retain), names(forget), names(unseen), names(test)))
    return planned


@dataclass(frozen=True)
class Fleet:
    """Margins of all images in all models of one method."""

    #: Shape ``(models, images, labels)``; one label in a multi-class task. NaN where they were not recorded.
    margins: Array
    states: Integers  # ``FORGOTTEN``, ``NEVER_SEEN`` or ``OTHER``, shape ``(models, images)``.
    people: Integers  # Number of the person on each image, shape ``(images,)``.
    names: tuple[str, ...]  # Name of each person, by number.
    originals: Integers  # Number of the original of each model, shape ``(models,)``.
    accuracy: Array  # Test accuracy of each model, shape ``(models,)``.
    #: Margins by other view, where all runs recorded them (``audit.views``): shapes as those of ``margins``.
    views: Mapping[str, Array] = field(default_factory=dict)

    @property
    def in_views(self) -> Mapping[str, Array]:
        """Margins by view, ``upright`` first."""
        return {UPRIGHT: self.margins, **self.views}

    @property
    def pairs(self) -> Integers:
        """Number of the pair of originals of each model, shape ``(models,)``."""
        return self.originals // 2


def read_fleet(runs: Sequence[tuple[Draw, Path]], iteration: int | None = None) -> Fleet:
    """Read the margins of a method from the runs of its draws.

    Iteration 0 is that of the originals; None for the last audit of each run.

    Raises:
        DataError: If a record is missing or damaged.
    """
    identity_of: dict[int, str] = {}
    models = []
    for _, run in runs:
        audit, rows, _ = read_model(run, iteration)
        identities = read_people(run)
        for name, values in rows.items():
            identity_of |= dict(zip(values.tolist(), identities[name].tolist(), strict=True))
        models.append((audit, rows, margins_by_view(audit)))
    # Numbered in the order of the face table, so that fleets of the same draws have the same images.
    number_of = {row: number for number, row in enumerate(sorted(identity_of))}
    names = sorted(set(identity_of.values()))
    person_of = {name: number for number, name in enumerate(names)}
    people = [person_of[identity_of[row]] for row in sorted(identity_of)]
    labels = next(iter(models[0][2][UPRIGHT].values())).shape[1]
    views = [view for view in models[0][2] if all(view in margins for _, _, margins in models)]
    tables = {view: np.full((len(models), len(people), labels), np.nan) for view in views}
    states = np.full((len(models), len(people)), OTHER, dtype=np.int64)
    for model, (_, rows, margins) in enumerate(models):
        for name, state in (("forget", FORGOTTEN), ("unseen", NEVER_SEEN)):
            states[model, [number_of[row] for row in rows[name].tolist()]] = state
        for view, table in tables.items():
            for name in rows.keys() & margins[view].keys():
                table[model, [number_of[row] for row in rows[name].tolist()]] = margins[view][name]
    return Fleet(
        tables.pop(UPRIGHT),
        states,
        np.array(people),
        tuple(names),
        np.array([draw.original for draw, _ in runs]),
        np.array([float(audit.values["test"]["accuracy"].mean()) for audit, _, _ in models]),
        tables,
    )
