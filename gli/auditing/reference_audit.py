"""The audit of one unlearned model: does an attack distinguish forgotten people from people who were never seen?

The attack that decides is RMIA relative to reference models, which were retrained without the forgotten people: the
score of an image counts less what the references get for it, each with the others as its references. Forgotten and
never seen people may differ (in age, say), and an attack on the plain score separates them even under a model trained
on neither. With fewer than three references, people are ranked by the margins of the audited model alone, and the
verdict says so.

``gli audit RUN``, ``gli.audit``, ``gli.forget``, ``gli erase run`` and ``gli erase rehearse`` all call :func:`audit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.auditing import LEAST_REFERENCES
from gli.auditing.verdict import MARGIN, Attack, Exposure, Verdict, attack, exposures, judge
from gli.errors import DataError
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.intervals import Interval, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.rmia import calibrate, likelihood_ratios, log_confidence, rmia_scores

Array = npt.NDArray[np.float64]
#: Margins of one model, ``log p - log(1 - p)``, for each set, shape ``(images, labels)``; one label if multi-class.
Margins = Mapping[str, Array]
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
    """The result of an audit of one model.

    Attributes:
        verdict: ``pass``, ``fail`` or ``cannot tell``, with a sentence.
        attack: The attack on the model: forgotten people against people who were never seen; None where the model has
            diverged.
        positive: AUC per person of the same attack on the original; None where no original was given.
        negative: AUC per person of the same attack on the reference models; None where none was given.
        memory: Degree of memory of the forgotten people: 1 as the original, 0 as retrained; NaN without either.
        exposed: The forgotten people, the most exposed first.
        a: Correction of RMIA for OUT references only; NaN where the attack is another.
        references: Number of reference models.
    """

    verdict: Verdict
    attack: Attack | None
    positive: Interval | None
    negative: Interval | None
    memory: float
    exposed: Sequence[Exposure]
    a: float
    references: int


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


def audit(
    identities: Mapping[str, npt.NDArray[Any]],
    model: Margins,
    original: Margins | None,
    references: Sequence[Margins],
    margin: float = MARGIN,
    a: float | None = None,
) -> Audit:
    """Audit a model by its outputs. A pure function; every entrance calls it.

    Args:
        identities: Identity on each image of ``forget`` and ``unseen``, shape ``(images,)`` each.
        model: Margins of the audited model for each of ``SETS``.
        original: Those of the model before unlearning, for the positive control and the calibration; None if it is not
            at hand.
        references: Those of models that were retrained without the forgotten people.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
        a: Correction of RMIA for OUT references only; None to calibrate it on the original.

    Raises:
        DataError: If nobody can be compared, or outputs of the original or of a reference are not finite.
    """
    people = People(identities)
    for kind, outputs in (("original", original), *(("reference", each) for each in references)):
        if outputs is not None and not _is_finite(outputs):
            raise DataError(f"Outputs of the {kind} model are not finite: it has diverged.")
    if not _is_finite(model):
        verdict = Verdict("cannot tell", "The model's outputs are not finite: it has diverged.")
        return Audit(verdict, None, None, None, math.nan, [], math.nan, len(references))
    relative = len(references) >= LEAST_REFERENCES
    scores_of: Callable[[Margins], Array]
    controls: Array | None
    if relative:
        name, correction = RMIA, calibrated(original, references) if a is None else a
        scores = Relative(lambda target, references: rmia(target, references, correction), references)
        scores_of, controls = scores.of, scores.of_references()
    else:
        name, correction, scores_of = MARGINS_ALONE, math.nan, _margins_alone
        controls = np.mean([_margins_alone(each) for each in references], axis=0) if references else None
    privacy = people.attack(name, scores_of(model))
    positive = None if original is None else people.attack(name, scores_of(original)).people
    negative = None if controls is None else people.attack(name, controls).people
    verdict = judge(privacy.people, positive or Interval(1.0, 1.0, 1.0, 0.0), negative, margin)
    if positive is None and verdict.answer == "pass":
        verdict = Verdict(
            "cannot tell",
            "Nothing was found, but without the original nobody knows whether the attack can find anything.",
        )
    if not relative:
        verdict = replace(verdict, sentence=verdict.sentence + WEAK)
    memory = math.nan
    if original is not None and references:
        mean = np.mean([mean_margins(each, "forget") for each in references], axis=0)
        memory = degree_of_memory(mean_margins(model, "forget"), mean_margins(original, "forget"), mean)
    exposed = exposures(privacy.trials, people.names)
    return Audit(verdict, privacy, positive, negative, memory, exposed, correction, len(references))


def _margins_alone(model: Margins) -> Array:
    return mean_margins(model, *ATTACKED)[None]


def _is_finite(model: Margins) -> bool:
    return all(bool(np.isfinite(model[name]).all()) for name in SETS)


def calibrated(original: Margins | None, references: Sequence[Margins]) -> float:
    """Return the correction of RMIA with which it finds the forgotten people in the original best."""
    if original is None:
        return DEFAULT_A
    out = {name: np.array([log_p(model[name]) for model in references]) for name in ATTACKED}
    return calibrate(log_p(original["forget"]), log_p(original["unseen"]), out["forget"], out["unseen"])


@dataclass(frozen=True)
class Distances:
    """What else an audit with references shows of one model; it decides nothing.

    Attributes:
        klom: Excess KLoM of ``forgotten`` and of ``never seen`` images, mean over people.
        snapshots: AUC per person of an attacker who compares the model with the original.
        snapshots_control: The same with the references in place of the unlearned model.
        iam: AUC per person of IAM, which interpolates between the original and the references.
        iam_original: The same on the original.
    """

    klom: Mapping[str, Interval]
    snapshots: Interval
    snapshots_control: Interval
    iam: Interval
    iam_original: Interval


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
    """Return the AUC per person of an attacker who sees how far each image's margin moved, on average over models."""
    moved = [np.abs(mean_margins(before, *ATTACKED) - mean_margins(model, *ATTACKED)) for model in after]
    return people.attack("two snapshots", np.mean(moved, axis=0)[None]).people
