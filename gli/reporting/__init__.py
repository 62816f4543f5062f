"""Reports of runs: one audit selected per run, aggregated over seeds, as tables, figures and one page.

``gli.report(runs)`` writes one. Importing the package loads nothing, for the signatures of commands: other names are
loaded when they are asked for, and matplotlib only when figures are drawn. Nothing here loads torch or Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gli.reporting.published import PUBLISHED
    from gli.reporting.results import Result, Summary, collect_results, summarise
    from gli.reporting.write import write_report

Select = Literal["final_score", "held_out", "end"]
#: Ways to select the audit of a run that is reported, as the report explains them.
SELECTIONS: Mapping[str, str] = {
    "final_score": "the audit with the best final score on the same sets that are reported, as in the released code",
    "held_out": "the audit with the best final score on half of the test and unseen people; the other half is reported",
    "end": "the last audit of the run, whose length was set beforehand",
}
_HOMES = {
    "PUBLISHED": "published",
    "Result": "results",
    "Summary": "results",
    "collect_results": "results",
    "summarise": "results",
    "write_report": "write",
}

__all__ = ["PUBLISHED", "SELECTIONS", "Result", "Select", "Summary", "collect_results", "summarise", "write_report"]


def __getattr__(name: str) -> Any:
    """Load the module of a name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gli.reporting.{_HOMES[name]}"), name)
