"""The audit of methods with a fleet of originals: the attack is U-LiRA, judged as any other (:mod:`.verdict`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gli.auditing import UPRIGHT
from gli.auditing.fleet import Fleet
from gli.auditing.verdict import (
    MARGIN,
    Attack,
    Exposure,
    Verdict,
    attacker_in_words,
    attacks,
    contradiction,
    exposures,
    judge,
    strongest,
    with_sum,
)
from gli.metrics.iam import degree_of_memory
from gli.metrics.intervals import Interval, Trials, auc, mean_interval, people_means
from gli.metrics.klom import excess_klom, histogram_klom, normal_klom
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

Array = npt.NDArray[np.float64]

#: Name of the audit of the originals themselves, and of retrained models.
NO_UNLEARNING, RETRAINED = "No unlearning", "Retrained"
#: States of images whose margins are compared with those of retrained models.
STATES = ("forgotten", "retained", "never seen")
#: Models of either kind that an image must have in a state to be compared.
LEAST_MODELS = 4
NOTHING = Interval(math.nan, math.nan, math.nan, math.nan)


# -- attacks -----------------------------------------------------------------------------------------------------------


def ulira(fleet: Fleet) -> dict[str, Attack]:
    """Attack the models of a method with U-LiRA, in each view: people they forgot against people they never saw."""
    scores = {view: ulira_scores(margins, fleet.states, fleet.pairs) for view, margins in fleet.in_views.items()}
    return attacks(with_sum(scores), fleet.states == FORGOTTEN, fleet.people, fleet.originals)


def ulira_against(fleet: Fleet, retrained: Fleet) -> dict[str, Attack]:
    """Attack with retrained models as the negatives, in each view: does unlearning equal retraining?

    The retrained models are of the same draws; they saw neither their forget nor their unseen people.
    """
    positives = np.where(fleet.states == FORGOTTEN, FORGOTTEN, OTHER)
    negatives = np.where(retrained.states == OTHER, OTHER, NEVER_SEEN)
    shared = retrained.views
    both = Fleet(
        np.concatenate([fleet.margins, retrained.margins]),
        np.concatenate([positives, negatives]),
        fleet.people,
        fleet.names,
        np.concatenate([fleet.originals, retrained.originals]),
        np.concatenate([fleet.accuracy, retrained.accuracy]),
        {view: np.concatenate([fleet.views[view], retrained.views[view]]) for view in fleet.views if view in shared},
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
    return ulira(replace(fleet, states=states, views={}))[UPRIGHT]


def memorisation(originals: Fleet, without_pair: int | None = None) -> Array:
    """Return how strongly each person was memorised: mean margin under originals that saw them minus the others.

    ``without_pair`` is a pair of originals to leave out.

    Returns:
        One value per person, by number; NaN for people who were never forgotten.
    """
    margins = originals.margins.mean(axis=2)
    usable_models = (originals.pairs != without_pair)[:, None] & np.isfinite(margins)

    def mean_under(state: int) -> Array:
        chosen = usable_models & (originals.states == state)
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
    """
    pairs = trials.originals // 2
    values = np.full(len(pairs), np.nan)
    for pair in np.unique(pairs):
        of_pair = pairs == pair
        values[of_pair] = memorisation(originals, int(pair))[trials.people[of_pair]]
    measured = np.isfinite(values)
    if not measured.any():
        return [float("nan")] * parts
    limits = np.quantile(values[measured], np.linspace(0, 1, parts + 1)[1:-1])
    part = np.searchsorted(limits, values, "right")
    areas = []
    for number in range(parts):
        chosen = measured & (part == number)
        positives = trials.scores[chosen & trials.positive]
        negatives = trials.scores[chosen & ~trials.positive]
        areas.append(auc(positives, negatives) if len(positives) and len(negatives) else float("nan"))
    return areas


