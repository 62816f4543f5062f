"""Load the reported audit of every run once, and aggregate over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gli.auditing.conclusion import COLLAPSED, GUESS, NEAR
from gli.auditing.record import People, Record, Records, read_kept, read_people, restrict, split_people_in_half
from gli.auditing.resample import bootstrap_intervals
from gli.errors import DataError
from gli.metrics.registry import Score, scores_among
from gli.reporting import Select
from gli.runs.cost import read_cost
from gli.runs.membership import read_membership
from gli.runs.read import FIXED, WARMED, Run, best_audit

#: Methods that train from scratch. Their last audit is reported, because they have no iteration to select.
FROM_SCRATCH = ("Original", "Retrained")
#: Name of the audit of the originals, as in :data:`gli.auditing.fleet_audit.NO_UNLEARNING`.
NO_UNLEARNING = "No unlearning"
#: The kinds that the paper's Table 3 compares, in its order.
WARM_UP_KINDS = ("LI", FIXED, WARMED)
State = Literal["reported", "best", "end"]


@dataclass(frozen=True)
class Result:
    """The audit of a run that is reported, with everything that a report reads from the run's folder.

    Attributes:
        run: The run that all numbers come from.
        label: Name of the result in tables; results of one label are aggregated.
        iteration: Iteration of the audit.
        scores: Scores of the audit.
        intervals: For each score its 95 % bootstrap confidence interval; empty where none was asked for.
        cost: What the run cost; empty for an original that an unlearning run started from.
        records: What the run kept of the reported audit, and of those in the states that were asked for.
        reported_half: Masks of the images that are reported; None for all.
        caution: Why the scores are not those of a report, in a sentence; empty if they are.
    """

    run: Run
    label: str
    iteration: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    records: Records | None = None
    reported_half: Mapping[str, npt.NDArray[np.bool_]] | None = None
    caution: str = ""

    def iteration_at(self, state: State) -> int:
        """Return the iteration of the run's audit in a state; that of the original is always 0."""
        if state == "reported" or self.label == "Original":
            return self.iteration
        row = audit_in_state(self.run, self.run.rows, last=state == "end")
        return self.iteration if row is None else int(row["iteration"])


@dataclass(frozen=True)
class Summary:
    """The results of one label, aggregated.

    Attributes:
        label: The label.
        results: One result per run.
        mean: Mean of each score over the runs, in the order of tables.
        spread: Standard deviation of each score over the runs; NaN for a single run.
        gap: Difference of each mean from that of the retrained model; empty where there is none.
    """

    label: str
    results: Sequence[Result]
    mean: Mapping[str, float]
    spread: Mapping[str, float]
    gap: Mapping[str, float]


# -- one audit per run -------------------------------------------------------------------------------------------------


def load_results(
    run: Run,
    select: Select = "final_score",
    label: str = "",
    resamples: int = 0,
    original: bool = False,
    states: Collection[State] = (),
) -> Iterator[Result]:
    """Read the folder of a run, and yield the audit that is reported.

    Args:
        run: The run.
        select: ``final_score`` selects by the final score on the sets that are reported, as the released code does;
            ``held_out`` by that on half of the test and unseen people, and reports the other half; ``end`` takes the
            last audit, so that nothing is selected on people.
        label: Name of the result; the method's name by default.
        resamples: Number of bootstrap resamples for the confidence intervals; 0 for none.
        original: Whether to yield first the audit of the original model that an unlearning run started from, that of
            iteration 0.
        states: States of the run whose records are kept as well.

    Raises:
        DataError: If no audit has a final score, the record of an audit is needed and was not kept, or a file is
            damaged.
    """
    rows: Sequence[Mapping[str, float]] = run.rows
    records, reported_half = None, None
    if select == "held_out":
        chosen_by, reported_half = split_people_in_half(read_people(run.folder))
        records = read_kept(run.folder)
        rows = [{"iteration": float(audit.iteration), **audit.scores(chosen_by)} for audit in records.audits.values()]
    selected = audit_in_state(run, rows, last=select == "end")
    in_states = (audit_in_state(run, run.rows, last=state == "end") for state in states if state != "reported")
    wanted = {int(row["iteration"]) for row in (selected, *in_states, run.rows[0] if original else None) if row}
    if records is None:
        records = read_kept(run.folder, wanted)
    records = replace(records, audits={number: audit for number, audit in records.audits.items() if number in wanted})
    result = Result(run, label or run.method, 0, {}, {}, {}, records, reported_half, _caution(run.folder))
    if original:
        yield _of_row(replace(result, label="Original"), run.rows[0], resamples)
    if selected is None:
        raise DataError(
            f"{run.folder}: no audit after iteration 0 has a final score. Look at metrics.csv there: the run may have "
            "been stopped before its first audit, or its losses may not be finite."
        )
    yield _of_row(replace(result, cost=read_cost(run.folder)), selected, resamples)


def audit_in_state(run: Run, rows: Sequence[Mapping[str, float]], last: bool) -> Mapping[str, float] | None:
    """Return the last or the best audit of a run; None where no audit after iteration 0 has a final score.

    Of a model that was trained from scratch it is always the last.
    """
    if run.method in FROM_SCRATCH:
        return rows[-1] if rows else None
    best = best_audit(rows)
    return rows[-1] if last and best is not None else best


def _of_row(result: Result, row: Mapping[str, float], resamples: int) -> Result:
    """Complete a result with a row's own scores, or with those of the people who are reported."""
    result = replace(
        result,
        iteration=int(row["iteration"]),
        scores={name: value for name, value in row.items() if name != "iteration"},
    )
    if result.reported_half is None and not resamples:
        return result
    audit, people = record_of(result, result.iteration)
    scores = result.scores if result.reported_half is None else audit.scores()
    return replace(result, scores=scores, intervals=bootstrap_intervals(audit, people, resamples) if resamples else {})


