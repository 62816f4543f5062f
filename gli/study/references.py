"""The retrained models that an audit of existing runs compares with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gli.errors import DataError
from gli.runs.read import SETTINGS, shared_trainer
from gli.runs.spec import NEVER
from gli.system.files import read_yaml

if TYPE_CHECKING:
    from gli.runs.spec import RunSpec

#: Settings of the model that a retrained model shares with the audited one.
SHARED = ("backbone", "pretrained", "weights", "normalize")
#: Seed of the first reference model; the audited run has a small one.
FIRST_SEED = 1000


def reference_runs(run: Path, count: int, output: Path) -> list[RunSpec]:
    """Return the runs of retrained models on the data of a run; runs with the same data and backbone share them.

    Args:
        run: Folder of the audited run.
        count: Number of reference models.
        output: Folder of the audit.

    Raises:
        DataError: If the settings of the run cannot be read.
    """
    from gli.engine.fit import specify  # Loads torch.

    settings = read_yaml(run / SETTINGS, "the settings of a run")
    try:
        model, data = settings["model"].get("init_args") or {}, settings["data"]
        content = {
            "model": {
                "class_path": "Retrained",
                "init_args": {name: model[name] for name in SHARED if model.get(name) is not None},
            },
            "data": {**data, "init_args": dict(data.get("init_args") or {})},
            "trainer": {**shared_trainer(settings.get("trainer") or {}), "val_check_interval": NEVER},
            "checkpoint": {"monitor": None},
            "figures": {"enabled": False},
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{run / SETTINGS}: lacks the settings of a run ({error}).") from error
    folder = output / "references"
    return [
        specify(
            [f"--config={json.dumps(content)}", f"--seed_everything={seed}"],
            row="Retrained",
            column=f"seed {seed}",
            originals=folder / "originals",
        ).below(folder)
        for seed in range(FIRST_SEED, FIRST_SEED + count)
    ]
