"""Callbacks: the audit, checkpoints of sound models only, stopping, figures, and the progress bar."""

from gli.callbacks.audit import ForgettingAudit
from gli.callbacks.checkpoint import BestCheckpoint, StopWhenWorse
from gli.callbacks.figures import Figures
from gli.callbacks.progress_bar import RunProgress, with_bar

__all__ = ["BestCheckpoint", "Figures", "ForgettingAudit", "RunProgress", "StopWhenWorse", "with_bar"]
