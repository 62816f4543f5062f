"""The audit of one method: attacks, controls, distances to retrained models, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gli.audit.attacks import Attack, Exposure, exposures, strata, ulira, ulira_against
from gli.audit.references import Fleet
from gli.audit.verdict import MARGIN, Verdict, judge
from gli.metrics.iam import degree_of_memory
from gli.metrics.intervals import Interval, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER

Array = npt.NDArray[np.float64]

#: Name of the audit of the originals themselves.
NO_UNLEARNING = "No unlearning"
#: States of images whose margins are compared with those of retrained models.
STATES = ("forgotten", "retained", "never seen")
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
    strata: list[float]
    accuracy: Array
    exposed: list[Exposure]
    models: int
    diverged: int


def audit_method(
    name: str, privacy: Attack, unlearned: Fleet, originals: Fleet, retrained: Fleet, verdict: Verdict
) -> MethodAudit:
    """Audit the models of a method.

    Args:
        name: The method.
        privacy: The attack on its models.
        unlearned: Its models.
        originals: The originals of the same draws.
        retrained: Retrained models of the same draws.
        verdict: The verdict on the attack.
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
        strata(privacy.trials, originals),
        unlearned.accuracy,
        exposures(privacy.trials, unlearned.names),
        count,
        diverged,
    )


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
    return [
        audit_method(name, privacy, fleet, originals, retrained, judge(privacy.people, positive, negative, margin))
        for (name, privacy), fleet in zip(attacks.items(), [originals, *fleets.values()], strict=True)
    ]


def _chosen(fleet: Fleet, state: str) -> npt.NDArray[np.bool_]:
    """Return which images of which models are in a state: forgotten, never seen or retained."""
    if state == "retained":
        # Test images are recorded and in state OTHER in all models; they were never retained.
        test = (fleet.states == OTHER).all(axis=0)
        return np.asarray((fleet.states == OTHER) & np.isfinite(fleet.margins[..., 0]) & ~test)
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


def excess_distance(unlearned: Fleet, retrained: Fleet, state: str, splits: int = 10, seed: int = 0) -> Interval:
    """Return the excess of KLoM over its floor in a state, mean over people with its interval.

    For each image, m unlearned models in this state are compared with retrained models in the same state, and m
    retrained models with the others. The excess is 0 on average if unlearning equals retraining.

    Args:
        unlearned: The models.
        retrained: Retrained models of the same draws.
        state: ``forgotten``, ``retained`` or ``never seen``.
        splits: Number of random halves of the retrained models.
        seed: Seed of the halves.
    """
    if unlearned is retrained:  # Nothing to compare with.
        return NOTHING
    ours, reference = unlearned.margins.mean(axis=2), retrained.margins.mean(axis=2)
    chosen, chosen_reference = _chosen(unlearned, state), _chosen(retrained, state)
    generator = np.random.default_rng(seed)
    count = np.minimum(chosen.sum(axis=0), chosen_reference.sum(axis=0))
    images = np.flatnonzero(count >= 4)
    if len(np.unique(unlearned.people[images])) < 2:
        return NOTHING
    excess = np.zeros(len(images))
    # Images with the same models in this state are compared together; all images of a person are.
    groups: dict[bytes, list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(chosen[:, image].tobytes() + chosen_reference[:, image].tobytes(), []).append(position)
    for positions in groups.values():
        columns = images[positions]
        own = ours[np.ix_(chosen[:, columns[0]], columns)]
        others = reference[np.ix_(chosen_reference[:, columns[0]], columns)]
        distances, floor = excess_klom(own, others, splits, generator)
        excess[positions] = distances - floor
    means, _ = people_means(excess, unlearned.people[images])
    return mean_interval(means)
