"""Stop a run whose losses are no longer finite."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from gli.callbacks.audit import ForgettingAudit, find_callback
from gli.methods.base import Method
from gli.system.console import console


class StopOnDivergence(L.Callback):
    """Stop the run as soon as a training loss or an audit's losses are not finite; the last good checkpoint stays.

    Unbounded gradient ascent diverges sooner or later.

    Attributes:
        finite: Whether the last losses, of training and audit, were finite.
    """

    def __init__(self) -> None:
        self.finite = True
        self._explained = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the training loss on every process."""
        assert isinstance(pl_module, Method)
        finite = pl_module.last_loss is None or bool(pl_module.last_loss.isfinite().all())
        if trainer.world_size > 1:
            finite = trainer.strategy.reduce_boolean_decision(finite)
        if not finite:
            self._stop(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the losses of the audit."""
        audit = ForgettingAudit.of(trainer)
        if audit is None or trainer.sanity_checking:
            return
        assert isinstance(pl_module, Method)
        self.finite = audit.finite
        if not self.finite:
            self._stop(trainer, pl_module)

    def _stop(self, trainer: L.Trainer, method: Method) -> None:
        self.finite = False
        trainer.should_stop = True
        if not self._explained:
            self._explain(method)
        self._explained = True

    @rank_zero_only
    def _explain(self, method: Method) -> None:
        console.print(
            f"[bold]Stopped at iteration {method.iteration}:[/bold] the losses of {method.name} are no longer finite. "
            "The last good checkpoint is kept, if there was one. A smaller --model.lr, or fewer iterations "
            "(--trainer.max_steps), avoids this."
        )


def is_finite(trainer: L.Trainer) -> bool:
    """Return whether a run's last losses were finite, as far as it checks them."""
    divergence, audit = find_callback(trainer, StopOnDivergence), ForgettingAudit.of(trainer)
    return (divergence is None or divergence.finite) and (audit is None or audit.finite)
