"""Callbacks: the audit, checkpoints of sound models only, stopping, and figures."""

from gli.callbacks.audit import ForgettingAudit
from gli.callbacks.checkpoint import BestCheckpoint, StopWhenWorse
from gli.callbacks.figures import Figures

__all__ = ["BestCheckpoint", "Figures", "ForgettingAudit", "StopWhenWorse"]
