"""Decide over seeds and people whether one method is better than another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gli.auditing.record import Audit, People, read_people, read_rows, split_people_in_half
from gli.auditing.resample import Pair, resampled_differences
from gli.errors import DataError
from gli.metrics.registry import EVALUATION_SETS
from gli.reporting.claims import STATES, Comparison, State
from gli.reporting.results import Result, audit_in_state, record_of, restrict
from gli.reporting.selections import Select

if TYPE_CHECKING:
    from gli.metrics.paired import Decision

#: Bootstrap resamples of the people for each comparison.
RESAMPLES = 200
Rows = Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Claims:
    """The claims that a report decides.

    Attributes:
        comparisons: The claims.
        names: In a benchmark, the name of the method or variant by the folder of its run: the names of the comparisons
            are then these, otherwise those of the table of methods.
    """

    comparisons: Sequence[Comparison] = ()
    names: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """A claim with its answer.

    Attributes:
        claim: The claim in words.
        of: Name of the method that is said to be better.
        baseline: Name of the one that it is compared with.
        score: Name of the score.
        at: State of the runs.
        answer: ``yes``, ``no`` or ``cannot tell``.
        difference: Mean difference over the seeds, first minus second; None where nothing could be compared.
        low: Lower limit of its 95 % confidence interval.
        high: Upper limit.
        seeds: Seeds that both have.
        left_out: Seeds that only one has.
        evidence: The numbers, or why there are none, in one or two sentences.
    """

    claim: str
    of: str
    baseline: str
    score: str
    at: State
    answer: Decision
    difference: float | None
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    evidence: str

    @property
    def sentence(self) -> str:
        """The claim, the answer and the evidence."""
        return f"{self.claim}: {self.answer}. {self.evidence}"

    @property
    def values(self) -> dict[str, Any]:
        """Everything as plain values, as in ``results.json``."""
        return {**asdict(self), "sentence": self.sentence}


# -- the answers ------------------------------------------------------------------------------------------------------


def decide_claims(
    claims: Claims,
    results: Sequence[Result],
    select: Select = "final_score",
    tick: Callable[[int], None] = lambda count: None,
) -> list[Compared]:
    """Decide claims over the seeds that both methods have, each once for every backbone.

    Args:
        claims: The claims.
        results: The results of the report.
        select: How the reported audits were selected, see :func:`gli.reporting.results.select_audit`.
        tick: Called with 1 after each claim.
    """
    compared = []
    for comparison in claims.comparisons:
        found = [_results_of(name, results, claims.names) for name in (comparison.of, comparison.baseline)]
        by_backbone = [_by_backbone(side) for side in found]
        shared = sorted(by_backbone[0].keys() & by_backbone[1].keys())
        if not shared:
            compared.append(_decided(comparison, comparison.sentence, found, select))
        for backbone in shared:
            claim = comparison.sentence + (f" ({backbone})" if len(shared) > 1 else "")
            compared.append(_decided(comparison, claim, [side[backbone] for side in by_backbone], select))
        tick(1)
    return compared


def _by_backbone(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(str(result.run.settings.get("model.backbone", "")), []).append(result)
    return groups


def _results_of(name: str, results: Sequence[Result], names: Mapping[Path, str]) -> list[Result]:
    """Return the results of an entry of a benchmark, or else of a row of the table, a kind of method or a class."""
    of_methods = [result for result in results if result.label != "Original"]
    own = [result for result in results if result.label == name]
    if names:
        return own if name == "Original" else [result for result in of_methods if names.get(result.run.folder) == name]
    for found in (
        own,
        [result for result in of_methods if result.run.kind == name],
        [result for result in of_methods if result.run.method == name],
    ):
        if found:
            return found
    return []


def _decided(comparison: Comparison, claim: str, sides: Sequence[Sequence[Result]], select: Select) -> Compared:
    """Return a claim with its answer, or with the reason why nothing can be compared."""
    from gli.metrics.paired import decide, paired_interval  # Loads SciPy.

    seeds: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    given = (comparison.of, comparison.baseline, comparison.score, comparison.at)
    try:
        first, second = (
            _by_seed(side, name) for side, name in zip(sides, (comparison.of, comparison.baseline), strict=True)
        )
        seeds, left_out = tuple(sorted(first.keys() & second.keys())), tuple(sorted(first.keys() ^ second.keys()))
        if not seeds:
            raise DataError(f"{comparison.of} and {comparison.baseline} have no seed in common.")
        pairs = [_pair_of(first[seed], second[seed], comparison.at, select) for seed in seeds]
        differences = np.array([pair.difference(comparison.score) for pair in pairs])
        lacking = [str(seed) for seed, value in zip(seeds, differences, strict=True) if not np.isfinite(value)]
        if lacking:
            raise DataError(f"The records of seed {', '.join(lacking)} have no {comparison.scored.heading}.")
        resampled = resampled_differences(pairs, comparison.score, RESAMPLES)
        counts = [len(np.unique(pair.people[name])) for pair in pairs for name in EVALUATION_SETS]
        interval = paired_interval(differences, resampled, min(counts))
    except (DataError, ValueError) as error:
        return Compared(claim, *given, "cannot tell", None, None, None, seeds, left_out, f"Nothing to compare: {error}")
    answer = decide(interval, len(seeds), comparison.scored.sign)
    evidence = _evidence(comparison, interval.value, interval.low, interval.high, pairs, seeds)
    if left_out:
        evidence += f" Left out, because only one of the two has it: seed {', '.join(map(str, left_out))}."
    return Compared(claim, *given, answer, interval.value, interval.low, interval.high, seeds, left_out, evidence)


def _evidence(
    comparison: Comparison, value: float, low: float, high: float, pairs: Sequence[Pair], seeds: Sequence[int]
) -> str:
    """Return the numbers of a comparison in a sentence."""
    score = comparison.scored
    better = {1: "higher is better", -1: "lower is better", 0: score.note or "no direction is better"}[score.sign]
    sets = [frozenset(np.concatenate([pair.people[name] for name in EVALUATION_SETS]).tolist()) for pair in pairs]
    alike = len(seeds) > 1 and any(a & b for place, a in enumerate(sets) for b in sets[:place])
    if len(seeds) == 1:
        over = f"over people only: seed {seeds[0]} alone decides nothing about other seeds"
    else:
        people = "the people, who are the same in all seeds" if alike else "the people of each"
        over = f"over the seeds {', '.join(map(str, seeds))} and {people}"
    return (
        f"{score.heading[0].upper()}{score.heading[1:]} {STATES[comparison.at]}, {comparison.of} minus "
        f"{comparison.baseline}: {value:+.3f} [{low:+.3f}, {high:+.3f}] ({better}; 95 % interval {over})."
    )


def _by_seed(results: Sequence[Result], name: str) -> dict[int, Result]:
    """Return the result of each seed.

    Raises:
        DataError: If there is none, or a seed has several.
    """
    if not results:
        raise DataError(f"there is no result of {name}.")
    by_seed: dict[int, Result] = {}
    for result in results:
        if result.run.seed in by_seed:
            raise DataError(
                f"{name} has two runs of seed {result.run.seed}: {by_seed[result.run.seed].run.folder} and "
                f"{result.run.folder}. Report one of them."
            )
        by_seed[result.run.seed] = result
    return by_seed


# -- audits ------------------------------------------------------------------------------------------------------------


def _pair_of(first: Result, second: Result, at: State, select: Select) -> Pair:
    """Return the audits of two results on the images that both were evaluated on."""
    (audit, people, rows), (other, others, other_rows) = (_audit_at(result, at, select) for result in (first, second))
    for name in EVALUATION_SETS:
        if rows is None or other_rows is None:
            if people[name].tolist() != others[name].tolist():
                raise DataError(
                    f"{first.run.folder} and {second.run.folder} were evaluated on different images of {name}, and "
                    "hold no row numbers to find those in common. Repeat them."
                )
        elif rows[name].tolist() != other_rows[name].tolist():
            _, kept, of_other = np.intersect1d(rows[name], other_rows[name], return_indices=True)
            if not len(kept):
                raise DataError(f"{first.run.folder} and {second.run.folder} share no image of {name}.")
            audit, people = restrict(audit, people, {name: kept})
            other, others = restrict(other, others, {name: of_other})
    # Drawn people are named alike whatever the seed that they were drawn with.
    drawn = "" if first.run.data_seed is None else f"{first.run.data_seed}/"
    return Pair(audit, other, {name: np.char.add(drawn, people[name]) for name in EVALUATION_SETS})


def _audit_at(result: Result, at: State, select: Select) -> tuple[Audit, People, Rows | None]:
    """Return a run's audit in a state, with the identity on each image and its row number (where they were kept)."""
    run = result.run
    iteration = result.iteration
    if at != "reported" and result.label != "Original":
        row = audit_in_state(run, run.rows, last=at == "end")
        iteration = result.iteration if row is None else int(row["iteration"])
    audit, people = record_of(run, iteration)
    rows: Rows | None = None
    with suppress(DataError):  # A run of an earlier version has none.
        rows = read_rows(run.folder)
    if at == "reported" and select == "held_out":
        masks = split_people_in_half(read_people(run.folder))[1]
        audit, people = restrict(audit, people, masks)
        rows = rows and {name: own[masks[name]] if name in masks else own for name, own in rows.items()}
    return audit, people, rows
