"""Claims that one method is better than another: read from texts or settings, and decided over seeds and people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np

from gli.auditing.record import People, Record, Rows, restrict
from gli.auditing.resample import Pair, resampled_differences
from gli.errors import DataError, SettingError, did_you_mean
from gli.metrics.registry import EVALUATION_SETS, SCORES, Score, score_of
from gli.reporting.results import Result, State, labels, record_of
from gli.runs.read import Run
from gli.system.console import progress

if TYPE_CHECKING:
    from gli.metrics.intervals import Interval
    from gli.metrics.paired import Decision

#: States of a run that methods are compared at, in words.
STATES: Mapping[State, str] = {
    "reported": "at the reported audit",
    "best": "at the audit with the best final score",
    "end": "at the end of the run",
}
PATTERN = re.compile(r"(?P<of>[^>]+)>(?P<baseline>.+):\s*(?P<score>\w+)\s*(?:@\s*(?P<at>\w+))?")
#: Rows of the table that a message names.
MOST_ROWS = 12
EXAMPLE = "Write OF>WITH:SCORE@STATE, such as 'GLI>LI:accuracy@end'."
#: Bootstrap resamples of the people for each comparison.
RESAMPLES = 200


@dataclass(frozen=True)
class Comparison:
    """A claim that one method is better than another."""

    of: Annotated[str, "a name"]  # Name of the method or variant that is said to be better.
    baseline: Annotated[str, "a name"]  # Name of the one that it is compared with.
    score: Annotated[str, "the name of a score"]
    #: State of the runs: ``reported`` (the audit that the report shows), ``best`` or ``end``.
    at: Annotated[State, "one of reported, best, end"] = "reported"
    claim: Annotated[str, "a sentence"] = ""  # The claim in words; made from the names by default.

    def __post_init__(self) -> None:
        """Check the score and the state; raise SettingError if either is unknown."""
        if score_of(self.score) is None:
            raise SettingError(
                f"there is no score {self.score!r}.{did_you_mean(self.score, SCORES)} Known: {', '.join(SCORES)}."
            )
        if self.at not in STATES:
            raise SettingError(f"there is no state {self.at!r} of a run; expected one of {', '.join(STATES)}.")

    @property
    def scored(self) -> Score:
        """The score."""
        return cast("Score", score_of(self.score))

    @property
    def sentence(self) -> str:
        """The claim in words."""
        better = {1: "has a higher {} than", -1: "has a lower {} than", 0: "differs in {} from"}[self.scored.sign]
        return self.claim or f"{self.of} {better.format(self.scored.heading)} {self.baseline}"


@dataclass(frozen=True)
class Claims:
    """The claims that a report decides."""

    comparisons: Sequence[Comparison] = ()
    #: In a benchmark, the name of the method or variant by the folder of its run: the names of the comparisons are then
    #: these, otherwise those of the table of methods.
    names: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """A claim with its answer."""

    claim: str  # The claim in words.
    of: str  # Name of the method that is said to be better.
    baseline: str  # Name of the one that it is compared with.
    score: str
    at: State
    answer: Decision  # ``yes``, ``no`` or ``cannot tell``.
    #: Mean difference over the seeds, first minus second; None where nothing could be compared.
    difference: float | None
    low: float | None  # Lower limit of its 95 % confidence interval.
    high: float | None
    seeds: tuple[int, ...]  # Seeds that both have.
    left_out: tuple[int, ...]  # Seeds that only one has.
    evidence: str  # The numbers, or why there are none, in one or two sentences.

    @property
    def sentence(self) -> str:
        """The claim, the answer and the evidence."""
        return f"{self.claim}: {self.answer}. {self.evidence}"

    @property
    def values(self) -> dict[str, Any]:
        """Everything as plain values, as in ``results.json``."""
        return {**asdict(self), "sentence": self.sentence}


# -- reading -----------------------------------------------------------------------------------------------------------


def parse_comparisons(texts: Sequence[str], runs: Sequence[Run]) -> list[Comparison]:
    """Return comparisons from texts such as ``GLI>LI:accuracy@end``.

    A method is named as in the table of methods, or by its class where it has one row only.

    Raises:
        SettingError: If a text has another form, or names a method, score or state that does not exist.
    """
    label_of = labels(runs)
    rows_of = {name: 1 for name in (*label_of.values(), "Original")}
    for run in runs:
        for name in {run.method, run.kind} - rows_of.keys():
            rows_of[name] = len({label_of[peer.folder] for peer in runs if name in (peer.method, peer.kind)})
    comparisons = []
    for text in texts:
        match = PATTERN.fullmatch(text.strip())
        if match is None:
            raise SettingError(f"--compare {text}: cannot be read. {EXAMPLE}")
        names = {key: value.strip() for key, value in match.groupdict(default="reported").items()}
        for name in (names["of"], names["baseline"]):
            if rows_of.get(name) != 1:
                reason = f"{name!r} has several rows" if name in rows_of else f"there is no {name!r}"
                rows = list(dict.fromkeys(label_of.values()))
                shown = ", ".join(rows[:MOST_ROWS]) + (", ..." if len(rows) > MOST_ROWS else "")
                hint = did_you_mean(name, rows_of) if name not in rows_of else ""
                raise SettingError(f"--compare {text}: {reason} in the table of methods.{hint} Its rows: {shown}.")
        try:
            comparisons.append(Comparison(**cast("dict[str, Any]", names)))
        except SettingError as error:
            raise SettingError(f"--compare {text}: {error}") from error
    return comparisons


# -- deciding ----------------------------------------------------------------------------------------------------------


def decide_claims(claims: Claims, results: Sequence[Result]) -> list[Compared]:
    """Decide claims over the seeds that both methods have, each once for every backbone."""
    compared: list[Compared] = []
    if not claims.comparisons:
        return compared
    with progress("Deciding claims", len(claims.comparisons)) as tick:
        for comparison in claims.comparisons:
            sides = [_results_of(name, results, claims.names) for name in (comparison.of, comparison.baseline)]
            by_backbone = [_by_backbone(side) for side in sides]
            shared = sorted(by_backbone[0].keys() & by_backbone[1].keys())
            if not shared:
                compared.append(_decided(comparison, comparison.sentence, sides))
            for backbone in shared:
                claim = comparison.sentence + (f" ({backbone})" if len(shared) > 1 else "")
                compared.append(_decided(comparison, claim, [side[backbone] for side in by_backbone]))
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
    of_label = [result for result in results if result.label == name]
    if names and name != "Original":
        return [result for result in of_methods if names.get(result.run.folder) == name]
    if names or of_label:
        return of_label
    of_kind = [result for result in of_methods if result.run.kind == name]
    return of_kind or [result for result in of_methods if result.run.method == name]


def _decided(comparison: Comparison, claim: str, sides: Sequence[Sequence[Result]]) -> Compared:
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
        pairs = [_pair_of(first[seed], second[seed], comparison.at) for seed in seeds]
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
    evidence = _evidence(comparison, interval, pairs, seeds)
    if left_out:
        evidence += f" Left out, because only one of the two has it: seed {', '.join(map(str, left_out))}."
    return Compared(claim, *given, answer, interval.value, interval.low, interval.high, seeds, left_out, evidence)


def _evidence(comparison: Comparison, interval: Interval, pairs: Sequence[Pair], seeds: Sequence[int]) -> str:
    score = comparison.scored
    better = {1: "higher is better", -1: "lower is better", 0: score.note or "no direction is better"}[score.sign]
    people = [frozenset(np.concatenate([pair.people[name] for name in EVALUATION_SETS]).tolist()) for pair in pairs]
    if len(seeds) == 1:
        over = f"over people only: seed {seeds[0]} alone decides nothing about other seeds"
    else:
        shared = any(a & b for a, b in combinations(people, 2))
        whose = "the people, who are the same in all seeds" if shared else "the people of each"
        over = f"over the seeds {', '.join(map(str, seeds))} and {whose}"
    return (
        f"{score.heading[0].upper()}{score.heading[1:]} {STATES[comparison.at]}, {comparison.of} minus "
        f"{comparison.baseline}: {interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}] ({better}; 95 % "
        f"interval {over})."
    )


def _by_seed(results: Sequence[Result], name: str) -> dict[int, Result]:
    """Return the result of each seed; raise DataError if there is none, or a seed has several."""
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


def _pair_of(first: Result, second: Result, at: State) -> Pair:
    """Return the audits of two results on the images that both were evaluated on."""
    (audit, people, rows), (baseline, baseline_people, baseline_rows) = (
        _audit_at(result, at) for result in (first, second)
    )
    for name in EVALUATION_SETS:
        if rows is None or baseline_rows is None:
            if people[name].tolist() != baseline_people[name].tolist():
                raise DataError(
                    f"{first.run.folder} and {second.run.folder} were evaluated on different images of {name}, and "
                    "hold no row numbers to find those in common. Repeat them."
                )
        elif rows[name].tolist() != baseline_rows[name].tolist():
            _, places, baseline_places = np.intersect1d(rows[name], baseline_rows[name], return_indices=True)
            if not len(places):
                raise DataError(f"{first.run.folder} and {second.run.folder} share no image of {name}.")
            audit, people = audit.restricted({name: places}), restrict(people, {name: places})
            baseline = baseline.restricted({name: baseline_places})
    # Drawn people are named alike whatever the seed that they were drawn with.
    drawn = "" if first.run.data_seed is None else f"{first.run.data_seed}/"
    return Pair(audit, baseline, {name: np.char.add(drawn, people[name]) for name in EVALUATION_SETS})


def _audit_at(result: Result, at: State) -> tuple[Record, People, Rows | None]:
    """Return a run's audit in a state, with the identity on each image and its row number (where they were kept)."""
    audit, people = record_of(result, result.iteration_at(at), whole=at != "reported")
    rows = result.records.rows if result.records is not None else None
    if at == "reported" and result.reported_half is not None and rows is not None:
        rows = restrict(rows, result.reported_half)
    return audit, people, rows
