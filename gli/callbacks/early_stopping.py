"""Stop a run: when a score no longer improves, when losses are no longer finite, or when a file appears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_only

from gli.callbacks.audit import ForgettingAudit, find_callback
from gli.errors import SettingError, did_you_mean
from gli.methods.base import Method
from gli.metrics.registry import SCORES, score_of
from gli.system.console import console

NEVER = 2**31
MODES = {1: "max", -1: "min", 0: None}


def mode_of(setting: str, monitor: str, mode: str | None) -> str:
    """Return whether higher (``max``) or lower (``min``) values of a monitored score are better.

    Without ``mode`` it is the direction in the registry of scores. Raises SettingError, which names the callback
    (``setting``), if there is no such score or mode, or none is given for a score without a direction.
    """
    prefix, _, name = monitor.rpartition("/")
    score = score_of(name)
    if prefix != "val" or score is None:
        scores = [f"val/{name}" for name in SCORES]
        hint = did_you_mean(f"val/{name}", scores)
        raise SettingError(
            f"{setting}.monitor is {monitor!r}, which is not a score of the audit.{hint} Known: {', '.join(scores)}."
        )
    mode = mode or MODES[score.sign]
    if mode not in ("max", "min"):
        raise SettingError(
            f"{setting}.mode is {mode!r}; give max if higher values of {monitor} are better, or min if lower ones are."
        )
    return mode


class EarlyStop(EarlyStopping):
    """Stop when the monitored score has not improved for some audits, as GLI's released code does.

    Args:
        patience: Number of audits without a better score after which the run stops; None to run to its end.
        monitor: The score.
        mode: ``max`` if higher is better, ``min`` if lower is better; None for the direction in the registry of scores.
    """

    def __init__(self, patience: int | None = None, monitor: str = "val/final_score", mode: str | None = None) -> None:
        super().__init__(
            monitor,
            patience=NEVER if patience is None else patience,
            mode=mode_of("early_stopping", monitor, mode),
            check_finite=False,  # StopOnDivergence stops such a run, with a better message.
            strict=False,
        )


class StopOnDivergence(L.Callback):
    """Stop the run as soon as a training loss or an audit's losses are not finite; the last good checkpoint stays.

    Unbounded gradient ascent diverges sooner or later.

    Attributes:
        finite: Whether the last losses, of training and audit, were finite.
    """

    def __init__(self) -> None:
        self.finite = True
        self._explained = False

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
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
            "The last good checkpoint is kept, if there was one. A smaller learning rate or fewer iterations avoid it."
        )


def is_finite(trainer: L.Trainer) -> bool:
    """Return whether a run's last losses were finite, as far as it checks them."""
    divergence, audit = find_callback(trainer, StopOnDivergence), ForgettingAudit.of(trainer)
    return (divergence is None or divergence.finite) and (audit is None or audit.finite)


class StopFile(L.Callback):
    """End the run after the batch in which a file appears; everything that a finished run writes is written.

    Args:
        path: The file; it may appear on another machine that shares the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Whether the run ended because of the file.
        self.stopped = False

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Stop on all processes if one of them sees the file."""
        if trainer.strategy.reduce_boolean_decision(self._path.exists(), all=False):
            self.stopped = trainer.should_stop = True
