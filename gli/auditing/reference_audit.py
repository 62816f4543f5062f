"""The audit of one unlearned model: does an attack distinguish forgotten people from people who were never seen?

The attack is RMIA relative to reference models, which were retrained without the forgotten people: the score of an
image counts less what the references get for it, each with the others as its references. Forgotten and never seen
people may differ (in age, say), and an attack on the plain score separates them even under a model trained on neither.
With fewer than three references, people are ranked by the margins of the audited model alone, and the verdict says so.

The attacker shows every photograph in several views (:mod:`gli.auditing.views`), each compared with the references in
the same view, adds the scores of all views up, and looks who is farther from the references than they are from each
other, in either direction. The strongest of these attacks decides; its interval allows for the choice, which would
otherwise find a leak where there is none.

``gli audit RUN``, ``gli.audit``, ``gli.forget``, ``gli erase run`` and ``gli erase rehearse`` all call :func:`audit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.auditing import LEAST_REFERENCES, UPRIGHT
from gli.auditing.verdict import (
    MARGIN,
    Attack,
    Exposure,
    Verdict,
    attack,
    attacker_in_words,
    attacks,
    contradiction,
    exposures,
    judge,
    strongest,
    with_sum,
)
from gli.errors import DataError
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.intervals import Interval, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.rmia import calibrate, likelihood_ratios, log_confidence, rmia_scores

Array = npt.NDArray[np.float64]
#: Margins of one model, ``log p - log(1 - p)``, for each set, shape ``(images, labels)``; one label if multi-class.
Margins = Mapping[str, Array]
#: Margins of one model by view.
Views = Mapping[str, Margins]
#: The attack that ranks people by how far their margins are from retraining.
DISTANCE = "distance from retraining"
#: The sets whose people are attacked, in the order of all scores; images of ``test`` are the population of RMIA.
ATTACKED = ("forget", "unseen")
SETS = (*ATTACKED, "test")
#: Correction of RMIA for OUT references only where there is no original to calibrate it on.
DEFAULT_A = 0.5
RMIA, MARGINS_ALONE = "RMIA relative to reference models", "margins of the audited model alone"
WEAK = (
    f" With fewer than {LEAST_REFERENCES} reference models the attacker ranks people by the model's own margins: "
    "it may miss a leak, and mistake other differences between the two groups of people for one."
)


@dataclass(frozen=True)
class Audit:
    """The result of an audit of one model."""

    verdict: Verdict  # ``pass``, ``fail`` or ``cannot tell``, with a sentence.
    #: The strongest attack on the model: forgotten people against people who were never seen; None where the model has
    #: diverged.
    attack: Attack | None
    views: Mapping[str, Attack]  # All attacks on the model, by view.
    #: AUC per person of the strongest attack on the original; None where no original was given.
    positive: Interval | None
    #: AUC per person of the strongest attack on the reference models; None where none was given.
    negative: Interval | None
    memory: float  # Degree of memory of the forgotten people: 1 as the original, 0 as retrained; NaN without either.
    exposed: Sequence[Exposure]  # The forgotten people, the most exposed first.
    a: float  # Correction of RMIA for OUT references only; NaN where the attack is another.
    references: int  # Number of reference models.
    passes: int  # Forward passes that the margins took: images, times views, times models.


def log_p(margins: Array) -> Array:
    """Return log p(label | image), summed over labels, shape ``(images,)``, from margins ``(images, labels)``."""
    return np.asarray(log_confidence(margins).sum(axis=1))


def mean_margins(model: Margins, *names: str) -> Array:
    """Return the margins of some sets one after the other, mean over labels, shape ``(images,)``."""
    return np.concatenate([model[name].mean(axis=1) for name in names])


def rmia(target: Margins, references: Sequence[Margins], a: float) -> Array:
    """Return RMIA's score of each image of ``ATTACKED``, with the test images as population."""

    def ratios(name: str) -> Array:
        return likelihood_ratios(log_p(target[name]), np.array([log_p(model[name]) for model in references]), a)

    population = ratios("test")
    return np.concatenate([rmia_scores(ratios(name), population) for name in ATTACKED])


def iam(target: Margins, references: Sequence[Margins], original: Margins) -> Array:
    """Return IAM's score of each image of ``ATTACKED``."""
    out = np.array([mean_margins(model, *ATTACKED) for model in references])
    return iam_scores(mean_margins(target, *ATTACKED), mean_margins(original, *ATTACKED), out)


