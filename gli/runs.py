"""Where runs go: names, folders, cost, and the table at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from rich.table import Table

from gli.data.files import replacing
from gli.errors import DataError
from gli.processes import memory

#: What a run cost, in its folder.
COST = "cost.json"
#: Rows of the closing table: log name, heading.
SCORES = (
    ("accuracy", "test accuracy"),
    ("top2_accuracy", "top-2 accuracy"),
    ("mia_accuracy", "MIA accuracy (0.5 is best)"),
    ("forgetting_score", "forgetting score (lower is better)"),
    ("jsd", "JSD (lower is better)"),
    ("final_score", "final score (higher is better)"),
    ("utility_drop", "utility drop"),
)


def snake_case(name: str) -> str:
    """``FineTune`` -> ``fine_tune``, ``GLI`` -> ``gli``, as in the names of configurations and run folders."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def iterations_done(trainer: L.Trainer) -> int:
    """Training batches that this run, and the run it resumes, have been through: the x axis of all logs."""
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def epoch_now(trainer: L.Trainer) -> int:
    """The epoch that is under way; the trainer's ``current_epoch`` lags behind after resuming at an epoch's end."""
    return cast(Any, trainer.fit_loop.epoch_progress.current).processed


def new_folder(parent: Path) -> int:
    """Make the next ``version_<n>`` folder below ``parent``, never one that another run has just made; its number."""
    number = 0
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            (parent / f"version_{number}").mkdir()
        except FileExistsError:
            number += 1
            if not parent.is_dir():
                raise DataError(f"{parent}: a file stands where the folder of this run should be. Move it.") from None
        except OSError as error:
            raise DataError(
                f"{parent}: the folder of this run cannot be made ({error.strerror}). Point --trainer.default_root_dir to a "
                "folder that you may write to."
            ) from error
        else:
            return number


def write_cost(folder: Path, training_seconds: float) -> None:
    """Note in a run's folder what it cost: time spent in training steps, and the most memory the process has had."""
    _, peak = memory()
    cost = {"training_seconds": training_seconds, "peak_memory_bytes": peak, "device": "cpu"}
    if torch.cuda.is_available():
        cost |= {"peak_memory_bytes": torch.cuda.max_memory_allocated(), "device": torch.cuda.get_device_name()}
    with replacing(folder / COST) as aside:
        aside.write_text(json.dumps(cost))


def read_cost(folder: Path) -> dict[str, float]:
    """What a run cost; empty where it did not get to its end, or the note is damaged."""
    try:
        found = json.loads((folder / COST).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    numbers = ("training_seconds", "peak_memory_bytes")
    sound = isinstance(found, dict) and all(type(found[name]) in (int, float) for name in numbers if name in found)
    return {name: found[name] for name in (*numbers, "device") if name in found} if sound else {}


def comparison(columns: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """A table of the published scores, one column per model."""
    table = Table(title_justify="left")
    table.add_column("")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    labels = [name for name in columns[0][1] if name.startswith("accuracy_")]
    for key, heading in (*SCORES[:1], *((label, label.replace("_", " ")) for label in labels), *SCORES[1:]):
        if any(key in scores for _, scores in columns):
            table.add_row(heading, *(f"{scores[key]:.4f}" if key in scores else "" for _, scores in columns))
    return table
