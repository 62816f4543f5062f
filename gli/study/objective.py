"""The objective of a search: one score or two, read from the audits of a run. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gli.auditing.best import best_audit
from gli.errors import SettingError

#: Objectives by their name on the command line: scores, and whether each is to rise.
OBJECTIVES: Mapping[str, tuple[tuple[str, bool], ...]] = {
    "final_score": (("final_score", True),),
    "forgetting,utility": (("forgetting_score", False), ("utility_drop", False)),
}


@dataclass(frozen=True)
class Objective:
    """Objective of a search.

    Attributes:
        scores: Names of the scores, and whether each is to rise.
        max_utility_drop: Audits with a larger utility drop are not allowed.
    """

    scores: tuple[tuple[str, bool], ...]
    max_utility_drop: float = 1.0

    @classmethod
    def named(cls, name: str, max_utility_drop: float) -> Objective:
        """Return the objective of a command line.

        Raises:
            SettingError: If there is no such objective.
        """
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
