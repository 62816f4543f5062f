"""Checkpoints that are never of a model that fell apart, and stopping when the score no longer improves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning_utilities.core.rank_zero import rank_zero_only

from gli.callbacks.audit import ForgettingAudit
from gli.data.files import replacing
from gli.errors import SettingError, did_you_mean

NEVER = 2**31
#: What a checkpoint can go by, and whether more or less of it is better; None where that is a matter of opinion.
SCORES = {
    **dict.fromkeys(("final_score", "accuracy", "top2_accuracy"), "max"),
    **dict.fromkeys(("forgetting_score", "jsd", "utility_drop", "rewind_gap", "loss_test"), "min"),
    **dict.fromkeys(("mia_accuracy", "forget_accuracy", "unseen_accuracy", "loss_forget", "loss_unseen"), None),
}


def better(setting: str, monitor: str, mode: str | None) -> str:
    """Whether more (``max``) or less (``min``) of a score is better.

    Args:
        setting: Whose monitor it is, for the message.
        monitor: The score's name in the log.
        mode: ``max`` or ``min``; None for what goes without saying.

    Raises:
        SettingError: If there is no such score, or the mode is no mode, or does not go without saying.
    """
    prefix, _, score = monitor.rpartition("/")
    if prefix != "val" or not (score in SCORES or score.startswith("accuracy_")):
        known = [f"val/{name}" for name in SCORES]
        hint = did_you_mean(f"val/{score}", known)
        raise SettingError(
            f"{setting}.monitor is {monitor!r}, which is no score of the audit.{hint} Known: {', '.join(known)}."
        )
    mode = mode or SCORES.get(score, "max")
    if mode not in ("max", "min"):
        raise SettingError(f"{setting}.mode is {mode!r}; give max where more of {monitor} is better, or min.")
    return mode


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt`` by the monitored score and ``last.ckpt``, or only the last.

    Nothing is saved after an audit that found non-finite losses.

    Args:
        monitor: What makes a checkpoint the best one; None to keep only the last, after every epoch.
        mode: Whether more (``max``) or less (``min``) of it is better; None for what goes without saying.
    """

    def __init__(self, monitor: str | None = "val/final_score", mode: str | None = None) -> None:
        last_only = monitor is None
        super().__init__(
            monitor=monitor,
            mode="max" if monitor is None else better("checkpoint", monitor, mode),
            filename="last" if last_only else "best",
            save_last=None if last_only else True,
            save_on_train_epoch_end=last_only,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best checkpoint so far along into the folder of the resumed run: its best is the best of the whole run."""
        former = Path(state_dict["best_model_path"])
        if self.dirpath is not None and str(self.dirpath) != state_dict["dirpath"] and former.is_file():
            path = Path(self.dirpath) / former.name
            _copy(former, path)
            taken = {"best_model_path": str(path), "kth_best_model_path": str(path), "last_model_path": ""}
            scores = {str(path): state_dict["best_model_score"]}
            state_dict = {**state_dict, **taken, "dirpath": self.dirpath, "best_k_models": scores}
        super().load_state_dict(state_dict)

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


@rank_zero_only
def _copy(source: Path, target: Path) -> None:
    with replacing(target) as aside:
        shutil.copyfile(source, aside)


class StopWhenWorse(EarlyStopping):
    """Stops when the monitored score has not improved for some audits, as GLI's released code does.

    Args:
        patience: Audits without a better score after which the run stops; None to run to its end.
        monitor: The score.
        mode: Whether more (``max``) or less (``min``) of it is better; None for what goes without saying.
    """

    def __init__(self, patience: int | None = 3, monitor: str = "val/final_score", mode: str | None = None) -> None:
        # An audit of broken losses stops the run itself, with a message that says more.
        super().__init__(
            monitor,
            patience=NEVER if patience is None else patience,
            mode=better("early_stopping", monitor, mode),
            check_finite=False,
            strict=False,
        )
