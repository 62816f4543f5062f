"""The audit of runs by their records: run folders as input of :func:`gli.auditing.reference_audit.audit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gli.auditing import LEAST_REFERENCES, UPRIGHT
from gli.auditing.inside import InsideAudit, leaks
from gli.auditing.record import check_people, margins_by_view, read_model, read_people
from gli.auditing.reference_audit import SETS, Audit, Distances, Views, audit, measure_distances
from gli.auditing.verdict import MARGIN, Verdict
from gli.errors import DataError
from gli.runs.cost import read_cost


@dataclass(frozen=True)
class Weights:
    """What was measured on the weights of a run."""

    model: Views  # Margins of the audited model in other views than the upright one, which its record has.
    original: Views  # Those of its original; none if it is not at hand.
    references: Sequence[Views]  # Those of the reference models.
    inside: InsideAudit | None = None  # Leaks of the weights beyond the outputs; None if that was not audited.


@dataclass(frozen=True)
class RunAudit:
    """The audit of the unlearned model of a run."""

    name: str  # The method.
    run: Path  # Folder of the run.
    audit: Audit  # The attack and its verdict.
    distances: Distances  # Distances from the original and from the references.
    accuracy: float  # Test accuracy.
    #: Scores of the weights, beyond the outputs; None if the weights were not audited.
    inside: InsideAudit | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the attack; a model that passes it fails if its weights give people away."""
        verdict, found = self.audit.verdict, [] if self.inside is None else leaks(self.inside)
        if not found or verdict.answer == "fail":
            return verdict
        return Verdict("fail", f"The weights still hold the people ({'; '.join(found)}). {verdict.sentence}")


def read_margins(run: Path, iteration: int | None = None) -> tuple[Views, float]:
    """Return the margins by view and the test accuracy of an audit of a run; None for its last audit.

    Raises:
        DataError: If there is no such record, or the model has diverged.
    """
    record, _, _ = read_model(run, iteration)
    margins = margins_by_view(record)
    check_people(run, record, read_people(run))
    if not all(np.isfinite(margins[UPRIGHT][name]).all() for name in SETS):
        raise DataError(f"{run}: outputs of iteration {record.iteration} are not finite: the model has diverged.")
    return margins, float(record.values["test"]["accuracy"].mean())


def check_finished(run: Path) -> None:
    """Refuse a run without usable records of its original and its end, before any reference model is trained."""
    record, _, _ = read_model(run)
    if not read_cost(run) or record.iteration == 0:
        raise DataError(f"{run}: this run has not reached its end. Continue it with --ckpt_path last.")
    read_margins(run)
    read_margins(run, 0)


def audit_run(
    name: str,
    run: Path,
    references: Sequence[Path],
    margin: float = MARGIN,
    weights: Weights | None = None,
) -> RunAudit:
    """Audit the last model of a run against at least three retrained models of the same data.

    ``weights`` is what was measured on the weights; None for an audit of the upright view, by the records alone. Raises
    DataError if there are too few references, a record is missing, or the images differ.
    """
    if len(references) < LEAST_REFERENCES:
        raise DataError(f"{len(references)} reference models are too few for an audit; use --references 3 or more.")
    people = read_people(run)
    for folder in references:
        identities = read_people(folder)
        if any(not np.array_equal(identities[subset], people[subset]) for subset in SETS):
            raise DataError(f"{folder}: this reference was audited on other images than {run}. Remove it.")
    (model, accuracy), (original, _) = read_margins(run), read_margins(run, 0)
    out = [read_margins(folder)[0] for folder in references]
    upright = model[UPRIGHT], original[UPRIGHT], [each[UPRIGHT] for each in out]
    distances, inside = measure_distances(people, *upright), None
    if weights is not None:
        model, original, inside = {**model, **weights.model}, {**original, **weights.original}, weights.inside
        out = [{**recorded, **measured} for recorded, measured in zip(out, weights.references, strict=True)]
    return RunAudit(name, run, audit(people, model, original, out, margin), distances, accuracy, inside)