# -- the audit of a method ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MethodAudit:
    """The audit of a method: attacks, distances to retrained models, and the verdict."""

    name: str  # The method.
    #: Strongest attack on the unlearned models: forgotten people against people who were never seen.
    privacy: Attack
    views: Mapping[str, Attack]  # All of them, by view.
    #: Strongest attack with retrained models as the reference: does unlearning equal retraining?
    efficacy: Attack
    views_against_retraining: Mapping[str, Attack]  # All of them, by view.
    verdict: Verdict  # The verdict on ``privacy``.
    #: Degree of memory of the forgotten people: 1 as the original, 0 as retrained, below 0 over-unlearned.
    memory: Interval
    #: Excess of the distance to retrained models over the distance between retrained models, in nats, for the
    #: forgotten, retained and never seen images, mean over people.
    klom: dict[str, Interval]
    #: KLoM in its published form: 95th percentile over the same images, and the same between retrained models; biased
    #: for few models.
    klom_histogram: dict[str, tuple[float, float]]
    retained: Interval  # AUC per person of the same attack on retained people: retained against never seen.
    #: The same in retrained models: what a model gives away of its own training images anyway.
    retained_reference: Interval
    strata: list[float]  # AUC per person of the least, middle and most memorised third.
    accuracy: Array  # Test accuracy of each model.
    exposed: list[Exposure]  # The people, the most exposed first.
    models: int  # Number of audited models.
    diverged: int  # Number of them whose outputs are not finite; they are left out.


def _retained(fleet: Fleet) -> Interval:
    """Return the AUC per person of the attack on retained people; nothing if the runs did not evaluate them."""
    return ulira_on_retained(fleet).people if retained_images(fleet).any() else NOTHING


def _diverged(unlearned: Fleet) -> int:
    """Return the number of models whose outputs for forgotten people are not finite."""
    lost = ~np.isfinite(unlearned.margins).all(axis=2) & (unlearned.states == FORGOTTEN)
    return int(lost.any(axis=1).sum())


def audit_fleets(
    fleets: dict[str, Fleet], originals: Fleet, retrained: Fleet, margin: float = MARGIN
) -> list[MethodAudit]:
    """Audit all methods of a fleet, with "no unlearning" first.

    The originals are there once for each draw, and the retrained models are of the same draws.
    """
    found = {name: ulira(fleet) for name, fleet in {NO_UNLEARNING: originals, **fleets}.items()}
    positive = max((each.people for each in found[NO_UNLEARNING].values()), key=lambda area: area.low)
    negative = max((each.people for each in ulira(retrained).values()), key=contradiction)
    reference, audits = _retained(retrained), []
    for (name, of_views), fleet in zip(found.items(), [originals, *fleets.values()], strict=True):
        privacy = strongest(of_views, margin)
        verdict = judge(privacy.people, positive, negative, margin)
        shown = attacker_in_words(of_views, len(fleet.in_views), privacy)
        count, diverged = len(fleet.originals), _diverged(fleet)
        left_out = f" {diverged} of {count} models diverged and were left out." if diverged else ""
        against = ulira_against(fleet, retrained)
        audits.append(
            MethodAudit(
                name,
                replace(privacy, name=f"U-LiRA, {shown}"),
                of_views,
                efficacy=strongest(against, margin),
                views_against_retraining=against,
                verdict=replace(verdict, sentence=f"{verdict.sentence} The attacker had {shown}.{left_out}"),
                memory=memory_of(fleet, originals, retrained),
                klom={state: excess_distance(fleet, retrained, state) for state in STATES},
                klom_histogram={state: histogram_percentiles(fleet, retrained, state) for state in STATES},
                retained=_retained(fleet),
                retained_reference=reference,
                strata=strata(privacy.trials, originals),
                accuracy=fleet.accuracy,
                exposed=exposures(privacy.trials, fleet.names),
                models=count,
                diverged=diverged,
            )
        )
    return audits


