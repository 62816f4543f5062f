"""Attacks on the models of a method: U-LiRA and its variants, and AUCs by memorisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gli.auditing.references import Fleet
from gli.auditing.verdict import Attack, attack
from gli.metrics.intervals import Trials, auc, people_means
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

Array = npt.NDArray[np.float64]


def ulira(fleet: Fleet) -> Attack:
    """Attack the models of a method with U-LiRA: people they forgot against people they never saw."""
    scores = ulira_scores(fleet.margins, fleet.states, fleet.pairs)
    return attack("U-LiRA", scores, fleet.states == FORGOTTEN, fleet.people, fleet.originals)


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
