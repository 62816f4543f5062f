"""The objective of a search, the results of its trials, read from their run folders, and their table."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gli.errors import DataError, SettingError
from gli.metrics.utility import pareto_front
from gli.runs.membership import read_membership
from gli.runs.read import best_audit, read_log
from gli.study.space import Settings
from gli.system import files
from gli.system.files import writable

#: States of a trial.
FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
#: Objectives by their name on the command line: scores, and whether each is to rise.
OBJECTIVES: Mapping[str, tuple[tuple[str, bool], ...]] = {
    "final_score": (("final_score", True),),
    "forgetting,utility": (("forgetting_score", False), ("utility_drop", False)),
}


@dataclass(frozen=True)
class Objective:
    """Objective of a search."""

    scores: tuple[tuple[str, bool], ...]  # Names of the scores, and whether each is to rise.
    max_utility_drop: float = 1.0  # Audits with a larger utility drop are not allowed.

    @classmethod
    def named(cls, name: str, max_utility_drop: float) -> Objective:
        """Return the objective of a command line; SettingError if there is no such objective."""
        if name not in OBJECTIVES:
            raise SettingError(f"--objective {name}: expected one of {' and '.join(OBJECTIVES)}.")
        return cls(OBJECTIVES[name], max_utility_drop)

    def choose(self, rows: Sequence[Mapping[str, float]]) -> tuple[Mapping[str, float] | None, bool]:
        """Return the audit that counts for a run, and whether it is allowed.

        That is the audit with the best final score among those that are allowed; if none is, the one with the smallest
        utility drop. None where no audit has finite losses.
        """
        best = best_audit(rows, self.max_utility_drop)
        if best is not None:
            return best, True
        return best_audit(rows, score="utility_drop", mode="min"), False

    def values(self, audit: Mapping[str, float]) -> list[float]:
        """Return the values to optimise."""
        return [audit[name] for name, _ in self.scores]

    def violation(self, audit: Mapping[str, float]) -> float:
        """Return how far the utility drop is above the allowed one; at most 0 where it is allowed."""
        return audit.get("utility_drop", 0.0) - self.max_utility_drop

    def progress(self, rows: Sequence[Mapping[str, float]]) -> dict[int, float]:
        """Return the best allowed final score up to each audit of a run that may still go on, by iteration."""
        progress: dict[int, float] = {}
        best = -math.inf
        for row in rows:
            if best_audit([row], self.max_utility_drop) is not None:
                best = max(best, row["final_score"])
            if best > -math.inf:
                progress[int(row["iteration"])] = best
        return progress


@dataclass(frozen=True)
class Outcome:
    """The result of a trial."""

    number: int  # Number of the trial, from 1.
    settings: Settings  # Its settings.
    state: str  # ``finished``, ``pruned`` or ``failed``.
    #: Scores of the audit that counts, with the original's final score as ``original``; empty without one.
    scores: Mapping[str, float] = field(default_factory=dict)
    allowed: bool = False  # Whether that audit is within the utility drop allowed.
    rehearsal: bool | None = None  # Whether the run was a rehearsal; None if that is not known.
    run: Path | None = None  # Folder of the run; None for a failed trial.
    #: Whether no other finished trial is better in one score of the objective and as good in the others.
    front: bool = False

    @property
    def flags(self) -> str:
        """The settings as flags of ``gli fit``."""
        return " ".join(f"--{key} {shlex.quote(value)}" for key, value in self.settings.items())

    @property
    def counts(self) -> bool:
        """Whether the trial can be the best one."""
        return self.state == FINISHED and self.allowed and bool(self.scores)


def outcome_of(number: int, settings: Settings, state: str, run: Path | None, objective: Objective) -> Outcome:
    """Return the result of a trial that has ended."""
    if run is None:
        return Outcome(number, settings, state)
    rehearsal = None
    try:
        rows = read_log(run)
        membership = read_membership(run)
        rehearsal = None if membership is None else membership.rehearsal
    except DataError:  # Somebody has damaged the folder; the trial keeps its place in the table.
        rows = []
    audit, allowed = objective.choose(rows)
    scores: dict[str, float] = {}
    if audit is not None and rows[0]["iteration"] == 0:
        scores = {**audit, "original": rows[0]["final_score"]}
    return Outcome(number, settings, state, scores, allowed, rehearsal, run)


def ranked(outcomes: Sequence[Outcome], objective: Objective) -> list[Outcome]:
    """Return the trials, best first: the Pareto front where there are two objectives, then by final score.

    Finished trials within the utility drop allowed come first, then other finished ones, pruned and failed ones.
    """
    if len(objective.scores) > 1:
        counted = [outcome for outcome in outcomes if outcome.counts]
        points = [
            [-value if rises else value for (_, rises), value in zip(objective.scores, values, strict=True)]
            for values in (objective.values(outcome.scores) for outcome in counted)
        ]
        on_front = {outcome.number for outcome, front in zip(counted, pareto_front(points), strict=True) if front}
        outcomes = [replace(outcome, front=outcome.number in on_front) for outcome in outcomes]
    order = (FINISHED, PRUNED, FAILED)

    def place(outcome: Outcome) -> tuple[bool, int, bool, bool, float, int]:
        final = -outcome.scores.get("final_score", 0.0)
        return (
            not outcome.counts,
            order.index(outcome.state),
            not outcome.scores,
            not outcome.front,
            final,
            outcome.number,
        )

    return sorted(outcomes, key=place)


def row_of(outcome: Outcome, two_objectives: bool) -> dict[str, str]:
    """Return a trial as a row of the table."""
    known = outcome.rehearsal is not None
    return {
        "trial": str(outcome.number),
        "state": outcome.state,
        **({"pareto_front": _yes(outcome.front)} if two_objectives else {}),
        **outcome.settings,
        **{name: str(value) for name, value in outcome.scores.items()},
        "allowed": _yes(outcome.allowed) if outcome.scores else "",
        "rehearsal": _yes(bool(outcome.rehearsal)) if known else "",
        "run": "" if outcome.run is None else str(outcome.run),
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def write_table(output: Path, outcomes: Sequence[Outcome], two_objectives: bool = False) -> None:
    """Write the trials so far as CSV, in their order; DataError if it cannot be written."""
    rows = [row_of(outcome, two_objectives) for outcome in outcomes]
    columns = dict.fromkeys(key for row in rows for key in row)
    for last in ("allowed", "rehearsal", "run"):  # A failed trial has no scores, so they could come before these.
        columns.pop(last, None)
    with writable(output.parent, content="the table of the trials", setting="--output"):
        files.write_table(output, [*columns, "allowed", "rehearsal", "run"], rows)