def distance(target: Margins, references: Sequence[Margins]) -> Array:
    """Return how far the margin of each image of ``ATTACKED`` is from the mean of the references."""
    out = np.mean([mean_margins(model, *ATTACKED) for model in references], axis=0)
    return np.asarray(np.abs(mean_margins(target, *ATTACKED) - out))


class Relative:
    """Scores of an attack less those that reference models get, each with the others as its references.

    Args:
        score: Returns the score of each image from a model and its references.
        references: The reference models.
    """

    def __init__(self, score: Callable[[Margins, Sequence[Margins]], Array], references: Sequence[Margins]) -> None:
        self._score, self._references = score, references
        self._of_references = np.array(
            [score(model, [*references[:number], *references[number + 1 :]]) for number, model in enumerate(references)]
        )

    def of(self, target: Margins) -> Array:
        """Return the scores of a model, shape ``(1, images)``."""
        return np.asarray(self._score(target, self._references) - self._of_references.mean(axis=0))[None]

    def of_references(self) -> Array:
        """Return the scores of each reference, compared with the others, shape ``(references, images)``."""
        count = len(self._references)
        return np.asarray((self._of_references - self._of_references.mean(axis=0)) * count / (count - 1))


class Plain:
    """Margins as scores of an attack, where there are too few references for :class:`Relative`."""

    def __init__(self, references: Sequence[Margins]) -> None:
        self._references = references

    def of(self, target: Margins) -> Array:
        """Return the scores of a model, shape ``(1, images)``."""
        return mean_margins(target, *ATTACKED)[None]

    def of_references(self) -> Array:
        """Return the mean scores of the references, shape ``(1, images)``."""
        return np.asarray(np.mean([self.of(each) for each in self._references], axis=0))


class People:
    """The people of ``ATTACKED``, numbered in the order of their names.

    Args:
        identities: Identity on each image of each set.

    Raises:
        DataError: If the same people are in forget and in unseen, so that there is nobody to compare with.
    """

    def __init__(self, identities: Mapping[str, npt.NDArray[Any]]) -> None:
        forgotten, strangers = (set(identities[name].tolist()) for name in ATTACKED)
        if not forgotten - strangers or not strangers - forgotten:
            shared = sorted(map(str, forgotten & strangers))
            raise DataError(
                f"forget and unseen hold the same people ({', '.join(shared[:3])}). Give images of people whom the "
                "model never saw as unseen."
            )
        names, self.numbers = np.unique(np.concatenate([identities[name] for name in ATTACKED]), return_inverse=True)
        self.names = [str(name) for name in names.tolist()]
        self.forgotten = np.arange(len(self.numbers)) < len(identities["forget"])

    def attack(self, name: str, scores: Array) -> Attack:
        """Attack them with the scores of all images, shape ``(models, images)``."""
        return attack(name, scores, self.forgotten, self.numbers)

    def attacks(self, scores: Mapping[str, Array]) -> dict[str, Attack]:
        """Attack them with the scores of each view, by ``DISTANCE``, and with those of all views added up."""
        views = with_sum({name: each for name, each in scores.items() if name != DISTANCE})
        return attacks({**scores, **views}, self.forgotten, self.numbers)


