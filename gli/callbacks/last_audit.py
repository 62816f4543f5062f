"""Audit the end of a run and of each stage, wherever it lies between two regular audits."""

from __future__ import annotations

from typing import Any

import lightning as L

from gli.methods.base import Method
from gli.system.lightning import current_epoch


class AuditTheEnd(L.Callback):
    """Audit after the last iteration of a run and of each of its stages."""

    def __init__(self) -> None:
        self._regular: tuple[Any, Any] | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Have the trainer validate after this batch if the run or a stage ends with it."""
        assert isinstance(pl_module, Method)
        if is_last_iteration(trainer, pl_module):
            self._regular = trainer.val_check_batch, trainer.check_val_every_n_epoch
            trainer.val_check_batch, trainer.check_val_every_n_epoch = 1, None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Return to the regular audits."""
        if self._regular is not None:
            trainer.val_check_batch, trainer.check_val_every_n_epoch = self._regular
            self._regular = None


def is_last_iteration(trainer: L.Trainer, method: Method) -> bool:
    """Return whether the run, or a stage of it, ends with the current batch."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return True
    epoch = current_epoch(trainer)
    ends_stage = method.stage(epoch) != method.stage(epoch + 1)
    return bool(trainer.is_last_batch) and (ends_stage or epoch + 1 == trainer.max_epochs)
