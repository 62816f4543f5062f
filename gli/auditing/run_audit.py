"""The audit of one unlearned model with a few reference models: RMIA, IAM, KLoM, two snapshots, and its weights.

A score counts relative to what reference models get for the same image: the forgotten and the never seen people of a
published split differ, and an attack on the plain score tells them apart in a model that saw neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.auditing.attacks import Attack, Exposure, attack
from gli.auditing.few_references import ATTACKED, LEAST_REFERENCES, fleet_of, log_p, rmia_of_sets
from gli.auditing.inside import InsideAudit
from gli.auditing.record import check_people, read_people
from gli.auditing.references import Fleet, read_model
from gli.auditing.verdict import MARGIN, Verdict, judge
from gli.errors import DataError
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.intervals import Interval, Trials, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.rmia import calibrate
from gli.runs.cost import read_cost

Array = npt.NDArray[np.float64]
SETS = (*ATTACKED, "test")


@dataclass(frozen=True)
class Model:
    """The margins that a run recorded at one of its audits.

    Attributes:
        margins: For each evaluation set, shape ``(images, labels)``.
        accuracy: Test accuracy.
    """

    margins: dict[str, Array]
    accuracy: float

    @cached_property
    def log_ps(self) -> dict[str, Array]:
        """Log p(label | image) of each set, summed over labels, shape ``(images,)`` each."""
        return {name: log_p(margins) for name, margins in self.margins.items()}

    def log_p(self, name: str) -> Array:
        """Return log p(label | image) of a set, summed over labels, shape ``(images,)``."""
        return self.log_ps[name]

    def margin(self, *names: str) -> Array:
        """Return the margins of some sets one after the other, mean over labels, shape ``(images,)``."""
        return np.concatenate([self.margins[name].mean(axis=1) for name in names])


@dataclass(frozen=True)
class RunAudit:
    """The audit of one unlearned model.

    Attributes:
        name: The method.
        run: Folder of the run.
        privacy: RMIA on the unlearned model.
        positive: RMIA on the original, per person.
        negative: RMIA on the reference models, each compared with the others, per person.
        verdict: The verdict on ``privacy``.
        memory: Degree of memory of the forgotten people: 1 as the original, 0 as retrained.
        klom: Excess KLoM of forgotten and of never seen images, mean over people.
        snapshots: AUC per person of an attacker who compares the model with the original.
        snapshots_control: The same with a reference in place of the unlearned model.
        exposed: The people, the most exposed first.
        accuracy: Test accuracy.
        a: Correction of RMIA for OUT references only, calibrated on the original.
        references: Number of reference models.
        iam: AUC per person of IAM, which interpolates between the original and the references.
        iam_original: The same on the original.
        inside: What the weights give away beyond the answers; None if that was not audited.
    """

    name: str
    run: Path
    privacy: Attack
    positive: Interval
    negative: Interval
    verdict: Verdict
    memory: float
    klom: dict[str, Interval]
    snapshots: Interval
    snapshots_control: Interval
    exposed: list[Exposure]
    accuracy: float
    a: float
    references: int
    iam: Interval
    iam_original: Interval
    inside: InsideAudit | None = None


def read_run_model(run: Path, iteration: int | None = None) -> Model:
    """Return the margins of an audit of a run; None for its last audit.

    Raises:
        DataError: If there is no such record.
    """
    audit, _, margins = read_model(run, iteration)
    check_people(run, audit, read_people(run))
    if not all(np.isfinite(margins[name]).all() for name in SETS):
        raise DataError(f"{run}: outputs of iteration {audit.iteration} are not finite: the model has diverged.")
    return Model({name: margins[name] for name in SETS}, float(audit.values["test"]["accuracy"].mean()))


def check_finished(run: Path) -> None:
    """Refuse a run that cannot be audited, before any reference model is trained.

    Raises:
        DataError: If the run did not reach its end, or has no usable records of its original and of its end.
    """
    audit, _, _ = read_model(run)
    if not read_cost(run) or audit.iteration == 0:
        raise DataError(f"{run}: this run has not reached its end. Continue it with --ckpt_path last.")
    read_run_model(run)
    read_run_model(run, 0)


def _rmia(target: Model, references: Sequence[Model], a: float) -> Array:
    """Return RMIA's score of each forget and unseen image, with the test images as population."""
    return rmia_of_sets(target.log_ps, [model.log_ps for model in references], a)


