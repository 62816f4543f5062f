"""Select one audit per run, and aggregate over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.auditing.best import best_audit
from gli.auditing.record import (
    Audit,
    People,
    check_people,
    read_people,
    read_record,
    read_records,
    split_people_in_half,
)
from gli.auditing.resample import bootstrap_intervals
from gli.errors import DataError
from gli.metrics.registry import Score, scores_among
from gli.reporting.selections import Select
from gli.runs.cost import read_cost
from gli.runs.read import FIXED, Run

#: Methods that train from scratch. Their last audit is reported, because they have no iteration to select.
FROM_SCRATCH = ("Original", "Retrained")
#: The kinds that the paper's Table 3 compares, in its order.
WARM_UP_KINDS = ("LI", FIXED, "GLI")
Masks = Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Result:
    """The audit of a run that is reported.

    Attributes:
        run: The run that all numbers come from.
        label: Name of the result in tables; results of one label are aggregated.
        iteration: Iteration of the audit.
        scores: Scores of the audit.
        intervals: For each score its 95 % bootstrap confidence interval; empty where none was asked for.
    """

    run: Run
    label: str
    iteration: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def cost(self) -> Mapping[str, Any]:
        """What the run cost; empty for an original that an unlearning run started from."""
        trained_here = self.label != "Original" or self.run.method == "Original"
        return read_cost(self.run.folder) if trained_here else {}


@dataclass(frozen=True)
class Summary:
    """The results of one label, aggregated.

    Attributes:
        label: The label.
        results: One result per run.
        mean: Mean of each score over the runs.
        spread: Standard deviation of each score over the runs; NaN for a single run.
        gap: Difference of each mean from that of the retrained model; empty where there is none.
    """

    label: str
    results: Sequence[Result]
    mean: Mapping[str, float]
    spread: Mapping[str, float]
    gap: Mapping[str, float]


# -- one audit per run -------------------------------------------------------------------------------------------------


def select_audit(run: Run, select: Select = "final_score", label: str = "", resamples: int = 0) -> Result:
    """Return the audit of a run that is reported.

    Args:
        run: The run.
        select: ``final_score`` selects by the final score on the sets that are reported, as the released code does;
            ``held_out`` by that on half of the test and unseen people, and reports the other half; ``end`` takes the
            last audit, so that nothing is selected on people.
        label: Name of the result; the method's name by default.
        resamples: Number of bootstrap resamples for the confidence intervals; 0 for none.

    Raises:
        DataError: If no audit has a final score, or the record of an audit is needed and was not kept.
    """
    rows: Sequence[Mapping[str, float]] = run.rows
    reported: Masks | None = None
    if select == "held_out":
        people = read_people(run.folder)
        chosen_by, reported = split_people_in_half(people)
        audits = read_records(run.folder)
        for audit in audits:
            check_people(run.folder, audit, people)
        rows = [{"iteration": float(audit.iteration), **audit.scores(chosen_by)} for audit in audits]
    row = audit_in_state(run, rows, last=select == "end")
    if row is None:
        raise DataError(
            f"{run.folder}: no audit after iteration 0 has a final score. Look at metrics.csv there: the run may have "
            "been stopped before its first audit, or its losses may not be finite."
        )
    return _result(run, label or run.method, row, reported, resamples)


def audit_in_state(run: Run, rows: Sequence[Mapping[str, float]], last: bool) -> Mapping[str, float] | None:
    """Return the last or the best audit of a run; None where no audit after iteration 0 has a final score.

    Of a model that was trained from scratch it is always the last.

    Args:
        run: The run.
        rows: Its audits.
        last: Whether to take the last audit, not the best.
    """
    if run.method in FROM_SCRATCH:
        return rows[-1] if rows else None
    best = best_audit(rows)
    return rows[-1] if last and best is not None else best


def audit_of_original(run: Run, select: Select = "final_score", resamples: int = 0) -> Result:
    """Return the audit of the original model that an unlearning run started from: that of iteration 0.

    Args:
        run: The run.
        select: See :func:`select_audit`.
        resamples: Number of bootstrap resamples for the confidence intervals; 0 for none.

    Raises:
        DataError: If the record of the audit is needed and was not kept.
    """
    reported = split_people_in_half(read_people(run.folder))[1] if select == "held_out" else None
    return _result(run, "Original", run.rows[0], reported, resamples)


def _result(run: Run, label: str, row: Mapping[str, float], reported: Masks | None, resamples: int) -> Result:
    """Return the result for a selected row: the row's own scores, or those of the reported people."""
    iteration = int(row["iteration"])
    scores = {name: value for name, value in row.items() if name != "iteration"}
    intervals: dict[str, tuple[float, float]] = {}
    if reported is not None or resamples:
        audit, people = record_of(run, iteration)
        if reported is not None:
            audit, people = restrict(audit, people, reported)
            scores = audit.scores()
        if resamples:
            intervals = bootstrap_intervals(audit, people, resamples)
    return Result(run, label, iteration, scores, intervals)


