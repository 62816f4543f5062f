"""Resume killed runs: complete checkpoints, and the folder of the run to continue."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gli.errors import CheckpointError, DataError, SettingError
from gli.models.checkpoints import read_checkpoint
from gli.runs.folder import snake_case
from gli.runs.read import SETTINGS
from gli.runs.spec import relevant
from gli.system.files import atomic_write, read_yaml, remove_leftovers

#: Settings of the data that change the speed of a run, not its results.
SPEED_ONLY = ("cache_dir", "num_workers", "evaluate_retain")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints whole or not at all, so that the previous one survives a kill; read those of gli 0.1."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            DataError: If it cannot be written; an earlier file of that name is still there.
        """
        path = Path(path)
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter.
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(
                f"{path}: the checkpoint cannot be written ({reason}). The one before it is kept. Free some space, or "
                "check the permissions of the folder; then continue with --ckpt_path last."
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint, with the state of callbacks as this version names it."""
        return upgrade(super().load_checkpoint(path, *args, **kwargs))


def upgrade(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with the callbacks' state of gli 0.1 under the names of this version."""
    callbacks: dict[str, Any] = {}
    for key, state in checkpoint.get("callbacks", {}).items():
        if key.startswith("StopWhenWorse"):
            callbacks["EarlyStop" + key.removeprefix("StopWhenWorse")] = state
        elif key.startswith("BestCheckpoint{"):
            score = state["best_model_score"]
            callbacks["BestCheckpoint"] = {
                "best_model_path": state["best_model_path"],
                "best_model_score": float("nan") if score is None else float(score),
            }
        elif key == "ForgettingAudit" and "seconds" in state:
            callbacks["Stopwatch"] = {"seconds": state["seconds"]}
            callbacks[key] = {"rows": state["rows"], "stages": state.get("stages", {})}
        else:
            callbacks[key] = state
    return {**checkpoint, "callbacks": callbacks}


def check_checkpoint(path: str | None, class_path: str) -> None:
    """Refuse a checkpoint that is not of a run, or is of another method, before any work.

    None, and keywords of Lightning as ``path``, are left to it.

    Raises:
        CheckpointError: If it is not the complete checkpoint of a run.
        SettingError: If it is of another method.
    """
    if not path or not (Path(path).suffix or Path(path).exists()):
        return
    contents = read_checkpoint(path)
    if "pytorch-lightning_version" not in contents:
        raise CheckpointError(
            f"{path}: is not the checkpoint of a run. Give the weights of a model with --model.original."
        )
    description = contents.get("classifier", {})
    if not isinstance(description, dict) or not isinstance(contents.get("hyper_parameters", {}), dict):
        raise CheckpointError(
            f"{path}: is not a complete checkpoint of a run. Name another, such as last.ckpt beside it."
        )
    method, trained = class_path.rpartition(".")[2], description.get("method")
    if trained not in (None, method):
        raise SettingError(
            f"{path}: is a checkpoint of {trained}, but this is a run of {method}. Use --model {trained}, or give "
            "the checkpoint's weights with --model.original."
        )


def iteration_of(checkpoint: Path) -> int | None:
    """Return the iteration of a run's checkpoint; None where it is absent or damaged."""
    with suppress(CheckpointError, KeyError, TypeError, ValueError):
        return int(read_checkpoint(checkpoint)["classifier"]["iteration"])
    return None


def find_run(logs: Path, method: str, settings: Mapping[str, Any]) -> Path | None:
    """Return the newest run of the same settings (seed, model and data) that has a checkpoint to continue from."""
    checkpoints = logs.glob(f"{snake_case(method)}_*/version_*/checkpoints/last.ckpt")
    for checkpoint in sorted(checkpoints, key=lambda path: path.stat().st_mtime, reverse=True):
        folder = checkpoint.parent.parent
        with suppress(DataError, AttributeError, TypeError):
            if _identity(read_yaml(folder / SETTINGS, "settings")) == _identity(settings):
                return folder
    return None


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that must be equal for one run to continue another."""
    model, data = relevant(settings.get("model")), relevant(settings.get("data"), SPEED_ONLY)
    return {"seed": settings.get("seed_everything"), "model": model, "data": data}


def lock_run(folder: Path) -> FileLock:
    """Lock a run's folder for the lifetime of this process, and remove temporary files of killed processes.

    Raises:
        SettingError: If another process is writing in it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise SettingError(
            f"{folder}: another process is writing in the folder of this run. Wait until it has ended, or start a "
            "separate run without --ckpt_path."
        ) from error
    remove_leftovers(folder)
    return lock