def _chosen(fleet: Fleet, state: str) -> npt.NDArray[np.bool_]:
    """Return which images of which models are in a state: forgotten, never seen or retained."""
    if state == "retained":
        return retained_images(fleet)
    return np.asarray(fleet.states == (FORGOTTEN if state == "forgotten" else NEVER_SEEN))


def memory_of(unlearned: Fleet, originals: Fleet, retrained: Fleet) -> Interval:
    """Return the degree of memory of the forgotten people, mean over models with its interval (IAM).

    All three fleets are of the same draws.
    """
    margins, before, reference = (fleet.margins.mean(axis=2) for fleet in (unlearned, originals, retrained))
    values = []
    for model, pair in enumerate(unlearned.pairs):
        # The mean over retrained models of other draws: one model's own noise would count as memory.
        never = (retrained.states != OTHER) & (retrained.pairs != pair)[:, None] & np.isfinite(reference)
        count = never.sum(axis=0)
        mean = np.where(never, reference, 0).sum(axis=0) / np.maximum(count, 1)
        finite = np.isfinite(margins[model]) & np.isfinite(before[model])
        chosen = (unlearned.states[model] == FORGOTTEN) & (count > 0) & finite
        values.append(degree_of_memory(margins[model, chosen], before[model, chosen], mean[chosen]))
    # Draws of one original are correlated: one value per original.
    usable = np.isfinite(values)
    means, _ = people_means(np.array(values)[usable], unlearned.originals[usable])
    return mean_interval(means) if len(means) > 1 else NOTHING


def excess_distance(unlearned: Fleet, retrained: Fleet, state: str) -> Interval:
    """Return the excess of KLoM over its floor in a state, mean over people with its interval.

    For each image, m unlearned models in this state are compared with retrained models in the same state, and m
    retrained models with the others. The excess is 0 on average if unlearning equals retraining.
    """
    distances, floor, people = _distances(unlearned, retrained, state)
    if len(np.unique(people)) < 2:
        return NOTHING
    means, _ = people_means(distances - floor, people)
    return mean_interval(means)


def histogram_percentiles(unlearned: Fleet, retrained: Fleet, state: str) -> tuple[float, float]:
    """Return the 95th percentile over images of KLoM as published, and of its floor; NaN where there is none."""
    distances, floor, _ = _distances(unlearned, retrained, state, splits=1, distance=histogram_klom)
    if not len(distances):
        return math.nan, math.nan
    return float(np.quantile(distances, 0.95)), float(np.quantile(floor, 0.95))


def _distances(
    unlearned: Fleet,
    retrained: Fleet,
    state: str,
    splits: int = 10,
    seed: int = 0,
    distance: Callable[[Array, Array], Array] = normal_klom,
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return KLoM, its floor, and the person of each image that enough models of either kind have in a state."""
    if unlearned is retrained:  # Nothing to compare with.
        return np.empty(0), np.empty(0), np.empty(0, np.int64)
    ours, reference = unlearned.margins.mean(axis=2), retrained.margins.mean(axis=2)
    chosen, chosen_reference = _chosen(unlearned, state), _chosen(retrained, state)
    generator = np.random.default_rng(seed)
    count = np.minimum(chosen.sum(axis=0), chosen_reference.sum(axis=0))
    images = np.flatnonzero(count >= LEAST_MODELS)
    distances, floor = np.zeros(len(images)), np.zeros(len(images))
    # Images with the same models in this state are compared together; all images of a person are.
    groups: dict[bytes, list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(chosen[:, image].tobytes() + chosen_reference[:, image].tobytes(), []).append(position)
    for positions in groups.values():
        columns = images[positions]
        compared = ours[np.ix_(chosen[:, columns[0]], columns)]
        baseline = reference[np.ix_(chosen_reference[:, columns[0]], columns)]
        distances[positions], floor[positions] = excess_klom(compared, baseline, splits, generator, distance)
    return distances, floor, unlearned.people[images]