def record_of(result: Result, iteration: int, whole: bool = False) -> tuple[Record, People]:
    """Return an audit of a result's run and the identities on its images; DataError if the record was not kept.

    ``whole`` asks for all people even if only half of them are reported.
    """
    if result.records is None:
        raise DataError(f"{result.run.folder}: its records were not read.")
    audit, people = result.records.audit(iteration), result.records.people
    if whole or result.reported_half is None:
        return audit, people
    return audit.restricted(result.reported_half), restrict(people, result.reported_half)


def _caution(folder: Path) -> str:
    """Return why the scores of a run are not those of a report: unseen people may be members, or it is a rehearsal."""
    try:
        membership = read_membership(folder)
    except DataError as error:
        return str(error)
    if membership is None:
        return ""
    sentences = [membership.warning] if membership.reasons else []
    if membership.rehearsal:
        sentences.append("This is a rehearsal, to choose settings by; its people are not those to be reported.")
    return f"{folder}: {' '.join(sentences)}" if sentences else ""


# -- many runs ---------------------------------------------------------------------------------------------------------


def labels(runs: Sequence[Run]) -> dict[Path, str]:
    """Return the label of each run by its folder: its method, and the settings in which runs of that method differ."""
    names = {}
    for run in runs:
        alike = [peer for peer in runs if (peer.method, peer.data) == (run.method, run.data)]
        shared = set.intersection(*(set(peer.settings) for peer in alike))
        differing = sorted(name for name in shared if len({repr(peer.settings[name]) for peer in alike}) > 1)
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
    states: Collection[State] = (),
) -> tuple[list[Result], list[str]]:
    """Return the reported audit of every run, and of the original of each seed.

    Args:
        runs: The runs.
        select: See :func:`load_results`.
        resamples: Number of bootstrap resamples for the confidence intervals of each result; 0 for none.
        tick: Called with 1 after each run.
        states: States of the runs whose records are kept, for comparisons.

    Returns:
        The results in the order of the table, and a message for every run without a result.
    """
    label_of = labels(runs)
    with_original = {(run.data, run.seed) for run in runs if run.method == "Original"}
    results: list[Result] = []
    failed: list[str] = []
    for run in sorted(runs, key=lambda run: (run.method not in FROM_SCRATCH, run.method, run.seed, str(run.folder))):
        audited_original = run.method not in FROM_SCRATCH and run.rows[0]["iteration"] == 0
        original = audited_original and (run.data, run.seed) not in with_original
        try:
            for result in load_results(run, select, label_of[run.folder], resamples, original, states):
                results.append(result)
                if result.label == "Original":
                    with_original.add((run.data, run.seed))
        except DataError as error:
            failed.append(str(error))
        tick(1)
    order = {label: place for place, label in enumerate(FROM_SCRATCH)}
    results.sort(key=lambda result: (order.get(result.label, len(order)), result.label, result.run.seed))
    return results, failed


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Aggregate the results of each label: mean, standard deviation, and difference from the retrained model."""
    by_label: dict[str, list[Result]] = {}
    for result in results:
        by_label.setdefault(result.label, []).append(result)
    available = sorted({name for result in results for name in result.scores})
    names = [score.name for score in scores_among(available, "report")]
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


def reported_scores(summaries: Sequence[Summary]) -> list[Score]:
    """Return the scores of the report's table of methods that any of the results has."""
    return scores_among(list(summaries[0].mean), "report") if summaries else []


def _values(results: Sequence[Result], name: str) -> list[float]:
    return [result.scores.get(name, math.nan) for result in results]


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else math.nan


def warm_up(results: Sequence[Result]) -> list[Result]:
    """Return the results that the paper's Table 3 compares: LI, GLI with a fixed weight, and GLI with a warm-up.

    The list is empty where either kind of GLI is missing.
    """
    compared = [result for result in results if result.run.kind in WARM_UP_KINDS and result.label != "Original"]
    if not {FIXED, WARMED} <= {result.run.kind for result in compared}:
        return []
    return sorted(compared, key=lambda result: WARM_UP_KINDS.index(result.run.kind))


def forgot(summary: Summary, summaries: Sequence[Summary]) -> bool:
    """Return whether a method went at least half of the way to forgetting, with at least half of the accuracy left.

    The way is that from the original's MIA accuracy to the retrained model's, or to that of an attacker who guesses.
    """
    means = {each.label: each.mean for each in summaries}
    before, target = means.get("Original"), means.get("Retrained", {}).get("mia_accuracy", GUESS)
    if before is None:
        return True
    near = max(NEAR, abs(before["mia_accuracy"] - target) / 2)
    kept = summary.mean["accuracy"] >= COLLAPSED * before["accuracy"]
    return kept and abs(summary.mean["mia_accuracy"] - target) <= near


def ranks(summaries: Sequence[Summary], score: Score) -> dict[str, int]:
    """Return the labels of the best (1) and second best (2) methods by a score, among those that forgot.

    Models trained from scratch and means that are NaN take no rank; a score without a direction ranks nothing.
    """
    means = [
        (-score.sign * summary.mean[score.name], summary.label)
        for summary in summaries
        if score.sign and summary.label not in FROM_SCRATCH and not math.isnan(summary.mean[score.name])
        if forgot(summary, summaries)
    ]
    return {label: rank for rank, (_, label) in enumerate(sorted(means)[:2], start=1)}
