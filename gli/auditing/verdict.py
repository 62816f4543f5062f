"""From the scores of an attack to a verdict: trials of people, intervals, exposed people, and the answer in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.metrics.intervals import (
    Answer,
    Interval,
    Trials,
    auc_interval,
    auc_intervals,
    equivalence,
    people_means,
    true_positive_rate,
)

#: AUC of an attacker who guesses.
CHANCE = 0.5
#: Largest difference of the AUC from 0.5 that counts as no leak, declared before the audit.
MARGIN = 0.1
#: Name of the attack that adds the scores of all views up.
TOGETHER = "all views together"


@dataclass(frozen=True)
class Attack:
    """The result of an attack."""

    name: str  # The attack in words, such as ``RMIA relative to reference models``.
    people: Interval  # Area under the ROC curve per person, with its interval.
    images: Interval  # Area per image, with its interval.
    rate: float  # True-positive rate per person at 5 % false positives.
    trials: Trials  # Scores of the people.


def attack(
    name: str,
    scores: npt.NDArray[np.float64],
    forgotten: npt.NDArray[np.bool_],
    people: npt.NDArray[np.int64],
    originals: npt.NDArray[np.int64] | None = None,
) -> Attack:
    """Return the result of an attack from its scores of images.

    Args:
        name: The attack in words.
        scores: Score of each image in each model, shape ``(models, images)``; NaN where there is none.
        forgotten: Whether the model forgot the image, shape ``(models, images)``, or ``(images,)`` for all models.
        people: Number of the person on each image, shape ``(images,)``.
        originals: Number of the original of each model, shape ``(models,)``; by default each model has its own.
    """
    return attacks({name: scores}, forgotten, people, originals)[name]


def attacks(
    scores: Mapping[str, npt.NDArray[np.float64]],
    forgotten: npt.NDArray[np.bool_],
    people: npt.NDArray[np.int64],
    originals: npt.NDArray[np.int64] | None = None,
) -> dict[str, Attack]:
    """Return the results of several attacks, see :func:`attack`; their intervals allow for the choice of one."""
    every = [_trials(each, forgotten, people, originals) for each in scores.values()]
    areas = auc_intervals([persons for persons, _ in every])
    result = {}
    for name, area, (persons, images) in zip(scores, areas, every, strict=True):
        rate = true_positive_rate(persons.scores[persons.positive], persons.scores[~persons.positive], 0.05)
        result[name] = Attack(name, area, auc_interval(images), rate, persons)
    return result


def with_sum(scores: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores of the views, and those of all views added up where there are several."""
    together = {TOGETHER: np.mean(list(scores.values()), axis=0)} if len(scores) > 1 else {}
    return {**scores, **together}


def attacker_in_words(attacks: Mapping[str, Attack], views: int, worst: Attack) -> str:
    """Return in words what the attacker had, of whom the attack ``worst`` decides."""
    several = f"the strongest of {len(attacks)} attacks in {views} views: {worst.name}"
    return several if views > 1 else "only the upright view"


def strongest(attacks: Mapping[str, Attack], margin: float) -> Attack:
    """Return the attack that decides: one that fails the model, else the one whose interval reaches farthest from 0.5.

    If the interval of this one lies within the margin, those of all others do.
    """

    def strength(attack: Attack) -> tuple[bool, float]:
        interval = attack.people
        return equivalence(interval, CHANCE, margin) == "fail", max(CHANCE - interval.low, interval.high - CHANCE)

    return max(attacks.values(), key=strength)


def _trials(
    scores: npt.NDArray[np.float64],
    forgotten: npt.NDArray[np.bool_],
    people: npt.NDArray[np.int64],
    originals: npt.NDArray[np.int64] | None,
) -> tuple[Trials, Trials]:
    """Return the trials of an attack by person and by image; see :func:`attack`."""
    forgotten = np.broadcast_to(forgotten, scores.shape)
    originals = np.arange(len(scores)) if originals is None else originals
    by_person: list[tuple[npt.NDArray[Any], ...]] = []
    by_image: list[tuple[npt.NDArray[Any], ...]] = []
    for model, original in enumerate(originals):
        usable = np.isfinite(scores[model])
        values, numbers, positive = scores[model][usable], people[usable], forgotten[model][usable]
        by_image.append((values, positive, numbers, np.full(len(values), original)))
        means, everybody = people_means(values, numbers)
        shares, _ = people_means(positive.astype(np.float64), numbers)
        by_person.append((means, shares > 0.5, everybody, np.full(len(means), original)))
    persons, images = (
        Trials(*(np.concatenate(column) for column in zip(*level, strict=True))) for level in (by_person, by_image)
    )
    return persons, images


