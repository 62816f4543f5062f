"""Metrics: pure functions of arrays, and the registry of scores.

Names are loaded when they are asked for, so that reading a report loads neither scikit-learn nor SciPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gli.metrics.jensen_shannon import jensen_shannon_distance, loss_densities
    from gli.metrics.membership_inference import membership_inference_accuracy
    from gli.metrics.registry import Audited, Column, Score, register, register_column
    from gli.metrics.utility import final_score, forgetting_score, utility_drop

_HOMES = {
    "membership_inference": ("membership_inference_accuracy",),
    "jensen_shannon": ("jensen_shannon_distance", "loss_densities"),
    "utility": ("final_score", "forgetting_score", "utility_drop"),
    "registry": ("Audited", "Column", "Score", "register", "register_column"),
}

__all__ = [
    "Audited",
    "Column",
    "Score",
    "final_score",
    "forgetting_score",
    "jensen_shannon_distance",
    "loss_densities",
    "membership_inference_accuracy",
    "register",
    "register_column",
    "utility_drop",
]


def __getattr__(name: str) -> Any:
    """Load the module of a name on first use (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gli.metrics.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
