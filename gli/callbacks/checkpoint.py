"""Checkpoints that are never of a model that fell apart, and stopping when the score no longer improves."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from gli.callbacks.audit import ForgettingAudit

NEVER = 2**31


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt`` by the monitored score and ``last.ckpt``, or only the last.

    Nothing is saved after an audit that found non-finite losses.

    Args:
        monitor: What makes a checkpoint the best one; None to keep only the last, after every epoch.
        mode: Whether more (``max``) or less (``min``) of it is better.
    """

    def __init__(self, monitor: str | None = "val/final_score", mode: str = "max") -> None:
        last_only = monitor is None
        super().__init__(
            monitor=monitor,
            mode=mode,
            filename="last" if last_only else "best",
            save_last=None if last_only else True,
            save_on_train_epoch_end=last_only,
            enable_version_counter=False,
        )

    @staticmethod
    def _sound(trainer: L.Trainer) -> bool:
        audit = ForgettingAudit.of(trainer)
        return audit is None or audit.finite

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if the model is sound."""
        if not self._sound(trainer):
            return
        super().on_validation_end(trainer, pl_module)
        # The parent writes last.ckpt only where it has just written the best one.
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if the model is sound."""
        if self._sound(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last state, if the model is sound."""
        if self._sound(trainer):
            super().on_train_end(trainer, pl_module)


class StopWhenWorse(EarlyStopping):
    """Stops when the monitored score has not improved for some audits, as GLI's released code does.

    Args:
        patience: Audits without a better score after which the run stops; None to run to its end.
        monitor: The score.
        mode: Whether more (``max``) or less (``min``) of it is better.
    """

    def __init__(self, patience: int | None = 3, monitor: str = "val/final_score", mode: str = "max") -> None:
        # An audit of broken losses stops the run itself, with a message that says more.
        super().__init__(
            monitor, patience=NEVER if patience is None else patience, mode=mode, check_finite=False, strict=False
        )