@dataclass(frozen=True)
class Exposure:
    """How well an attack identifies one person."""

    name: str  # The person.
    advantage: float  # AUC of the person alone: forgotten against never seen; 0.5 for no leak.
    score: float  # Mean score when forgotten minus mean score when never seen.
    models: int  # Number of models that forgot the person.


def exposures(trials: Trials, names: Sequence[str]) -> list[Exposure]:
    """Return how well the attack identifies each forgotten person, the most exposed first.

    A person is compared with the same person in models that never saw them; in an audit of a single model, where there
    are none, with the people whom it never saw.
    """
    single = len(np.unique(trials.originals)) == 1
    result = []
    for number in np.unique(trials.people[trials.positive]):
        person = trials.people == number
        forgotten = trials.scores[person & trials.positive]
        never_seen = trials.scores[(person | single) & ~trials.positive]
        if len(never_seen):
            above, equal = (compare.outer(forgotten, never_seen).mean() for compare in (np.greater, np.equal))
            difference = float(forgotten.mean() - never_seen.mean())
            result.append(Exposure(names[number], float(above + equal / 2), difference, len(forgotten)))
    return sorted(result, key=lambda exposure: (-abs(exposure.score), exposure.name))


def contradiction(control: Interval) -> float:
    """Return how far a control's interval is from covering a guessing attacker; negative if it covers."""
    return max(control.low - CHANCE, CHANCE - control.high)


@dataclass(frozen=True)
class Verdict:
    """The answer of an audit, and a sentence that says why."""

    answer: Answer
    sentence: str


def auc_in_words(area: Interval) -> str:
    """Return an AUC with its interval, as sentences show it."""
    return f"AUC {area.value:.2f}, 95 % interval {area.low:.2f} to {area.high:.2f}"


def judge(attack: Interval, positive: Interval, negative: Interval | None, margin: float = MARGIN) -> Verdict:
    """Judge a method from an attack and its controls.

    Args:
        attack: AUC of the attack on the unlearned models.
        positive: AUC of the same attack on the originals, which have forgotten nobody.
        negative: AUC of the same attack on retrained models, which never saw anybody; None if there are none.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
    """
    shown = auc_in_words(attack)
    if positive.low <= CHANCE + margin:
        return Verdict(
            "cannot tell",
            f"The audit has no power: even without unlearning its AUC is {positive.value:.2f} ({positive.low:.2f} to "
            f"{positive.high:.2f}). Audit more people, or more models.",
        )
    if negative is not None and not negative.covers(CHANCE):
        return Verdict(
            "cannot tell",
            f"The negative control fails: retrained models have an AUC of {negative.value:.2f} ({negative.low:.2f} to "
            f"{negative.high:.2f}) where there is no leak. Audit with other seeds.",
        )
    answer = equivalence(attack, CHANCE, margin)
    if answer == "pass":
        sentence = (
            f"The attack does not distinguish forgotten from never seen people beyond the margin ({shown}, within "
            f"{CHANCE - margin:.2f} to {CHANCE + margin:.2f}; a difference of {attack.detectable:.2f} from 0.5 would "
            "have been found)."
        )
    elif answer == "fail" and attack.value > CHANCE:
        sentence = f"The attack still identifies forgotten people ({shown})."
    elif answer == "fail":
        sentence = f"The forgotten people stand out in the other direction: over-unlearning ({shown})."
    elif not attack.covers(CHANCE):
        sentence = (
            f"There is a leak, but it is not clear whether it is larger than the margin of {margin:g} ({shown}). Audit "
            "more people."
        )
    else:
        sentence = (
            f"The interval is too wide for an answer ({shown}); with these people and models, a leak of "
            f"{attack.detectable:.2f} above or below 0.5 would have been found. Audit more people."
        )
    return Verdict(answer, sentence)
