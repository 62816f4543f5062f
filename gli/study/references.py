"""The retrained models that an audit of existing runs compares with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gli.engine.job import NEVER, Job
from gli.errors import DataError
from gli.runs.read import SETTINGS, shared_trainer
from gli.system.digest import digest
from gli.system.files import atomic_write, read_yaml

#: Settings of the model that a retrained model shares with the audited one.
SHARED = ("backbone", "pretrained", "weights", "normalize")
#: Settings of the data that change no result.
NEUTRAL = ("cache_dir", "num_workers", "eval_batch_size")
#: Seed of the first reference model; the audited run has a small one.
FIRST_SEED = 1000


def reference_jobs(run: Path, count: int, output: Path) -> list[Job]:
    """Return the jobs of retrained models on the data of a run.

    They are found again by content: runs with the same data, backbone and recipe share them.

    Args:
        run: Folder of the audited run.
        count: Number of reference models.
        output: Folder of the audit.

    Raises:
        DataError: If the settings of the run cannot be read.
    """
    settings = read_yaml(run / SETTINGS, "the settings of a run")
    try:
        model, data = settings["model"].get("init_args") or {}, settings["data"]
        shared = {name: model[name] for name in SHARED if model.get(name) is not None}
        content = {
            "model": {"class_path": "Retrained", "init_args": shared},
            "data": {**data, "init_args": dict(data.get("init_args") or {})},
            "trainer": _trainer(settings.get("trainer") or {}),
            "checkpoint": {"monitor": None},
        }
        key = digest(yaml.safe_dump(_identity(content)))[:12]
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{run / SETTINGS}: lacks the settings of a run ({error}).") from error
    folder = output / "references" / key
    config = folder / "retrained.yaml"
    with atomic_write(config) as temporary:
        temporary.write_text(yaml.safe_dump(content))
    jobs = []
    for number in range(count):
        seed = FIRST_SEED + number
        own = folder / f"seed{seed}"
        arguments = (
            "fit",
            f"--config={config.absolute()}",
            f"--seed_everything={seed}",
            f"--trainer.default_root_dir={own.absolute()}",
            f"--originals={(folder / 'originals').absolute()}",
        )
        jobs.append(Job("Retrained", f"seed {seed}", own, arguments, f"{key} {seed}"))
    return jobs


def _trainer(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**shared_trainer(settings), "enable_progress_bar": False, "val_check_interval": NEVER}


def _identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a reference model depends on."""
    data = content["data"]
    arguments = {name: value for name, value in data["init_args"].items() if name not in NEUTRAL}
    return {"model": content["model"], "data": {**data, "init_args": arguments}, "trainer": content["trainer"]}
