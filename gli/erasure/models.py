"""The models of a batch: the new one and the reference models, each an ordinary run of gli in ``work/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gli.erasure.batches import ASSIGNMENT, TABLE, WORK
from gli.erasure.canonical import durable_write
from gli.erasure.settings import Route
from gli.erasure.store import Store
from gli.errors import DataError
from gli.jobs.job import ARGUMENTS, NEVER, Job
from gli.system.digest import digest
from gli.system.files import write_json

#: Seed of the first reference model.
FIRST_SEED = 1000
RETRAINED = "Retrained"


@dataclass(frozen=True)
class ResumedJob(Job):
    """A job that continues its run after a kill, instead of starting again."""

    def prepare(self) -> None:
        """Write the arguments; what an earlier process left in the folder stays."""
        write_json(self.folder / ARGUMENTS, {"arguments": self.arguments, "key": self.key})


def method_arguments(store: Store) -> dict[str, Any]:
    """Return the settings of the unlearning method."""
    settings = store.settings
    shared = {"original": str(store.weights.absolute()), "backbone": settings.backbone, "normalize": settings.normalize}
    return {**settings.policy.method_settings, **shared}


def model_job(store: Store, name: str, data: Mapping[str, Any], route: Route | None, seed: int) -> Job:
    """Return the job of a model.

    Args:
        store: The store.
        name: Name of the batch.
        data: Settings of the batch's data.
        route: ``retrain`` or ``unlearn``; None for a reference model.
        seed: Seed of the run.
    """
    settings, policy = store.settings, store.settings.policy
    trainer: dict[str, Any] = {"enable_progress_bar": False, "val_check_interval": NEVER}
    if "accelerator" in policy.trainer_settings:
        trainer["accelerator"] = policy.trainer_settings["accelerator"]
    if route == "unlearn":
        model = {"class_path": policy.method, "init_args": method_arguments(store)}
        trainer |= policy.trainer_settings
    else:
        shared = {"backbone": settings.backbone, "normalize": settings.normalize}
        model = {"class_path": RETRAINED, "init_args": shared}
    work = store.batch(name) / WORK
    content = {
        "model": model,
        "data": {"class_path": "FaceTable", "init_args": dict(data)},
        "trainer": trainer,
        # The last model counts: no checkpoint is chosen by its scores on the people of the batch.
        "checkpoint": {"monitor": None},
        "audit": {"keep_losses": False},
    }
    key = digest(yaml.safe_dump(content), seed, *((work / each).read_bytes() for each in (TABLE, ASSIGNMENT)))
    kind = route or "reference"
    folder = work / f"{kind}-{key[:12]}"
    config = work / f"{kind}-{key[:12]}.yaml"
    durable_write(config, yaml.safe_dump(content).encode(), 0o600)
    arguments = (
        "fit",
        f"--config={config.absolute()}",
        f"--seed_everything={seed}",
        f"--trainer.default_root_dir={folder.absolute()}",
        f"--originals={(folder / 'originals').absolute()}",
        "--ckpt_path=last",
    )
    return ResumedJob(kind, f"seed {seed}", folder, arguments, key)


def checkpoint_of(job: Job) -> Path:
    """Return the last checkpoint of a finished job.

    Raises:
        DataError: If there is none.
    """
    run = job.run
    path = run / "checkpoints" / "last.ckpt" if run is not None else None
    if path is None or not path.is_file():
        raise DataError(f"Without a result: {job.reason_of_failure()}")
    return path
