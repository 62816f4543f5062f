"""The audit: on validation epochs, accuracy on test and what an attacker can tell from the losses of forget and unseen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor

from gli import audits, metrics
from gli.data.datamodule import FaceDataModule
from gli.data.loading import EVALUATION_SETS
from gli.methods.base import Method
from gli.progress import console
from gli.runs import epoch_now, iterations_done

Row = dict[str, float]
ReadRow = TypeVar("ReadRow", bound=Mapping[str, float])


def best_audit(
    rows: Iterable[ReadRow], max_utility_drop: float = math.inf, *, score: str = "final_score", mode: str = "max"
) -> ReadRow | None:
    """The audit with the best score after iteration 0 whose utility drop is not too large; None where there is none."""
    allowed = [row for row in rows if row["iteration"] > 0 and row.get("utility_drop", 0.0) <= max_utility_drop]
    scored = [row for row in allowed if not math.isnan(row.get("final_score", math.nan)) and score in row]
    sign = {"max": 1, "min": -1}[mode]
    return max(scored, key=lambda row: sign * row[score], default=None)


class ForgettingAudit(L.Callback):
    """Logs accuracy, MIA, JSD, forgetting and final score and utility drop after every validation epoch.

    How often is the trainer's ``val_check_interval``. Losses are gathered from all processes, each image once. When
    those, or the loss that is trained on, are no longer finite (unbounded ascent gets there) the run is stopped, and the last
    good checkpoint stays.

    Args:
        keep_losses: Keep every image's loss and scores of every audit in the run's folder (``audits/``), so that scores can be
            computed anew: on other people, resampled, compared between runs.

    Attributes:
        rows: Every audit so far: ``iteration`` and the logged scores, the original's at iteration 0 first.
        losses: The last audit's losses of each evaluation set, in the order of the table.
        stages: For methods that have stages: the iteration of the last audit of each.
        seconds: Time spent in training steps, audits not counted.
        finite: Whether the last losses, of training and audit, were finite.
    """

    def __init__(self, keep_losses: bool = True) -> None:
        self.keep_losses = keep_losses
        self.rows: list[Row] = []
        self.losses: dict[str, npt.NDArray[np.float64]] = {}
        self.stages: dict[str, float] = {}
        self.seconds = 0.0
        self.finite = True
        self.score, self.mode = "final_score", "max"
        self._started = 0.0
        self._restored = 0
        self._iteration = 0
        self._said_why = False
        self._usual: tuple[Any, Any] | None = None
        self._names: list[str] = []
        self._gathered: dict[str, metrics.PerImage] = {}

    @staticmethod
    def of(trainer: L.Trainer) -> ForgettingAudit | None:
        """The audit of a trainer, or None where it has none."""
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        return next((callback for callback in callbacks if isinstance(callback, ForgettingAudit)), None)

    # -- gathering -------------------------------------------------------------------------------------------------

    def _start(self, device: torch.device) -> None:
        self._gathered = {name: metrics.PerImage().to(device) for name in EVALUATION_SETS}

    def _add(self, outputs: Any, dataloader_idx: int) -> None:
        values = {key: value for key, value in outputs.items() if key != "index"}
        self._names = list(values)
        self._gathered[EVALUATION_SETS[dataloader_idx]].update(
            outputs["index"], torch.stack([value.float() for value in values.values()], dim=1)
        )

    def _finish(self, trainer: L.Trainer, method: L.LightningModule, prefix: str) -> None:
        values: dict[str, Tensor] = {name: gathered.compute() for name, gathered in self._gathered.items()}
        column = self._names.index("loss")
        self.losses = {name: value[:, column].double().cpu().numpy() for name, value in values.items()}
        self.finite = all(np.isfinite(losses).all() for losses in self.losses.values())
        test = values["test"].double().mean(dim=0).tolist()
        row: Row = {name: test[place] for place, name in enumerate(self._names) if name != "loss"}
        row |= metrics.summary(row["accuracy"], self.losses["forget"], self.losses["unseen"])
        row |= {f"loss_{name}": float(losses.mean()) for name, losses in self.losses.items()}
        hits = self._names.index("accuracy")
        row |= {f"{name}_accuracy": float(values[name][:, hits].double().mean()) for name in ("forget", "unseen")}
        row["rewind_gap"] = abs(row["forget_accuracy"] - row["unseen_accuracy"])
        # A checkpoint that is validated or tested brings its iteration along; the loop's own count is then zero.
        iteration = iterations_done(trainer) if trainer.state.fn == TrainerFn.FITTING else self._restored
        baseline = row if iteration == 0 else self.original
        if baseline is not None and getattr(method, "needs_original", True):
            row["utility_drop"] = baseline["accuracy"] - row["accuracy"]
        method.log_dict({"step": float(iteration)} | {f"{prefix}/{name}": value for name, value in row.items()})
        if prefix == "val":
            self.rows = [*(old for old in self.rows if old["iteration"] != iteration), {"iteration": iteration, **row}]
            stage = method.stage(epoch_now(trainer)) if isinstance(method, Method) and iteration else ""
            self.stages |= {stage: iteration} if stage else {}
            self._keep(trainer, iteration, values)
        if not self.finite:
            self._stop(trainer, int(iteration), method)

    def _stop(self, trainer: L.Trainer, iteration: int, method: L.LightningModule) -> None:
        trainer.should_stop = True
        if not self._said_why:
            self._say_why(iteration, method)
        self._said_why = True

    def _keep(self, trainer: L.Trainer, iteration: int, values: dict[str, Tensor]) -> None:
        folder = trainer.log_dir  # A broadcast: every process takes part.
        if not self.keep_losses or folder is None or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        if not (Path(folder) / audits.FOLDER).exists():
            data: FaceDataModule = trainer.datamodule  # type: ignore[attr-defined]
            people = {name: data.identities[np.sort(data.rows(name))] for name in EVALUATION_SETS}
            audits.write_people(Path(folder), people)
        arrays = {name: value.double().cpu().numpy().T for name, value in values.items()}
        parts = {name: dict(zip(self._names, array, strict=True)) for name, array in arrays.items()}
        audits.write(Path(folder), audits.Audit(int(iteration), parts))

    @rank_zero_only
    def _say_why(self, iteration: int, method: L.LightningModule) -> None:
        console.print(
            f"[bold]Stopped at iteration {iteration}:[/bold] the losses of {type(method).__name__} are no longer finite. "
            "The last good checkpoint is kept, where there was one. A smaller --model.lr, or fewer iterations "
            "(--trainer.max_steps), avoids this."
        )

    # -- Lightning's hooks -----------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """What makes a checkpoint the best one makes its audit the best one."""
        checkpoint = trainer.checkpoint_callback
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor is not None:
            self.score, self.mode = checkpoint.monitor.removeprefix("val/"), checkpoint.mode

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin gathering."""
        self._start(pl_module.device)

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Gather a batch."""
        self._add(outputs, dataloader_idx)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute and log under ``val/``."""
        if not trainer.sanity_checking:  # A few batches are no audit.
            self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute and log under ``test/``."""
        self._finish(trainer, pl_module, "test")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop the clock."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.seconds += time.perf_counter() - self._started
        self._iteration = iterations_done(trainer)
        if not self._loss_is_finite(trainer, pl_module):
            self.finite = False
            self._stop(trainer, self._iteration, pl_module)
        if self._is_last_of_its_kind(trainer, pl_module):
            self._usual = trainer.val_check_batch, trainer.check_val_every_n_epoch
            trainer.val_check_batch, trainer.check_val_every_n_epoch = 1, None

    @staticmethod
    def _loss_is_finite(trainer: L.Trainer, method: L.LightningModule) -> bool:
        """Whether the last training loss was finite on every process."""
        loss = getattr(method, "last_loss", None)
        sound = loss is None or bool(loss.isfinite().all())
        return sound if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(sound)

    @staticmethod
    def _is_last_of_its_kind(trainer: L.Trainer, method: L.LightningModule) -> bool:
        """Whether the run or a stage of it ends with this batch, which is then audited wherever it lies between two audits."""
        if 0 <= trainer.max_steps <= trainer.global_step:
            return True
        epoch = epoch_now(trainer)
        ends_stage = isinstance(method, Method) and method.stage(epoch) != method.stage(epoch + 1)
        return trainer.is_last_batch and (ends_stage or epoch + 1 == trainer.max_epochs)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After an audit out of turn the next ones come as usual."""
        if self._usual is not None:
            trainer.val_check_batch, trainer.check_val_every_n_epoch = self._usual
            self._usual = None

    def state_dict(self) -> dict[str, Any]:
        """The rows so far travel with the checkpoint, so that a resumed run still knows its original."""
        return {"rows": self.rows, "stages": self.stages, "seconds": self.seconds, "iteration": self._iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint left off."""
        self.rows, self.seconds = list(state_dict["rows"]), float(state_dict["seconds"])
        self.stages, self._restored = dict(state_dict.get("stages", {})), int(state_dict["iteration"])

    # -- what came out ---------------------------------------------------------------------------------------------

    @property
    def original(self) -> Row | None:
        """The audit of iteration 0."""
        return next((row for row in self.rows if row["iteration"] == 0), None)

    @property
    def best(self) -> Row | None:
        """The best audit after iteration 0, by the score that checkpoints go by; None where nothing sound was trained."""
        return best_audit(self.rows, score=self.score, mode=self.mode)
