"""Attacks on the models of a method: scores of people, intervals, strata, and the people who can be told best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.auditing.references import Fleet
from gli.metrics.intervals import Interval, Trials, auc, auc_interval, people_means, true_positive_rate
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attack:
    """The result of an attack.

    Attributes:
        people: Area under the ROC curve per person, with its interval.
        images: Area per image, with its interval.
        rate: True-positive rate per person at 5 % false positives.
        trials: Scores of the people.
    """

    people: Interval
    images: Interval
    rate: float
    trials: Trials


def trials_of(scores: Array, fleet: Fleet) -> tuple[Trials, Trials]:
    """Return the trials of people and of images from scores of images.

    Args:
        scores: Score of each image in each model, shape ``(models, images)``; NaN where there is none.
        fleet: The attacked models.

    Returns:
        Trials of people (the mean score of a person's images in a model), and of images.
    """
    person_level: list[tuple[npt.NDArray[Any], ...]] = []
    image_level: list[tuple[npt.NDArray[Any], ...]] = []
    for model, original in enumerate(fleet.originals):
        usable = np.isfinite(scores[model])
        values, people = scores[model][usable], fleet.people[usable]
        forgotten = fleet.states[model][usable] == FORGOTTEN
        image_level.append((values, forgotten, people, np.full(len(values), original)))
        means, numbers = people_means(values, people)
        shares, _ = people_means(forgotten.astype(np.float64), people)
        person_level.append((means, shares > 0.5, numbers, np.full(len(means), original)))
    person, image = (
        Trials(*(np.concatenate(column) for column in zip(*level, strict=True)))
        for level in (person_level, image_level)
    )
    return person, image


def attack(scores: Array, fleet: Fleet) -> Attack:
    """Return the result of an attack from its scores of images; see :func:`trials_of`."""
    people, images = trials_of(scores, fleet)
    rate = true_positive_rate(people.scores[people.positive], people.scores[~people.positive], 0.05)
    return Attack(auc_interval(people), auc_interval(images), rate, people)


def ulira(fleet: Fleet) -> Attack:
    """Attack the models of a method with U-LiRA: people they forgot against people they never saw."""
    return attack(ulira_scores(fleet.margins, fleet.states, fleet.pairs), fleet)


def ulira_against(fleet: Fleet, retrained: Fleet) -> Attack:
    """Attack with retrained models as the negatives: does unlearning equal retraining?

    Args:
        fleet: The models; their forgotten people are the positives.
        retrained: Retrained models of the same draws, which saw neither their forget nor their unseen people.
    """
    positives = np.where(fleet.states == FORGOTTEN, FORGOTTEN, OTHER)
    negatives = np.where(retrained.states == OTHER, OTHER, NEVER_SEEN)
    both = Fleet(
        np.concatenate([fleet.margins, retrained.margins]),
        np.concatenate([positives, negatives]),
        fleet.people,
        fleet.names,
        np.concatenate([fleet.originals, retrained.originals]),
        np.concatenate([fleet.accuracy, retrained.accuracy]),
    )
    return ulira(both)


def retained_images(fleet: Fleet) -> npt.NDArray[np.bool_]:
    """Return which images each model retained, shape ``(models, images)``, where the runs evaluated them."""
    # Test images are recorded and in state OTHER in all models; they were never retained.
    test = (fleet.states == OTHER).all(axis=0)
    return np.asarray((fleet.states == OTHER) & np.isfinite(fleet.margins[..., 0]) & ~test)


def ulira_on_retained(fleet: Fleet) -> Attack:
    """Attack the retained people: in which models were they trained on, in which never seen?

    Compare with the same attack on retrained models: a difference is what unlearning did to people who stay.
    """
    seen = retained_images(fleet)
    states = np.where(seen, FORGOTTEN, np.where(fleet.states == NEVER_SEEN, NEVER_SEEN, OTHER))
    return ulira(replace(fleet, states=states))


def memorisation(originals: Fleet, without_pair: int | None = None) -> Array:
    """Return how strongly each person was memorised: mean margin under originals that saw them minus the others.

    Args:
        originals: The originals, read from the runs of a method at iteration 0.
        without_pair: Pair of originals to leave out; None for none.

    Returns:
        One value per person, by number; NaN for people who were never forgotten.
    """
    margins = originals.margins.mean(axis=2)
    kept = (originals.pairs != without_pair)[:, None] & np.isfinite(margins)

    def mean_under(state: int) -> Array:
        chosen = kept & (originals.states == state)
        counts = chosen.sum(axis=0)
        return np.where(counts > 0, np.where(chosen, margins, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)

    values = mean_under(FORGOTTEN) - mean_under(NEVER_SEEN)
    usable = np.isfinite(values)
    means, numbers = people_means(values[usable], originals.people[usable])
    result = np.full(len(originals.names), np.nan)
    result[numbers] = means
    return result


def strata(trials: Trials, originals: Fleet, parts: int = 3) -> list[float]:
    """Return the AUC per person in each part of the people, from the least to the most memorised.

    How strongly a person was memorised is measured without the target's pair of originals: measured with it, the parts
    would be chosen by the very margins that are attacked.

    Args:
        trials: Scores of the people.
        originals: The originals of the same draws.
        parts: Number of parts.
    """
    pairs = trials.originals // 2
    values = np.full(len(pairs), np.nan)
    for pair in np.unique(pairs):
        own = pairs == pair
        values[own] = memorisation(originals, int(pair))[trials.people[own]]
    known = np.isfinite(values)
    if not known.any():
        return [float("nan")] * parts
    limits = np.quantile(values[known], np.linspace(0, 1, parts + 1)[1:-1])
    part = np.searchsorted(limits, values, "right")
    areas = []
    for number in range(parts):
        chosen = known & (part == number)
        positives = trials.scores[chosen & trials.positive]
        negatives = trials.scores[chosen & ~trials.positive]
        areas.append(auc(positives, negatives) if len(positives) and len(negatives) else float("nan"))
    return areas


@dataclass(frozen=True)
class Exposure:
    """How well one person can be told.

    Attributes:
        name: The person.
        advantage: AUC of the person alone: forgotten against never seen, over models; 0.5 for no leak.
        score: Mean score when forgotten minus mean score when never seen.
        models: Number of models that forgot the person.
    """

    name: str
    advantage: float
    score: float
    models: int


def exposures(trials: Trials, names: Sequence[str]) -> list[Exposure]:
    """Return how well each person can be told, the most exposed first.

    Args:
        trials: Scores of the people.
        names: Names of the people, by number.
    """
    result = []
    for number in np.unique(trials.people):
        own = trials.people == number
        positives, negatives = trials.scores[own & trials.positive], trials.scores[own & ~trials.positive]
        if len(positives) and len(negatives):
            difference = float(positives.mean() - negatives.mean())
            result.append(Exposure(names[number], auc(positives, negatives), difference, len(positives)))
    return sorted(result, key=lambda person: (-abs(person.score), person.name))
