"""Minutes of a training run, measured over its first steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import lightning as L

from gli.data import FaceDataModule
from gli.data.recipe import Recipe
from gli.data.table import FaceTable
from gli.errors import SettingError
from gli.methods import Method

#: Steps that are measured, after one that is not: the first is slower.
STEPS = 4


class _FirstSteps(L.Callback):
    """Measure the first steps of a run, then stop it."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.total = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.times:
            self.total = int(trainer.estimated_stepping_batches)
            self.times.append(time.perf_counter())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) > STEPS + 1:
            trainer.should_stop = True


def table_of(arguments: Mapping[str, Any]) -> FaceDataModule:
    """Return the data module of some settings.

    Raises:
        SettingError: If there is no such setting.
    """
    settings = dict(arguments)
    if "recipe" in settings:
        settings["recipe"] = Recipe(**{**settings["recipe"], **_tuples(settings["recipe"])})
    try:
        return FaceTable(**settings)
    except TypeError as error:
        raise SettingError(f"policy.data_settings: {error}.") from error


def _tuples(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {"milestones": tuple(recipe["milestones"])} if "milestones" in recipe else {}


def minutes(method: Method, data: FaceDataModule, trainer_settings: Mapping[str, Any]) -> float:
    """Return the minutes that a run takes, without audits, from its first steps.

    Args:
        method: The method.
        data: Its data.
        trainer_settings: Limits of the run; its number of epochs is the method's where they give none.
    """
    limits = {name: value for name, value in trainer_settings.items() if name in ("max_epochs", "max_steps")}
    if not limits:
        limits = {"max_epochs": method.default_epochs(data.recipe)}
    steps = _FirstSteps()
    trainer = L.Trainer(
        **limits,
        accelerator=trainer_settings.get("accelerator", "auto"),
        devices=1,
        logger=False,
        callbacks=[steps],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(method, datamodule=data)
    measured = [after - before for before, after in zip(steps.times, steps.times[1:], strict=False)]
    usual = sorted(measured[1:] or measured)
    return usual[len(usual) // 2] * steps.total / 60
