"""Callbacks: the audit, checkpoints, stopping, figures, and the progress bar. All arithmetic is in other packages."""

import lightning as L

from gli.callbacks.audit import AuditTheEnd, ForgettingAudit, find_callback
from gli.callbacks.checkpoint import BestCheckpoint
from gli.callbacks.early_stopping import EarlyStop, StopOnDivergence, is_finite
from gli.callbacks.figures import Figures
from gli.callbacks.progress_bar import RunProgress, with_bar
from gli.callbacks.stopwatch import Stopwatch

__all__ = [
    "AuditTheEnd",
    "BestCheckpoint",
    "EarlyStop",
    "Figures",
    "ForgettingAudit",
    "RunProgress",
    "StopOnDivergence",
    "Stopwatch",
    "find_callback",
    "is_finite",
    "standard_callbacks",
    "with_bar",
]


def standard_callbacks() -> list[L.Callback]:
    """Return the callbacks of every run that have no settings."""
    return [Stopwatch(), StopOnDivergence(), AuditTheEnd()]
