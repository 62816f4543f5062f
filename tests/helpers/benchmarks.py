"""Small benchmarks beside copies of the shipped configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {
    "data.people": 24,
    "data.pictures": 5,
    "data.image_size": 32,
    "data.batch_size": 16,
    "data.recipe.epochs": 1,
    "model.backbone": "test_resnet",
    "trainer.accelerator": "cpu",
    "trainer.max_steps": 2,
}


def write_benchmark(root: Path, **changes: Any) -> Path:
    """Write a benchmark of tiny runs beside copies of the shipped configurations; return its file.

    Args:
        root: Folder; the configurations are copied into ``root/configs``.
        **changes: Settings of the benchmark.
    """
    if not (root / "configs").exists():
        shutil.copytree(CONFIGS, root / "configs")
    settings = {"data": "synthetic", "methods": ["FineTune", "NegGrad"], "seeds": [0], "settings": TINY, **changes}
    path = root / "configs/benchmark/small.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def finished_cells(output: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each finished cell by the name of its folder."""
    return {path.parent.name: json.loads(path.read_text()) for path in output.glob("cells/*/done.json")}
