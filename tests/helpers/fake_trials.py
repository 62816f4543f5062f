"""Trials without training: an executor that writes logs."""

from __future__ import annotations

import csv
import math
import os
import signal
from pathlib import Path

import yaml

from gli.runs.membership import Membership, write_membership
from gli.runs.spec import DONE, STOP, STOPPED, RunSpec
from gli.study.outcome import Objective
from gli.study.search import Search
from gli.study.space import Settings, sampled

#: Constants of ``gli.engine.execute`` with which nobody waits for such runs.
IMPATIENT = {"POLL_SECONDS": 0.0, "WATCH_SECONDS": -1.0}
AUDITS = 6
COLUMNS = ("accuracy", "mia_accuracy", "forgetting_score", "jsd", "final_score", "utility_drop", "loss_test")


def scores(settings: Settings, audit: int) -> dict[str, float]:
    """Return made-up scores: best at a learning rate of 0.001; larger rates lose more accuracy."""
    lr = float(settings["model.lr"])
    quality = 1 / (1 + (math.log10(lr) + 3) ** 2)
    forgetting, drop = 0.4 * (1 - quality * audit / AUDITS), min(1.0, 20 * lr * audit / AUDITS)
    final = (1 - drop + 1 - 2 * forgetting) / 2
    values = (1 - drop, 0.5 + forgetting, forgetting, 0.3, final, drop, 1.0)
    return dict(zip(COLUMNS, values, strict=True))


class FakeFuture:
    """A run that writes one audit whenever somebody asks whether it is done, and ends when it is asked to."""

    def __init__(self, folder: Path, kill_at: int) -> None:
        self.spec = RunSpec.read(folder)
        model = self.spec.method["init_args"]
        self.settings = {"model.lr": model["lr"], "model.mode": model.get("mode", "")}
        self.folder, self.audit, self.kill_at = folder, 0, kill_at
        self.run = folder / "lightning_logs/gli_synthetic/version_0"
        self.run.mkdir(parents=True)
        method = {"lr": float(self.settings["model.lr"])}
        config = {
            "seed_everything": 0,
            "model": {"class_path": "gli.methods.GLI", "init_args": method},
            "data": {"class_path": "gli.data.SyntheticFaces"},
        }
        (self.run / "config.yaml").write_text(yaml.safe_dump(config))
        rehearsal = bool(self.spec.data["init_args"].get("rehearsal"))
        write_membership(self.run, Membership("trained here", rehearsal=rehearsal))
        self.status: int | None = None

    def done(self) -> bool:
        if self.status is None:
            self.status = self._step()
        return self.status is not None

    def _step(self) -> int | None:
        if "fail" in self.settings.get("model.mode", ""):
            (self.folder / "log.txt").write_text("gli: model.mode is fail\n")
            return 2
        if self.audit == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        row = {"step": self.audit} | {f"val/{name}": x for name, x in scores(self.settings, self.audit).items()}
        with (self.run / "metrics.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not self.audit:
                writer.writeheader()
            writer.writerow(row)
        self.audit += 1
        stopped = (self.folder / STOP).exists()
        if stopped or self.audit > AUDITS:
            self.spec.finish(self.run, 1.0, STOPPED if stopped else DONE)
            return 0
        return None

    def exception(self) -> None:
        return None

    def result(self) -> int:
        return self.status or 0


class FakeExecutor:
    """Starts such runs; ``kill_at`` is the number of the run that kills this process at its third audit."""

    def __init__(self, kill_at: int = -1) -> None:
        self.folders: list[Path] = []
        self.kill_at, self.closed = kill_at, False

    def submit(self, arguments, *, log):
        self.folders.append(Path(arguments[-1]))
        return FakeFuture(self.folders[-1], 2 if len(self.folders) == self.kill_at else -1)

    def close(self) -> None:
        self.closed = True


def make_run(folder: Path, settings: Settings, number: int) -> RunSpec:
    method = {"init_args": {name.removeprefix("model."): value for name, value in settings.items()}}
    title = " ".join(f"{name}={value}" for name, value in settings.items())
    return RunSpec(method, {"init_args": {}}, {}, {}, 0, row=title, column=f"trial {number}").below(folder)


def search(
    folder: Path,
    objective: str = "final_score",
    ranges: tuple[str, ...] = ("model.lr=1e-5..1e-1:log",),
    choices: tuple[str, ...] = (),
    kill_at: int = -1,
    max_utility_drop: float = 1.0,
    prune: bool = True,
) -> tuple[Search, FakeExecutor]:
    """Return a search and such an executor."""
    executor = FakeExecutor(kill_at)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Objective.named(objective, max_utility_drop)
    study = Search(
        sampled(ranges, choices),
        lambda number, settings: make_run(folder, settings, number),
        chosen,
        folder / "search.journal",
        "study",
        seed=1,
        prune=prune,
    )
    return study, executor
