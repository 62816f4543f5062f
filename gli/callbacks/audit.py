"""The audit: on validation epochs, evaluate every set, gather the per-image values, and log the scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from gli.auditing.gather import PerImage
from gli.auditing.record import FOLDER, VIEW, Record, write_people, write_record
from gli.auditing.reference_audit import ATTACKED
from gli.auditing.views import shown_margins
from gli.data.views import views_of
from gli.methods.base import Method
from gli.metrics.registry import LOSS, Audited, compute_scores
from gli.runs.read import best_audit
from gli.system.lightning import current_epoch

Row = dict[str, float]
Kind = TypeVar("Kind", bound=L.Callback)


def find_callback(trainer: L.Trainer, kind: type[Kind]) -> Kind | None:
    """Return the trainer's callback of a kind, or None where it has none."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


class ForgettingAudit(L.Callback):
    """Log the registered scores after every validation epoch, under ``val/`` (or ``test/``).

    The trainer's ``val_check_interval`` sets the interval. Values are gathered from all processes, each image once.

    Args:
        keep_losses: Write the per-image values of every audit into the run's folder (``audits/``), so that scores can
            be computed again for a subset of people, for bootstrap resamples, or for comparisons of runs.
        views: After iteration 0, also record the margins of forget and unseen photographs as an attacker may show them
            otherwise than upright (:mod:`gli.data.views`): fourteen more forward passes over them in each audit.

    Attributes:
        rows: All audits so far, each with ``iteration`` and the logged scores; the first is the original's, at 0.
        losses: Losses of the last audit for each evaluation set, in the order of the face table.
        stages: Iteration of the last audit of each stage, for methods with stages.
    """

    def __init__(self, keep_losses: bool = True, views: bool = False) -> None:
        self.keep_losses, self.views = keep_losses, views
        self.rows: list[Row] = []
        self.losses: dict[str, npt.NDArray[np.float64]] = {}
        self.stages: dict[str, int] = {}
        self._monitor, self._mode = "final_score", "max"
        self._sets: tuple[str, ...] = ()
        self._columns: dict[str, list[str]] = {}
        self._accuracies: frozenset[str] = frozenset()
        self._gathered: dict[str, PerImage] = {}

    @staticmethod
    def of(trainer: L.Trainer) -> ForgettingAudit | None:
        """Return the audit of a trainer, or None where it has none."""
        return find_callback(trainer, ForgettingAudit)

    @property
    def finite(self) -> bool:
        """Whether every loss of the last audit is finite."""
        return all(bool(np.isfinite(losses).all()) for losses in self.losses.values())

    @property
    def original(self) -> Row | None:
        """The audit of iteration 0."""
        return next((row for row in self.rows if row["iteration"] == 0), None)

    @property
    def best(self) -> Row | None:
        """The best audit after iteration 0, by the score that the checkpoint monitors; None where there is none."""
        return best_audit(self.rows, score=self._monitor, mode=self._mode)

    # -- gathering -------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Rank audits by the score that the checkpoint monitors."""
        checkpoint = trainer.checkpoint_callback
        monitor = getattr(checkpoint, "monitor", None)
        if monitor is not None:
            self._monitor, self._mode = monitor.removeprefix("val/"), getattr(checkpoint, "mode", "max")

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to gather."""
        assert isinstance(pl_module, Method)
        self._sets = pl_module.data.evaluation_sets
        self._gathered = {name: PerImage().to(pl_module.device) for name in self._sets}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Gather a batch."""
        name, columns = self._sets[dataloader_idx], {**outputs["values"], **outputs["accuracies"]}
        assert isinstance(pl_module, Method)
        if self.views and pl_module.iteration and name in ATTACKED:
            shown = shown_margins(pl_module.model, pl_module.task, batch.images, batch.labels, views_of(batch.images))
            columns |= {f"{key}{VIEW}{view}": each for view, of in shown.items() for key, each in of.items()}
        self._columns[name], self._accuracies = list(columns), frozenset(outputs["accuracies"])
        index = outputs["index"]
        kind = torch.float32 if index.device.type == "mps" else torch.float64  # MPS has no float64.
        values = torch.stack([column.to(index.device, kind) for column in columns.values()], dim=1)
        self._gathered[name].update(index, values)

    on_test_batch_end = on_validation_batch_end

    def _values(self) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
        """Return the gathered columns of each evaluation set. All processes must call this."""
        values = {}
        for name, gathered in self._gathered.items():
            columns = gathered.compute().double().cpu().numpy().T
            values[name] = dict(zip(self._columns[name], columns, strict=True))
        return values

    # -- scoring ---------------------------------------------------------------------------------------------------

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute and log the scores under ``val/``, and keep the record."""
        if trainer.sanity_checking:  # The sanity check runs a few batches only.
            return
        assert isinstance(pl_module, Method)
        audit = Record(pl_module.iteration, self._values(), self._accuracies)
        row = self._score(audit, pl_module, "val")
        self.rows = [old for old in self.rows if old["iteration"] != audit.iteration]
        self.rows.append({"iteration": audit.iteration, **row})
        stage = pl_module.stage(current_epoch(trainer)) if audit.iteration else ""
        if stage:
            self.stages[stage] = audit.iteration
        self._keep(audit, trainer, pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute and log the scores under ``test/``."""
        assert isinstance(pl_module, Method)
        self._score(Record(pl_module.iteration, self._values(), self._accuracies), pl_module, "test")

    def _score(self, audit: Record, method: Method, prefix: str) -> Row:
        self.losses = {name: np.array(columns[LOSS]) for name, columns in audit.values.items()}
        audited = Audited(audit.values)
        if method.needs_original:
            audited.original = audited.scores if audit.iteration == 0 else self.original
        row = compute_scores(audited, audit.accuracies)
        logged: Mapping[str, float] = {f"{prefix}/{name}": value for name, value in row.items()}
        method.log_dict({"step": float(audit.iteration), **logged})
        return row

    def _keep(self, audit: Record, trainer: L.Trainer, method: Method) -> None:
        folder = trainer.log_dir  # A broadcast: every process takes part.
        dev_run: bool = trainer.fast_dev_run  # type: ignore[attr-defined]
        if not self.keep_losses or folder is None or dev_run or not trainer.is_global_zero:
            return
        if not (Path(folder) / FOLDER).exists():
            data = method.data
            rows = {name: np.sort(data.rows(name)) for name in self._sets}
            write_people(Path(folder), {name: data.identities[rows[name]] for name in rows}, rows)
        write_record(Path(folder), audit)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the settings of the method beside the scores of the best audit, under HParams in TensorBoard."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and self.best is not None:
                scores = {f"best/{name}": value for name, value in self.best.items() if name != "iteration"}
                logger.log_hyperparams(dict(pl_module.hparams), scores)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, so that a resumed run has the scores of its original."""
        return {"rows": self.rows, "stages": self.stages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint's rows."""
        self.rows, self.stages = list(state_dict["rows"]), dict(state_dict["stages"])


class AuditTheEnd(L.Callback):
    """Audit after the last iteration of a run and of each of its stages."""

    def __init__(self) -> None:
        self._regular: tuple[Any, Any] | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
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
