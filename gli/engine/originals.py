"""Find the original model that an unlearning run starts from, or train it first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from gli.callbacks import BestCheckpoint, ForgettingAudit, Stopwatch, find_callback, is_finite
from gli.data import FaceDataModule
from gli.data.loading import Pass
from gli.data.recipe import Recipe
from gli.engine.build import make_trainer
from gli.engine.resume import iteration_of
from gli.errors import INTERRUPTED, CheckpointError, SettingError
from gli.methods.base import Method
from gli.methods.from_scratch import Original
from gli.metrics.registry import EVALUATION_SETS
from gli.models.backbones import backbone_key
from gli.models.checkpoints import read_checkpoint
from gli.runs.folder import LOGS, ORIGINALS
from gli.runs.log import loggers
from gli.system.console import console
from gli.system.digest import digest
from gli.system.files import atomic_write, file_lock, remove_leftovers
from gli.system.ranks import alone

#: Part of the key: increased whenever training from the same settings gives another model.
VERSION = 1
#: Role of a network that a method needs besides the original, in the name of its file.
COHORT = "cohort"
#: Audits during the training of an original.
AUDITS = 4


def original_path(
    folder: Path,
    data: FaceDataModule,
    method: Method,
    recipe: Recipe,
    seed: int,
    role: str = "original",
    precision: str | None = None,
    rows: str = "train",
    batch_size: int | None = None,
) -> Path:
    """Return the path of a model trained from scratch on a set (``rows``); the file may not exist yet.

    The name holds a hash of the training images, their labels and preparation, the backbone, the recipe and the seed,
    and of the batch size where it is not that of the data.
    """
    data.setup()
    backbone = f"{backbone_key(method.backbone)} {method.pretrained} {method.normalize}"
    if method.start_weights is not None:
        backbone += f" {_digest_of(method.start_weights)}"
    if precision not in (None, "32", "32-true"):
        backbone += f" {precision}"
    if batch_size is not None:
        backbone += f" batches of {batch_size}"
    recipe = replace(recipe, retrained_epochs=None)  # They must not change the original's name.
    key = digest(VERSION, role, data.fingerprint(rows), backbone, repr(recipe), seed)[:12]
    return folder / f"{role}_{data.label}-{key}.ckpt"


def _digest_of(path: str) -> str:
    """Return a content hash of the weights that an original starts from; CheckpointError if there is no such file."""
    try:
        return digest(Path(path).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: no such file of weights ({error.strerror}). Check --model.weights.") from error


def store(trainer: L.Trainer, method: Method, folder: Path, seed: int, role: str | None = None) -> Path:
    """Store a model trained from scratch in the folder of the originals, and return its path.

    The file holds weights and plain values only. Call on one process, after the last epoch. Its name begins with
    ``role``: the method's by default.
    """
    # The recipe that was followed: the data's, with the changes of the command line.
    recipe = replace(method.recipe, epochs=trainer.current_epoch)
    (rows,) = {name for pass_ in method.passes for name in pass_.names}
    role = role or type(method).__name__.lower()
    batch_size = method.passes[0].batch_size
    path = original_path(folder, method.data, method, recipe, seed, role, str(trainer.precision), rows, batch_size)
    audit, stopwatch = ForgettingAudit.of(trainer), find_callback(trainer, Stopwatch)
    contents: dict[str, Any] = {
        "state_dict": {name: value.detach().cpu() for name, value in method.model.state_dict().items()},
        "seconds": stopwatch.seconds if stopwatch else None,
    }
    if role != COHORT:  # That of a cohort outlives people whom it was audited on and never saw.
        contents["audit"] = audit.rows[-1] if audit and audit.rows else None
        contents["audited"] = audited_images(method.data)
    method.on_save_checkpoint(contents)
    with atomic_write(path) as temporary:
        torch.save(contents, temporary)
    return path


def audited_images(data: FaceDataModule) -> str:
    """Return a hash of the images that an audit evaluates."""
    return digest(*(data.fingerprint(name) for name in EVALUATION_SETS))


def retrained_scores(
    method: Method, data: FaceDataModule, seed: int, folder: Path, precision: str | None = None
) -> dict[str, float] | None:
    """Return the scores of the retrained model of the same data, backbone, recipe and seed.

    ``folder`` is that of the originals, where runs of Retrained are stored too. None where there is no such model, or
    it was audited on other images.
    """
    recipe = replace(data.recipe, epochs=data.recipe.retrained_epochs or data.recipe.epochs)
    path = original_path(folder, data, method, recipe, seed, "retrained", precision, "retain")
    with suppress(CheckpointError):
        contents = read_checkpoint(path)
        if contents.get("audited") == audited_images(data) and isinstance(contents.get("audit"), dict):
            return {name: value for name, value in contents["audit"].items() if name != "iteration"}
    return None


def find_or_train(
    method: Method,
    data: FaceDataModule,
    *,
    seed: int = 0,
    logs: str | Path = LOGS,
    folder: Path | None = None,
    trainer_settings: Mapping[str, Any] | None = None,
    processes: int = 1,
) -> str:
    """Set ``method.original`` to the original of this data, backbone, recipe and seed; train it first if necessary.

    Likewise ``method.cohort_files``, the networks of its cohorts. Interrupted training continues after its last epoch.
    If several processes start at once, one of them trains it.

    Args:
        method: The unlearning method; if it needs no original, or ``method.original`` is set, it does not change.
        data: The data module.
        seed: Seed of the original's training.
        logs: Folder of all runs.
        folder: Folder of the originals; ``originals`` in that of all runs by default.
        trainer_settings: Settings of the trainer that the original's training shares (accelerator, precision, ...).
        processes: Number of processes of the run; the original is trained by one.

    Returns:
        Path of the original's checkpoint; empty where the method needs none.

    Raises:
        SettingError: If there is no original and the processes already belong to a group, or if its training does not
            reach the last epoch.
    """
    method.check()
    method.check_data(data)
    precision = str((trainer_settings or {}).get("precision") or "32-true")
    folder = folder or Path(logs) / ORIGINALS

    def found(role: str, rows: str, batch_size: int | None = None) -> str:
        path = original_path(folder, data, method, data.recipe, seed, role, precision, rows, batch_size)
        if not path.exists() and torch.distributed.is_initialized():
            # Lightning's barriers wait for all processes of the group, even those of a trainer on one device.
            raise SettingError(
                f"{path}: no such {role} yet, and the processes already belong to a group, so none can train it "
                "alone. Find or train all originals before the first run, or give --model.original FILE."
            )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock"), f"training the {role} model"):
                remove_leftovers(path.parent, path.name)
                if not path.exists():
                    if processes > 1:
                        console.print(
                            f"[bold]data.batch_size is {data.batch_size} in each of {processes} processes[/bold], and "
                            f"in the one that trains the {role}: it is another than that of a run of one process "
                            f"with {processes * data.batch_size}, which --model.original would share.",
                            soft_wrap=True,
                        )
                    with alone():
                        settings, part = dict(trainer_settings or {}), Pass(retain=rows, batch_size=batch_size)
                        _train(method, data, path, seed, Path(logs), settings, role, part)
        return str(path)

    method.cohort_files = {rows: found(COHORT, rows, method.cohort_batch(data)) for rows in method.cohort_sets(data)}
    if not method.needs_original:
        return ""
    if method.original is None:
        method.original = found("original", "train")
        # Known whether the file holds a record or was written by an earlier version: its name follows from these rows.
        method.trained_on = np.unique(data.digests[data.rows("train")])
    return method.original


def _train(
    method: Method,
    data: FaceDataModule,
    path: Path,
    seed: int,
    logs: Path,
    trainer_settings: dict[str, Any],
    role: str,
    part: Pass,
) -> None:
    which = "original model" if role != COHORT else f"network of {part.over}"
    console.print(
        f"[bold]No {which} for this data, backbone, recipe and seed yet[/bold]: training one first "
        f"({data.recipe.epochs} epochs). Later runs will find it in {path.parent}.",
        soft_wrap=True,
    )
    L.seed_everything(seed, workers=True, verbose=False)
    original = Original(
        backbone=method.backbone,
        pretrained=method.pretrained,
        weights=method.start_weights,
        normalize=method.normalize,
    )
    original.passes = (part,)
    version = path.stem.rpartition("-")[2]
    run = logs / f"{role}_{data.label}" / version
    last = run / "checkpoints" / "last.ckpt"
    iteration = iteration_of(last)
    trainer = make_trainer(
        method=original,
        recipe=data.recipe,
        run_loggers=lambda: loggers(logs, run.parent.name, version, iteration),
        callbacks=[ForgettingAudit(), BestCheckpoint(monitor=None)],
        max_epochs=data.recipe.epochs,
        check_val_every_n_epoch=max(1, data.recipe.epochs // AUDITS),
        devices=1,
        **trainer_settings,
    )
    remove_leftovers(run)
    try:
        trainer.fit(original, datamodule=data, ckpt_path=None if iteration is None else str(last), weights_only=True)
    except SystemExit:
        console.print(f"Interrupted. The same command continues the {role}'s training after its last complete epoch.")
        raise SystemExit(INTERRUPTED) from None
    if trainer.current_epoch < data.recipe.epochs or not is_finite(trainer):
        raise SettingError(
            f"The {role}'s training ended after {trainer.current_epoch} of {data.recipe.epochs} epochs, so nothing "
            "was unlearned. If its losses were no longer finite, lower --data.recipe.lr."
        )
    store(trainer, original, path.parent, seed, role)