def audit(
    identities: Mapping[str, npt.NDArray[Any]],
    model: Views,
    original: Views | None,
    references: Sequence[Views],
    margin: float = MARGIN,
    a: float | None = None,
) -> Audit:
    """Audit a model by its outputs. A pure function; every entrance calls it.

    Views that the model or a reference lacks are left out.

    Args:
        identities: Identity on each image of ``forget`` and ``unseen``, shape ``(images,)`` each.
        model: Margins of the audited model by view, at least upright, for each of ``SETS``.
        original: Those of the model before unlearning, for the positive control and the calibration; None if it is not
            at hand.
        references: Those of models that were retrained without the forgotten people.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
        a: Correction of RMIA for OUT references only; None to calibrate it on the original, upright.

    Raises:
        DataError: If nobody can be compared, or outputs of the original or of a reference are not finite.
    """
    people = People(identities)
    for kind, outputs in (("original", original), *(("reference", each) for each in references)):
        if outputs is not None and not _is_finite(outputs):
            raise DataError(f"Outputs of the {kind} model are not finite: it has diverged.")
    views = [view for view in model if all(view in each for each in references)]
    models = [model, *references, *([] if original is None else [original])]
    passes = sum(len(each[UPRIGHT][name]) * len(set(views) & each.keys()) for each in models for name in SETS)
    if not _is_finite(model):
        verdict = Verdict("cannot tell", "The model's outputs are not finite: it has diverged.")
        return Audit(verdict, None, {}, None, None, math.nan, [], math.nan, len(references), passes)
    out = {view: [each[view] for each in references] for view in views}
    relative = len(references) >= LEAST_REFERENCES
    scores: dict[str, Relative | Plain]
    if relative:
        name, correction = RMIA, a if a is not None else calibrated(original, references)
        scores = {view: Relative(lambda target, others: rmia(target, others, correction), out[view]) for view in views}
    else:
        name, correction = MARGINS_ALONE, math.nan
        scores = {view: Plain(out[view]) for view in views}
    if relative and len(views) > 1:
        scores[DISTANCE] = Relative(distance, out[UPRIGHT])

    def attacked(target: Views) -> dict[str, Attack]:
        shown = {**target, DISTANCE: target[UPRIGHT]}
        return people.attacks({name: each.of(shown[name]) for name, each in scores.items() if name in shown})

    found = attacked(model)
    worst = strongest(found, margin)
    positive = negative = None
    if original is not None:
        positive = max((each.people for each in attacked(original).values()), key=lambda area: area.low)
    if references:
        controls = people.attacks({view: each.of_references() for view, each in scores.items()})
        negative = max((each.people for each in controls.values()), key=contradiction)
    verdict = judge(worst.people, positive or Interval(1.0, 1.0, 1.0, 0.0), negative, margin)
    if positive is None and verdict.answer == "pass":
        verdict = Verdict(
            "cannot tell",
            "Nothing was found, but without the original nobody knows whether the attack can find anything.",
        )
    shown = attacker_in_words(found, len(views), worst)
    sentence = f"{verdict.sentence} The attacker had {shown}.{'' if relative else WEAK}"
    memory = math.nan
    if original is not None and references:
        mean = np.mean([mean_margins(each[UPRIGHT], "forget") for each in references], axis=0)
        memory = degree_of_memory(
            mean_margins(model[UPRIGHT], "forget"), mean_margins(original[UPRIGHT], "forget"), mean
        )
    return Audit(
        replace(verdict, sentence=sentence),
        replace(worst, name=f"{name}, {shown}"),
        found,
        positive,
        negative,
        memory,
        exposures(worst.trials, people.names),
        correction,
        len(references),
        passes,
    )


def _is_finite(model: Views) -> bool:
    return all(bool(np.isfinite(margins[name]).all()) for margins in model.values() for name in SETS)


def calibrated(original: Views | None, references: Sequence[Views]) -> float:
    """Return the correction of RMIA with which it finds the forgotten people in the original best, upright."""
    if original is None:
        return DEFAULT_A
    model = original[UPRIGHT]
    out = {name: np.array([log_p(each[UPRIGHT][name]) for each in references]) for name in ATTACKED}
    return calibrate(log_p(model["forget"]), log_p(model["unseen"]), out["forget"], out["unseen"])


@dataclass(frozen=True)
class Distances:
    """What else an audit with references shows of one model; it decides nothing."""

    klom: Mapping[str, Interval]  # Excess KLoM of ``forgotten`` and of ``never seen`` images, mean over people.
    snapshots: Interval  # AUC per person of an attacker who compares the model with the original.
    snapshots_control: Interval  # The same with the references in place of the unlearned model.
    iam: Interval  # AUC per person of IAM, which interpolates between the original and the references.
    iam_original: Interval  # The same on the original.


def measure_distances(
    identities: Mapping[str, npt.NDArray[Any]], model: Margins, original: Margins, references: Sequence[Margins]
) -> Distances:
    """Measure the distances of a model from its original and from at least three references; see :func:`audit`."""
    people = People(identities)
    klom = {}
    for key, name in (("forgotten", "forget"), ("never seen", "unseen")):
        out = np.array([mean_margins(each, name) for each in references])
        distances, floor = excess_klom(mean_margins(model, name)[None], out)
        numbers = np.unique(identities[name], return_inverse=True)[1]
        klom[key] = mean_interval(people_means(distances - floor, numbers)[0])
    relative = Relative(lambda target, references: iam(target, references, original), references)
    return Distances(
        klom,
        snapshots(people, original, [model]),
        snapshots(people, original, references),
        people.attack("IAM relative to reference models", relative.of(model)).people,
        people.attack("IAM relative to reference models", relative.of(original)).people,
    )


def snapshots(people: People, before: Margins, after: Sequence[Margins]) -> Interval:
    """Return the AUC per person of an attacker who sees how far each image's margin moved, for one model at a time."""
    moved = [np.abs(mean_margins(before, *ATTACKED) - mean_margins(model, *ATTACKED)) for model in after]
    return people.attack("two snapshots", np.array(moved)).people
