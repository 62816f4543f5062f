"""Run folders with made-up scores, in the format that ``gli fit`` writes."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from gli.auditing.record import Record, write_people, write_record

SETS = ("test", "forget", "unseen")
#: Identity on each of the 30 images of each set.
PEOPLE = {name: np.repeat([f"{name}{person}" for person in range(10)], 3) for name in SETS}


def make_audit(iteration: int, seed: int, shift: float) -> Record:
    """Return an audit of random values; unseen losses are larger by ``shift``."""
    generator = np.random.default_rng([seed, iteration])
    values = {}
    for name in SETS:
        loss = generator.gamma(2, size=30) + (shift if name == "unseen" else 0)
        values[name] = {
            "loss": loss.astype(np.float32).astype(float),
            "accuracy": generator.integers(0, 2, 30).astype(float),
        }
    return Record(iteration, values)


@cache
def scored_audits(seed: int, count: int, better: float) -> tuple[list[Record], list[dict[str, float]]]:
    """Return the audits of a run and its rows in the log; their scores take most of the time of writing a run."""
    audits = [make_audit(2 * number, seed, 1.0 - 0.2 * number) for number in range(count)]
    for audit in audits:
        accuracy = audit.values["test"]["accuracy"]
        accuracy[np.random.default_rng([seed, audit.iteration, 1]).random(30) < better] = 1
    rows = [{"step": audit.iteration} | {f"val/{name}": x for name, x in audit.scores().items()} for audit in audits]
    return audits, rows


def write_run(
    folder: Path,
    method: str = "GLI",
    seed: int = 0,
    count: int = 4,
    data: str = "SyntheticFaces",
    keep_losses: bool = True,
    data_seed: int | None = None,
    better: float = 0.0,
    **settings: object,
) -> Path:
    """Write the folder of a run that was audited after every second iteration.

    Args:
        folder: The folder.
        method: Class name of the method.
        seed: Seed of the run.
        count: Number of audits.
        data: Class name of the data module.
        keep_losses: Whether the run kept the records of its audits.
        data_seed: Seed of the data; that of the run by default.
        better: Share of the wrong answers on the test images that are right all the same.
        **settings: Settings of the method.
    """
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "model": {
            "class_path": f"gli.methods.{method}",
            "init_args": {"lr": 0.01, "original": f"{seed}.ckpt", **settings},
        },
        "data": {"class_path": f"gli.data.{data}", "init_args": {"image_size": 64}},
    }
    if data != "MUFAC":  # Its people come from files.
        config["data"]["init_args"]["seed"] = seed if data_seed is None else data_seed
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    audits, rows = scored_audits(seed, count, better)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/loss", *list(rows[0])[1:]])
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            writer.writerow({"step": row["step"] + 1, "train/loss": 0.1})
    if keep_losses:
        write_people(folder, PEOPLE)
        for audit in audits:
            write_record(folder, audit)
    return folder


class RunFolders:
    """Write run folders below a folder, and know them.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[Path] = []

    def __call__(self, method: str = "GLI", seed: int = 0, **options: object) -> Path:
        """Write a run folder; see :func:`write_run`."""
        folder = self.root / f"{method}-{seed}-{len(self.made)}"
        self.made.append(write_run(folder, method, seed, **options))  # type: ignore[arg-type]
        return folder


def change_log(folder: Path, iteration: int, score: str, value: float) -> None:
    """Change a score in the log of a run."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [row for row in rows if row["step"] == str(iteration) and row["val/accuracy"]]
    row[f"val/{score}"] = str(value)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
