"""Checkpoints saved only while losses are finite: the best by a score, and the last."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from gli.callbacks.early_stopping import is_finite, mode_of
from gli.system.files import atomic_write


class BestCheckpoint(Checkpoint):
    """Keep ``best.ckpt`` by a monitored score and ``last.ckpt`` after every audit, or only the last after every epoch.

    Nothing is saved while losses are not finite.

    Args:
        monitor: Score that makes a checkpoint the best; None to keep only the last.
        mode: ``max`` if higher is better, ``min`` if lower is better; None for the direction in the registry of scores.

    Attributes:
        best_model_path: Path of the best checkpoint; empty where there is none.
        best_model_score: Its score.
        last_model_path: Path of the last checkpoint; empty where there is none.
    """

    def __init__(self, monitor: str | None = "val/final_score", mode: str | None = None) -> None:
        self.monitor = monitor
        self.mode = "max" if monitor is None else mode_of("checkpoint", monitor, mode)
        self.best_model_path, self.best_model_score = "", math.nan
        self.last_model_path = ""
        self._folder = Path()
        self._fits = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the folder of the run on every process, because the answer is broadcast."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
        self._fits = stage == "fit"

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last checkpoint, and the best if this audit is the best so far."""
        if self.monitor is None or trainer.sanity_checking or not self._may_save(trainer):
            return
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and self._is_best(float(score)):
            path = str(self._folder / "best.ckpt")
            self.best_model_path, self.best_model_score = path, float(score)
            trainer.save_checkpoint(path, weights_only=False)
        self._save_last(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last checkpoint after every epoch where no score is monitored."""
        if self.monitor is None and self._may_save(trainer):
            self.best_model_path = str(self._folder / "last.ckpt")
            self._save_last(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last checkpoint of a run that ends before its first audit."""
        if self.monitor is not None and not self.last_model_path and self._may_save(trainer):
            self._save_last(trainer)

    @staticmethod
    def _may_save(trainer: L.Trainer) -> bool:
        fitting = trainer.state.fn == TrainerFn.FITTING
        return fitting and not trainer.fast_dev_run and is_finite(trainer)  # type: ignore[attr-defined]

    def _is_best(self, score: float) -> bool:
        """Return whether a score is better than the best so far; NaN is the worst."""

        def rank(value: float) -> float:
            return -math.inf if math.isnan(value) else value if self.mode == "max" else -value

        return not self.best_model_path or rank(score) > rank(self.best_model_score)

    def _save_last(self, trainer: L.Trainer) -> None:
        self.last_model_path = str(self._folder / "last.ckpt")
        trainer.save_checkpoint(self.last_model_path, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoint so far."""
        return {"best_model_path": self.best_model_path, "best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best checkpoint so far, copied into the folder of the resumed run."""
        self.best_model_path = state_dict["best_model_path"]
        self.best_model_score = float(state_dict["best_model_score"])
        former = Path(self.best_model_path)
        if self._fits and former.parent != self._folder and former.is_file():
            path = self._folder / former.name
            _copy(former, path)
            self.best_model_path = str(path)


@rank_zero_only
def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
