"""Rank the audits of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

Row = TypeVar("Row", bound=Mapping[str, float])


def best_audit(
    rows: Iterable[Row], max_utility_drop: float = math.inf, *, score: str = "final_score", mode: str = "max"
) -> Row | None:
    """Return the best audit after iteration 0, or None where there is none.

    An audit without a final score (losses that are not finite) never wins. ``mode`` is ``max`` or ``min``.
    """
    allowed = [row for row in rows if row["iteration"] > 0 and row.get("utility_drop", 0.0) <= max_utility_drop]
    scored = [row for row in allowed if not math.isnan(row.get("final_score", math.nan)) and score in row]
    sign = {"max": 1, "min": -1}[mode]
    return max(scored, key=lambda row: sign * row[score], default=None)
