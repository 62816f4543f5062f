"""Reports of runs: one audit selected per run, aggregated over seeds, as tables, figures and one page.

``gli.report(runs)`` writes one. Names are loaded when they are asked for, and matplotlib only when figures are drawn.
Nothing here loads torch or Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gli.reporting.published import PUBLISHED
    from gli.reporting.results import Result, Summary, collect_results, summarise
    from gli.reporting.write import write_report

_HOMES = {
    "published": ("PUBLISHED",),
    "results": ("Result", "Summary", "collect_results", "summarise"),
    "write": ("write_report",),
}

__all__ = ["PUBLISHED", "Result", "Summary", "collect_results", "summarise", "write_report"]


def __getattr__(name: str) -> Any:
    """Load the module of a name on first use (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gli.reporting.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
