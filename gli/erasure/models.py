"""The models of a batch or a rehearsal: new ones and reference models, each an ordinary run of gli in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gli.engine.board import run_jobs
from gli.engine.choose import make_executor
from gli.engine.job import ARGUMENTS, NEVER, Job
from gli.erasure.batches import ASSIGNMENT, TABLE
from gli.erasure.canonical import durable_write
from gli.erasure.settings import Candidate
from gli.erasure.store import Store
from gli.errors import DataError
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


def arguments_of(store: Store, candidate: Candidate) -> dict[str, Any]:
    """Return all settings of an unlearning method that starts from the current weights of a store."""
    settings = store.settings
    shared = {"original": str(store.weights.absolute()), "backbone": settings.backbone, "normalize": settings.normalize}
    return {**candidate.settings, **shared}


def model_job(
    store: Store, work: Path, data: Mapping[str, Any], kind: str, seed: int, candidate: Candidate | None = None
) -> Job:
    """Return the job of a model.

    Args:
        store: The store.
        work: Folder of the run, with the tables of :func:`~gli.erasure.batches.prepare`.
        data: Settings of its data.
        kind: Kind of model in messages and names of files, such as ``reference``.
        seed: Seed of the run.
        candidate: Method that changes the current weights; None to retrain.
    """
    settings, policy = store.settings, store.settings.policy
    trainer: dict[str, Any] = {"enable_progress_bar": False, "val_check_interval": NEVER}
    if "accelerator" in policy.trainer_settings:
        trainer["accelerator"] = policy.trainer_settings["accelerator"]
    if candidate is not None:
        model = {"class_path": candidate.method, "init_args": arguments_of(store, candidate)}
        trainer |= policy.trainer_settings
    else:
        shared = {"backbone": settings.backbone, "normalize": settings.normalize}
        model = {"class_path": RETRAINED, "init_args": shared}
    content = {
        "model": model,
        "data": {"class_path": "FaceTable", "init_args": dict(data)},
        "trainer": trainer,
        # The last model counts: no checkpoint is chosen by its scores on the people of the batch.
        "checkpoint": {"monitor": None},
        "audit": {"keep_losses": False},
    }
    key = digest(yaml.safe_dump(content), seed, *((work / each).read_bytes() for each in (TABLE, ASSIGNMENT)))
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


def reference_jobs(store: Store, work: Path, data: Mapping[str, Any], count: int) -> list[Job]:
    """Return the jobs of some reference models; see :func:`model_job`."""
    return [model_job(store, work, data, "reference", FIRST_SEED + number) for number in range(count)]


def train(jobs: Sequence[Job], slots: int) -> None:
    """Run the jobs that are not finished.

    Args:
        jobs: The jobs.
        slots: Number of jobs at once.

    Raises:
        DataError: If a job failed.
    """
    waiting = [job for job in jobs if job.run is None]
    failed = run_jobs(waiting, make_executor(slots), slots=slots) if waiting else []
    if failed:
        raise DataError(f"Without a result: {'; '.join(failed)}. The same command repeats what failed.")


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