def _iam(target: Model, references: Sequence[Model], original: Model) -> Array:
    """Return IAM's score of each forget and unseen image."""
    out = np.array([model.margin(*ATTACKED) for model in references])
    return iam_scores(target.margin(*ATTACKED), original.margin(*ATTACKED), out)


class _Relative:
    """Scores of an attack less those that reference models get, each with the others as its references.

    Forgotten and never seen people may differ (in age, say), and an attack would tell the ones from the others even in
    a model that saw neither. What a retrained model scores is what a score has to be compared with.
    """

    def __init__(self, score: Callable[[Model, Sequence[Model]], Array], models: Sequence[Model]) -> None:
        self._score, self._models = score, models
        self._own = np.array(
            [score(model, [*models[:number], *models[number + 1 :]]) for number, model in enumerate(models)]
        )

    def of(self, target: Model) -> Array:
        """Return the scores of a model, shape ``(1, images)``."""
        return np.asarray(self._score(target, self._models) - self._own.mean(axis=0))[None]

    def of_references(self) -> Array:
        """Return the scores of each reference, compared with the others, shape ``(references, images)``."""
        count = len(self._own)
        return np.asarray((self._own - self._own.mean(axis=0)) * count / (count - 1))


def _snapshots(before: Model, after: Sequence[Model], fleet: Fleet) -> Interval:
    """Return the AUC per person of an attacker who sees how far each image's margin moved, on average over models."""
    moved = [np.abs(before.margin(*ATTACKED) - model.margin(*ATTACKED)) for model in after]
    return attack(np.mean(moved, axis=0)[None], fleet).people


def audit_run(
    name: str,
    run: Path,
    references: Sequence[Path],
    margin: float = MARGIN,
    inside: InsideAudit | None = None,
) -> RunAudit:
    """Audit the last model of a run.

    Args:
        name: The method.
        run: Folder of the run.
        references: Folders of runs of retrained models of the same data, at least three.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
        inside: What its weights give away, see :mod:`gli.auditing.inside`.

    Raises:
        DataError: If there are too few references, a record is missing, or the images differ.
    """
    if len(references) < LEAST_REFERENCES:
        raise DataError(f"{len(references)} reference models are too few for an audit; use --references 3 or more.")
    unlearned, original = read_run_model(run), read_run_model(run, 0)
    models = [read_run_model(folder) for folder in references]
    identities = read_people(run)
    for folder in references:
        if any(not np.array_equal(read_people(folder)[each], identities[each]) for each in SETS):
            raise DataError(f"{folder}: this reference was audited on other images than {run}. Remove it.")
    one, several = (fleet_of(identities, count) for count in (1, len(models)))
    out = {each: np.array([model.log_p(each) for model in models]) for each in ATTACKED}
    a = calibrate(original.log_p("forget"), original.log_p("unseen"), out["forget"], out["unseen"])
    rmia = _Relative(lambda target, others: _rmia(target, others, a), models)
    iam = _Relative(lambda target, others: _iam(target, others, original), models)
    privacy = attack(rmia.of(unlearned), one)
    positive = attack(rmia.of(original), one).people
    negative = attack(rmia.of_references(), several).people
    mean = np.mean([model.margin("forget") for model in models], axis=0)
    klom = {}
    for key, each in (("forgotten", "forget"), ("never seen", "unseen")):
        distances, floor = excess_klom(unlearned.margin(each)[None], np.array([model.margin(each) for model in models]))
        numbers = np.unique(identities[each], return_inverse=True)[1]
        klom[key] = mean_interval(people_means(distances - floor, numbers)[0])
    return RunAudit(
        name,
        run,
        privacy,
        positive,
        negative,
        judge(privacy.people, positive, negative, margin),
        degree_of_memory(unlearned.margin("forget"), original.margin("forget"), mean),
        klom,
        _snapshots(original, [unlearned], one),
        _snapshots(original, models, one),
        _exposed(privacy.trials, one.names),
        unlearned.accuracy,
        a,
        len(models),
        attack(iam.of(unlearned), one).people,
        attack(iam.of(original), one).people,
        inside,
    )


def _exposed(trials: Trials, names: Sequence[str]) -> list[Exposure]:
    """Return the forgotten people, those first whose score is farthest from the people who were never seen."""
    strangers = trials.scores[~trials.positive]
    forgotten = [
        Exposure(
            names[person],
            float((score > strangers).mean() + (score == strangers).mean() / 2),
            float(score - strangers.mean()),
            1,
        )
        for score, person in zip(trials.scores[trials.positive], trials.people[trials.positive], strict=True)
    ]
    return sorted(forgotten, key=lambda person: (-abs(person.score), person.name))
