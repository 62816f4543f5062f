"""The audit of one method: attacks, controls, distances to retrained models, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gli.auditing.attacks import (
    retained_images,
    strata,
    ulira,
    ulira_against,
    ulira_on_retained,
)
from gli.auditing.references import Fleet
from gli.auditing.verdict import MARGIN, Attack, Exposure, Verdict, exposures, judge
from gli.metrics.iam import degree_of_memory
from gli.metrics.intervals import Interval, mean_interval, people_means
from gli.metrics.klom import excess_klom, histogram_klom, normal_klom
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER

Array = npt.NDArray[np.float64]

#: Name of the audit of the originals themselves, and of retrained models.
NO_UNLEARNING, RETRAINED = "No unlearning", "Retrained"
#: States of images whose margins are compared with those of retrained models.
STATES = ("forgotten", "retained", "never seen")
#: Models of either kind that an image must have in a state to be compared.
LEAST_MODELS = 4
NOTHING = Interval(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class MethodAudit:
    """The audit of a method: attacks, distances to retrained models, and the verdict.

    Attributes:
        name: The method.
        privacy: Attack on the unlearned models: forgotten people against people who were never seen.
        efficacy: Attack with retrained models as the reference: does unlearning equal retraining?
        verdict: The verdict on ``privacy``.
        memory: Degree of memory of the forgotten people: 1 as the original, 0 as retrained, below 0 over-unlearned.
        klom: Excess of the distance to retrained models over the distance between retrained models, in nats, for the
            forgotten, retained and never seen images, mean over people.
        klom_histogram: KLoM in its published form: 95th percentile over the same images, and the same between retrained
            models; biased for few models.
        retained: AUC per person of the same attack on retained people: retained against never seen.
        retained_reference: The same in retrained models: what a model gives away of its own training images anyway.
        strata: AUC per person of the least, middle and most memorised third.
        accuracy: Test accuracy of each model.
        exposed: The people, the most exposed first.
        models: Number of audited models.
        diverged: Number of them whose outputs are not finite; they are left out.
    """

    name: str
    privacy: Attack
    efficacy: Attack
    verdict: Verdict
    memory: Interval
    klom: dict[str, Interval]
    klom_histogram: dict[str, tuple[float, float]]
    retained: Interval
    retained_reference: Interval
    strata: list[float]
    accuracy: Array
    exposed: list[Exposure]
    models: int
    diverged: int


def audit_method(
    name: str,
    privacy: Attack,
    unlearned: Fleet,
    originals: Fleet,
    retrained: Fleet,
    verdict: Verdict,
    retained_reference: Interval = NOTHING,
) -> MethodAudit:
    """Audit the models of a method.

    Args:
        name: The method.
        privacy: The attack on its models.
        unlearned: Its models.
        originals: The originals of the same draws.
        retrained: Retrained models of the same draws.
        verdict: The verdict on the attack.
        retained_reference: The attack on the retained people of retrained models.
    """
    count = len(unlearned.originals)
    diverged = _diverged(unlearned)
    if diverged:
        left_out = f"{verdict.sentence} {diverged} of {count} models diverged and were left out."
        verdict = replace(verdict, sentence=left_out)
    return MethodAudit(
        name,
        privacy,
        ulira_against(unlearned, retrained),
        verdict,
        memory_of(unlearned, originals, retrained),
        {state: excess_distance(unlearned, retrained, state) for state in STATES},
        {state: histogram_percentiles(unlearned, retrained, state) for state in STATES},
        _retained(unlearned),
        retained_reference,
        strata(privacy.trials, originals),
        unlearned.accuracy,
        exposures(privacy.trials, unlearned.names),
        count,
        diverged,
    )


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

    Args:
        fleets: The models of each method, in the order of tables.
        originals: The originals, once for each draw.
        retrained: Retrained models of the same draws.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
    """
    attacks = {name: ulira(fleet) for name, fleet in {NO_UNLEARNING: originals, **fleets}.items()}
    positive, negative = attacks[NO_UNLEARNING].people, ulira(retrained).people
    reference = _retained(retrained)
    return [
        audit_method(
            name, privacy, fleet, originals, retrained, judge(privacy.people, positive, negative, margin), reference
        )
        for (name, privacy), fleet in zip(attacks.items(), [originals, *fleets.values()], strict=True)
    ]


def _chosen(fleet: Fleet, state: str) -> npt.NDArray[np.bool_]:
    """Return which images of which models are in a state: forgotten, never seen or retained."""
    if state == "retained":
        return retained_images(fleet)
    return np.asarray(fleet.states == (FORGOTTEN if state == "forgotten" else NEVER_SEEN))


def memory_of(unlearned: Fleet, originals: Fleet, retrained: Fleet) -> Interval:
    """Return the degree of memory of the forgotten people, mean over models with its interval (IAM).

    Args:
        unlearned: The models.
        originals: The originals of the same draws.
        retrained: Retrained models of the same draws.
    """
    own, before, reference = (fleet.margins.mean(axis=2) for fleet in (unlearned, originals, retrained))
    values = []
    for model, pair in enumerate(unlearned.pairs):
        # The mean over retrained models of other draws: one model's own noise would count as memory.
        never = (retrained.states != OTHER) & (retrained.pairs != pair)[:, None] & np.isfinite(reference)
        count = never.sum(axis=0)
        mean = np.where(never, reference, 0).sum(axis=0) / np.maximum(count, 1)
        finite = np.isfinite(own[model]) & np.isfinite(before[model])
        chosen = (unlearned.states[model] == FORGOTTEN) & (count > 0) & finite
        values.append(degree_of_memory(own[model, chosen], before[model, chosen], mean[chosen]))
    # Draws of one original are correlated: one value per original.
    usable = np.isfinite(values)
    means, _ = people_means(np.array(values)[usable], unlearned.originals[usable])
    return mean_interval(means) if len(means) > 1 else NOTHING


def excess_distance(unlearned: Fleet, retrained: Fleet, state: str) -> Interval:
    """Return the excess of KLoM over its floor in a state, mean over people with its interval.

    For each image, m unlearned models in this state are compared with retrained models in the same state, and m
    retrained models with the others. The excess is 0 on average if unlearning equals retraining.

    Args:
        unlearned: The models.
        retrained: Retrained models of the same draws.
        state: ``forgotten``, ``retained`` or ``never seen``.
    """
    distances, floor, people = _distances(unlearned, retrained, state)
    if len(np.unique(people)) < 2:
        return NOTHING
    means, _ = people_means(distances - floor, people)
    return mean_interval(means)


def histogram_percentiles(unlearned: Fleet, retrained: Fleet, state: str) -> tuple[float, float]:
    """Return the 95th percentile over images of KLoM in its published form, and of its floor; NaN where there is none.

    Args:
        unlearned: The models.
        retrained: Retrained models of the same draws.
        state: ``forgotten``, ``retained`` or ``never seen``.
    """
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
        own = ours[np.ix_(chosen[:, columns[0]], columns)]
        others = reference[np.ix_(chosen_reference[:, columns[0]], columns)]
        distances[positions], floor[positions] = excess_klom(own, others, splits, generator, distance)
    return distances, floor, unlearned.people[images]
