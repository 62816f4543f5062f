"""Read the folder of a run: its settings and its log."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gli.errors import DataError
from gli.metrics.registry import SCORES
from gli.system.files import read_yaml

LOG, SETTINGS = "metrics.csv", "config.yaml"
Row = TypeVar("Row", bound=Mapping[str, float])
#: Settings that may differ between repetitions of a run, with another seed or on another machine.
REPEATS = {"seed", "original", "root", "cache_dir", "num_workers", "eval_batch_size", "csv"}
#: Settings of the trainer that runs to be compared have in common.
_SHARED_TRAINER = ("accelerator", "precision")
#: Names of GLI with and without a warm-up, as in the paper's Table 3.
WARMED, FIXED = "GLI", "GLI with fixed weight"
EXAMPLE = "Name the folder of a run: lightning_logs/<method>_<data>/version_<n>."


def shared_trainer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of a trainer that runs to be compared have in common, as far as they are given."""
    return {name: settings[name] for name in _SHARED_TRAINER if settings.get(name) is not None}


class EvaluationFolder(DataError):
    """A folder of ``gli test`` or ``gli validate``: it evaluates a checkpoint of a run, and is no run itself."""


@dataclass(frozen=True)
class Run:
    """The folder of a run."""

    folder: Path  # The folder.
    method: str  # Class name of the method.
    data: str  # Class name of the data module.
    seed: int  # Seed of the run.
    settings: Mapping[str, Any]  # Settings by dotted name, without those that differ between repetitions.
    rows: Sequence[Mapping[str, float]]  # The audits in its log: ``iteration`` and the scores.
    data_seed: int | None = None  # Seed that the people were drawn with; None where they are those of files.

    @property
    def kind(self) -> str:
        """The method's name in the paper's tables."""
        initial, final = (self.settings.get(f"model.class_weight.{end}") for end in ("initial", "final"))
        return FIXED if self.method == WARMED and initial is not None and initial == final else self.method


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as a flat dictionary with dotted names."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log, without a last row that is incomplete because the process was killed."""
    complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return list(csv.DictReader(complete.split("\n"), restkey=""))


def _audit_row(row: Mapping[str, str]) -> dict[str, float]:
    """Return the iteration and the scores (names without ``val/``) in a row of a log."""
    scores = {key.removeprefix("val/"): float(value) for key, value in row.items() if key.startswith("val/") and value}
    iteration = float(row["step"])
    missing = [score.name for score in SCORES.values() if score.required and score.name not in scores]
    if missing:
        raise ValueError(f"step {iteration:g} has no val/{missing[0]}")
    if not iteration.is_integer() or iteration < 0:
        raise ValueError(f"{iteration:g} is not a valid step")
    return scores | {"iteration": iteration}


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the audits in a run's log, by iteration; DataError if it is absent, damaged, or holds no audit."""
    path = folder / LOG
    try:
        rows = [_audit_row(row) for row in read_rows(path) if row.get("val/accuracy")]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such log. {EXAMPLE}") from error
    except (OSError, ValueError, TypeError, KeyError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as the log of a run ({error}).") from error
    if not rows:
        raise DataError(f"{path}: holds no audit. Let the run reach its first audit.")
    # A resumed run may have logged an iteration twice; the later row counts.
    return sorted({row["iteration"]: row for row in rows}.values(), key=lambda row: row["iteration"])


def best_audit(
    rows: Iterable[Row], max_utility_drop: float = math.inf, *, score: str = "final_score", mode: str = "max"
) -> Row | None:
    """Return the best audit after iteration 0, or None where there is none.

    An audit without a final score (losses that are not finite) never wins. ``mode`` is ``max`` or ``min``.
    """
    allowed = [row for row in rows if row["iteration"] > 0 and row.get("utility_drop", 0.0) <= max_utility_drop]
    scored = [row for row in allowed if not math.isnan(row.get("final_score", math.nan)) and score in row]
    sign = {"max": 1, "min": -1}[mode]
    return max(scored, key=lambda row: sign * row[score], default=None)


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises:
        EvaluationFolder: If it is the folder of ``gli test`` or ``gli validate``.
        DataError: If it is not the folder of a run, or a file in it is damaged.
    """
    path = folder / SETTINGS
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        config = read_yaml(path, "the settings of a run")
        evaluated = "verbose" in config  # A setting that gli test and gli validate have, and gli fit has not.
        model, data = config["model"], config["data"]
        method, module = (section["class_path"].rpartition(".")[2] for section in (model, data))
        settings = {f"model.{name}": value for name, value in flatten(model.get("init_args") or {}).items()}
        settings |= {f"data.{name}": value for name, value in flatten(data.get("init_args") or {}).items()}
        seed = int(config["seed_everything"])
        data_seed = settings.get("data.seed")
        if not method.isidentifier() or not module.isidentifier():
            raise ValueError(f"{method!r} or {module!r} is not a class name")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. {EXAMPLE}") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as the settings of a run ({error}).") from error
    if evaluated:
        raise EvaluationFolder(f"{folder}: is a folder of gli test or gli validate, not of a run. {EXAMPLE}")
    settings = {name: value for name, value in settings.items() if name.rpartition(".")[2] not in REPEATS}
    return Run(folder, method, module, seed, settings, read_log(folder), data_seed)