def record_of(run: Run, iteration: int) -> tuple[Audit, People]:
    """Return the record of an audit and the identities on its images.

    Raises:
        DataError: If the record was not kept, or does not agree with the identities.
    """
    audit = read_record(run.folder, iteration)
    if audit is None:
        raise DataError(
            f"{run.folder}: the audit of iteration {iteration} was not kept. Run again with --audit.keep_losses true, "
            "or report with --select final_score and without --resamples and --compare."
        )
    people = read_people(run.folder)
    check_people(run.folder, audit, people)
    return audit, people


def restrict(audit: Audit, people: People, chosen: Mapping[str, npt.NDArray[Any]]) -> tuple[Audit, People]:
    """Return an audit and the identities on its images, restricted to some images, as masks or row numbers."""
    kept = {name: owners[chosen[name]] if name in chosen else owners for name, owners in people.items()}
    return audit.restricted(chosen), kept


# -- many runs ---------------------------------------------------------------------------------------------------------


def labels(runs: Sequence[Run]) -> dict[Path, str]:
    """Return the label of each run by its folder: its method, and the settings in which runs of that method differ."""
    names = {}
    for run in runs:
        alike = [other for other in runs if (other.method, other.data) == (run.method, run.data)]
        shared = set.intersection(*(set(other.settings) for other in alike))
        differing = sorted(name for name in shared if len({repr(other.settings[name]) for other in alike}) > 1)
        values = ", ".join(f"{name.partition('.')[2]} {_short(run.settings[name])}" for name in differing)
        names[run.folder] = f"{run.method} ({values})" if values else run.method
    return names


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def collect_results(
    runs: Sequence[Run],
    select: Select = "final_score",
    resamples: int = 0,
    tick: Callable[[int], None] = lambda count: None,
) -> tuple[list[Result], list[str]]:
    """Return the reported audit of every run, and of the original of each seed.

    Args:
        runs: The runs.
        select: See :func:`select_audit`.
        resamples: Number of bootstrap resamples for the confidence intervals of each result; 0 for none.
        tick: Called with 1 after each run.

    Returns:
        The results in the order of the table, and a message for every run without a result.
    """
    label_of = labels(runs)
    with_original = {(run.data, run.seed) for run in runs if run.method == "Original"}
    results: list[Result] = []
    failed: list[str] = []
    for run in sorted(runs, key=lambda run: (run.method not in FROM_SCRATCH, run.method, run.seed, str(run.folder))):
        audited_original = run.method not in FROM_SCRATCH and run.rows[0]["iteration"] == 0
        try:
            if audited_original and (run.data, run.seed) not in with_original:
                with_original.add((run.data, run.seed))
                results.append(audit_of_original(run, select, resamples))
            results.append(select_audit(run, select, label_of[run.folder], resamples))
        except DataError as error:
            failed.append(str(error))
        tick(1)
    places = {name: place for place, name in enumerate(FROM_SCRATCH)}
    last = len(places)
    results.sort(key=lambda result: (places.get(result.label, last), result.label, result.run.seed))
    return results, failed


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Aggregate the results of each label: mean, standard deviation, and difference from the retrained model."""
    by_label: dict[str, list[Result]] = {}
    for result in results:
        by_label.setdefault(result.label, []).append(result)
    names = [score.name for score in reported_scores(results)]
    means = {
        label: {name: statistics.fmean(_values(group, name)) for name in names} for label, group in by_label.items()
    }
    retrained = means.get("Retrained", {})
    return [
        Summary(
            label,
            group,
            mean=means[label],
            spread={name: _deviation(_values(group, name)) for name in names},
            gap={name: means[label][name] - retrained[name] for name in retrained},
        )
        for label, group in by_label.items()
    ]


def reported_scores(results: Sequence[Result]) -> list[Score]:
    """Return the scores of the report's table of methods that any of the results has."""
    return scores_among(sorted({name for result in results for name in result.scores}), "report")


def _values(results: Sequence[Result], name: str) -> list[float]:
    return [result.scores.get(name, math.nan) for result in results]


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else math.nan


def warm_up(results: Sequence[Result]) -> list[Result]:
    """Return the results that the paper's Table 3 compares: LI, GLI with a fixed weight, and GLI with a warm-up.

    The list is empty where either kind of GLI is missing.
    """
    compared = [result for result in results if result.run.kind in WARM_UP_KINDS and result.label != "Original"]
    if not {FIXED, "GLI"} <= {result.run.kind for result in compared}:
        return []
    return sorted(compared, key=lambda result: WARM_UP_KINDS.index(result.run.kind))


def ranks(summaries: Sequence[Summary], score: Score) -> dict[str, int]:
    """Return the labels of the best (1) and second best (2) unlearning methods by a score.

    Models trained from scratch and means that are NaN take no rank; a score without a direction ranks nothing.
    """
    means = [
        (-score.sign * summary.mean[score.name], summary.label) for summary in summaries if _is_ranked(summary, score)
    ]
    return {label: rank for rank, (_, label) in enumerate(sorted(means)[:2], start=1)}


def _is_ranked(summary: Summary, score: Score) -> bool:
    return score.sign != 0 and summary.label not in FROM_SCRATCH and not math.isnan(summary.mean[score.name])
