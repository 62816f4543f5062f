"""The audit of one unlearned model with a few reference models: RMIA, IAM, KLoM, two snapshots, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.audit.attacks import Attack, Exposure, attack
from gli.audit.inside import InsideAudit
from gli.audit.record import check_people, read_people
from gli.audit.references import Fleet, read_model
from gli.audit.verdict import MARGIN, Verdict, judge
from gli.errors import DataError
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.intervals import Interval, Trials, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.rmia import calibrate, likelihood_ratios, log_confidence, rmia_scores
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN
from gli.runs.cost import read_cost

Array = npt.NDArray[np.float64]
SETS = ("forget", "unseen", "test")
LEAST_REFERENCES = 3


@dataclass(frozen=True)
class Model:
    """The margins that a run recorded at one of its audits.

    Attributes:
        margins: For each evaluation set, shape ``(images, labels)``.
        accuracy: Test accuracy.
    """

    margins: dict[str, Array]
    accuracy: float

    def log_p(self, name: str) -> Array:
        """Return log p(label | image) of a set, summed over labels, shape ``(images,)``."""
        return np.asarray(log_confidence(self.margins[name]).sum(axis=1))

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
        negative: RMIA on the reference models, each with the others as references, per person.
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


def _one_model(sizes: tuple[int, int], people: npt.NDArray[np.int64], names: tuple[str, ...]) -> Fleet:
    """Return a fleet of one model whose images are those of forget and of unseen; the attacks here need no margins."""
    states = np.repeat([FORGOTTEN, NEVER_SEEN], sizes)[None]
    return Fleet(np.full((*states.shape, 1), np.nan), states, people, names, np.zeros(1, np.int64), np.full(1, np.nan))


def _rmia(target: Model, references: Sequence[Model], a: float) -> Array:
    """Return RMIA's score of each forget and unseen image, with the test images as population."""

    def ratios(name: str) -> Array:
        return likelihood_ratios(target.log_p(name), np.array([model.log_p(name) for model in references]), a)

    population = ratios("test")
    return np.concatenate([rmia_scores(ratios(name), population) for name in ("forget", "unseen")])


def _iam(target: Model, original: Model, references: Sequence[Model], fleet: Fleet) -> Interval:
    """Return the AUC per person of IAM."""
    sets = ("forget", "unseen")
    out = np.array([model.margin(*sets) for model in references])
    return attack(iam_scores(target.margin(*sets), original.margin(*sets), out)[None], fleet).people


def _snapshots(before: Model, after: Sequence[Model], fleet: Fleet) -> Interval:
    """Return the AUC per person of an attacker who sees how far each image's margin moved, on average over models."""
    moved = [np.abs(before.margin("forget", "unseen") - model.margin("forget", "unseen")) for model in after]
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
        inside: What its weights give away, see :mod:`gli.audit.inside`.

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
    names, people = np.unique(np.concatenate([identities["forget"], identities["unseen"]]), return_inverse=True)
    sizes = len(identities["forget"]), len(identities["unseen"])
    one = _one_model(sizes, people, tuple(names.tolist()))
    out = {each: np.array([model.log_p(each) for model in models]) for each in SETS}
    a = calibrate(original.log_p("forget"), original.log_p("unseen"), out["forget"], out["unseen"])
    privacy = attack(_rmia(unlearned, models, a)[None], one)
    positive = attack(_rmia(original, models, a)[None], one).people
    others = [_rmia(model, [*models[:number], *models[number + 1 :]], a) for number, model in enumerate(models)]
    # The same people are forgotten in all references, so the mean score of a person is one trial.
    negative = attack(np.mean(others, axis=0)[None], one).people
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
        _iam(unlearned, original, models, one),
        _iam(original, original, models, one),
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
