"""The original model behind an unlearning run: found where an earlier run left it, else trained first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch

from gli.callbacks import BestCheckpoint, ForgettingAudit, with_bar
from gli.data.datamodule import FaceDataModule
from gli.data.faces import digest
from gli.data.files import one_at_a_time, remove_leftovers, replacing
from gli.errors import INTERRUPTED, SettingError
from gli.logs import loggers
from gli.methods.base import Method
from gli.methods.supervised import Original
from gli.progress import console
from gli.ranks import alone
from gli.recipe import Recipe
from gli.resume import WholeCheckpoints, iteration_of

LOGS = "lightning_logs"
FOLDER = "originals"
#: Part of the key: raised whenever training from the same settings gives another model.
VERSION = 1
AUDITS = 4


def stored(
    folder: Path,
    data: FaceDataModule,
    method: Method,
    recipe: Recipe,
    seed: int,
    role: str = "original",
    precision: str | None = None,
) -> Path:
    """Where the original (or retrained) model of these settings lies, whether or not it is there yet.

    The name holds a hash of the training images, their labels and preparation, the backbone, the recipe and the seed.
    """
    data.setup()
    rows = "train" if role == "original" else "retain"
    backbone = f"{method.backbone} {method.pretrained} {method.normalize}"
    if precision not in (None, "32", "32-true"):
        backbone += f" {precision}"
    key = digest(VERSION, role, data.fingerprint(rows), backbone, repr(recipe), seed)[:12]
    return folder / f"{role}_{data.label}-{key}.ckpt"


def used_recipe(method: Original, data: FaceDataModule, epochs: int) -> Recipe:
    """The recipe that a run really followed: the data's, with what the command line changed."""
    changed: dict[str, Any] = {name: value for name, value in method.settings.items() if value is not None}
    return replace(data.recipe, epochs=epochs, retrained_epochs=None, **changed)


def keep(trainer: L.Trainer, method: Original, data: FaceDataModule, folder: Path, seed: int) -> Path:
    """Put a model that was trained to its end where later runs find it; returns the path.

    The file holds weights and plain values only. Call on one process.
    """
    recipe = used_recipe(method, data, trainer.current_epoch)
    path = stored(folder, data, method, recipe, seed, type(method).__name__.lower(), str(trainer.precision))
    audit = ForgettingAudit.of(trainer)
    contents: dict[str, Any] = {
        "state_dict": {name: value.detach().cpu() for name, value in method.model.state_dict().items()},
        "audit": audit.rows[-1] if audit and audit.rows else None,
        "seconds": audit.seconds if audit else None,
    }
    method.on_save_checkpoint(contents)
    with replacing(path) as aside:
        torch.save(contents, aside)
    return path


def find_or_train(
    method: Method,
    data: FaceDataModule,
    *,
    seed: int = 0,
    logs: str | Path = LOGS,
    folder: Path | None = None,
    trainer_settings: Mapping[str, Any] | None = None,
) -> str:
    """Set ``method.original`` to the original model of this data, backbone, recipe and seed; train it if need be.

    Training that was interrupted goes on from its last epoch. Processes that start at once train it once.

    Args:
        method: The unlearning method; nothing happens where it starts from no original or has one given.
        data: The data module.
        seed: Seed of the original's training.
        logs: Folder of all runs.
        folder: Folder of the originals; ``originals`` in that of all runs by default.
        trainer_settings: Settings of the trainer that the original's training shares (accelerator, precision, ...).

    Returns:
        Path of the original's checkpoint; empty where the method needs none.

    Raises:
        SettingError: If it would have to be trained by processes that an earlier run has joined in a group, or its training
            did not get to its end.
    """
    method.check()
    if not method.needs_original:
        return ""
    if method.original is None:
        # Only one epoch count is the original's; the retrained model's must not change its name.
        recipe = replace(data.recipe, retrained_epochs=None)
        precision = str((trainer_settings or {}).get("precision") or "32-true")
        folder = folder or Path(logs) / FOLDER
        path = stored(folder, data, method, recipe, seed, precision=precision)
        if not path.exists() and torch.distributed.is_initialized():
            # Lightning's barriers are for all processes of the group, also those of a trainer that is for one.
            raise SettingError(
                f"{path}: no such original yet, and the processes are already joined, so that none can train it alone. Find or "
                "train all originals before the first run, or give --model.original FILE."
            )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(path.with_suffix(".lock"), "training the original model"):
                remove_leftovers(path.parent, path.name)
                if not path.exists():
                    with alone():
                        _train(method, data, path, seed, Path(logs), dict(trainer_settings or {}))
        method.original = str(path)
    return method.original


def _train(
    method: Method, data: FaceDataModule, path: Path, seed: int, logs: Path, trainer_settings: dict[str, Any]
) -> None:
    console.print(
        f"[bold]No original model for this data, backbone, recipe and seed yet[/bold]: training one first "
        f"({data.recipe.epochs} epochs). Later runs will find it in {path.parent}."
    )
    L.seed_everything(seed, workers=True, verbose=False)
    original = Original(backbone=method.backbone, pretrained=method.pretrained, normalize=method.normalize)
    version = path.stem.rpartition("-")[2]
    run = logs / f"original_{data.label}" / version
    last = run / "checkpoints" / "last.ckpt"
    done = iteration_of(last)
    trainer = L.Trainer(
        logger=loggers(logs, run.parent.name, version, done),
        plugins=[WholeCheckpoints()],
        callbacks=with_bar(
            [ForgettingAudit(), BestCheckpoint(monitor=None)], trainer_settings.get("enable_progress_bar")
        ),
        max_epochs=data.recipe.epochs,
        check_val_every_n_epoch=max(1, data.recipe.epochs // AUDITS),
        num_sanity_val_steps=0,
        enable_model_summary=False,
        devices=1,
        log_every_n_steps=10,
        **trainer_settings,
    )
    remove_leftovers(run)
    try:
        trainer.fit(original, datamodule=data, ckpt_path=None if done is None else str(last), weights_only=True)
    except SystemExit:
        console.print("Interrupted. The same command goes on with the original's training after its last whole epoch.")
        raise SystemExit(INTERRUPTED) from None
    audit = ForgettingAudit.of(trainer)
    if trainer.current_epoch < data.recipe.epochs or (audit is not None and not audit.finite):
        raise SettingError(
            f"The original's training ended after {trainer.current_epoch} of {data.recipe.epochs} epochs, so nothing was "
            "unlearned. If its losses were no longer finite, lower --data.recipe.lr."
        )
    keep(trainer, original, data, path.parent, seed)
