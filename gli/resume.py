"""What lets a killed run go on: checkpoints that are whole, and the folder of the run that is to go on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gli.data.files import read_yaml, remove_leftovers, replacing
from gli.errors import CheckpointError, DataError, SettingError
from gli.models import read_checkpoint
from gli.runs import snake_case

#: Settings of the data that change how fast a run is, not what it computes.
INDIFFERENT = ("cache_dir", "num_workers")


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint aside and puts it in place in one step, so that a kill or a full disk leaves the one before it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            DataError: If it cannot be written; what stood there before is still there.
        """
        path = Path(path)
        try:
            with replacing(path) as aside:
                torch.save(checkpoint, aside)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter.
            raise DataError(
                f"{path}: the checkpoint cannot be written ({error.strerror if isinstance(error, OSError) else error}). "
                "The one before it is kept. Make room, or check who may write there; then go on with --ckpt_path last."
            ) from error


def iteration_of(checkpoint: Path) -> int | None:
    """The iteration that a checkpoint of a run was written at; None where it is absent or damaged."""
    with suppress(CheckpointError, KeyError, TypeError, ValueError):
        return int(read_checkpoint(checkpoint)["classifier"]["iteration"])
    return None


def find_run(logs: Path, method: str, settings: Mapping[str, Any]) -> Path | None:
    """The newest run of these settings (seed, model and data) that has a checkpoint to go on with.

    Args:
        logs: Folder of all runs.
        method: Class name of the method.
        settings: The settings, as ``config.yaml`` has them.
    """
    checkpoints = logs.glob(f"{snake_case(method)}_*/version_*/checkpoints/last.ckpt")
    for checkpoint in sorted(checkpoints, key=lambda path: path.stat().st_mtime, reverse=True):
        folder = checkpoint.parent.parent
        with suppress(DataError, AttributeError, TypeError):
            if _what_counts(read_yaml(folder / "config.yaml", "settings")) == _what_counts(settings):
                return folder
    return None


def _what_counts(settings: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(settings.get("data") or {})
    data["init_args"] = {key: value for key, value in (data.get("init_args") or {}).items() if key not in INDIFFERENT}
    return {"seed": settings.get("seed_everything"), "model": settings.get("model"), "data": data}


def hold(folder: Path) -> FileLock:
    """Lock a run's folder for as long as this process lives, and clear away what a killed one has left half-written.

    Raises:
        SettingError: If another process is at work in it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise SettingError(
            f"{folder}: another process is at work in the folder of this run. Wait for its end, or start a run of its own "
            "without --ckpt_path."
        ) from error
    remove_leftovers(folder)
    return lock
