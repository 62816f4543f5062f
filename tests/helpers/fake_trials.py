"""Trials without training: an executor that writes logs. As a script: ``fake_trials.py FOLDER TOTAL KILL_AT``."""

from __future__ import annotations

import csv
import math
import os
import signal
import sys
from pathlib import Path

import yaml

from gli.engine.executor import Resources
from gli.engine.job import DONE, STOP, STOPPED, Job, finish, read_arguments
from gli.runs.membership import Membership, write_membership
from gli.study import trials as run
from gli.study.objective import Objective
from gli.study.sampler import Study
from gli.study.space import Settings, sampled
from gli.study.trials import Trials
from gli.system.digest import digest

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
        arguments, self.key = read_arguments(folder)
        self.settings = dict(argument.removeprefix("--").split("=", 1) for argument in arguments if "=" in argument)
        self.folder, self.audit, self.kill_at = folder, 0, kill_at
        self.run = folder / "lightning_logs/gli_synthetic/version_0"
        self.run.mkdir(parents=True)
        method = {name.removeprefix("model."): float(self.settings[name]) for name in ["model.lr"]}
        config = {
            "seed_everything": 0,
            "model": {"class_path": "gli.methods.GLI", "init_args": method},
            "data": {"class_path": "gli.data.SyntheticFaces"},
        }
        (self.run / "config.yaml").write_text(yaml.safe_dump(config))
        write_membership(self.run, Membership("trained here", rehearsal=self.settings.get("data.rehearsal") == "true"))
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
            finish(self.folder, self.key, self.run, 1.0, STOPPED if stopped else DONE)
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

    def submit(self, command, *, log, resources=Resources()):
        self.folders.append(Path(command[-1]))
        return FakeFuture(self.folders[-1], 2 if len(self.folders) == self.kill_at else -1)

    def close(self) -> None:
        self.closed = True


def make_job(folder: Path, settings: Settings, number: int) -> Job:
    arguments = ("fit", *(f"--{name}={value}" for name, value in settings.items()))
    key = digest(*arguments)
    return Job(" ".join(arguments[1:]), f"trial {number}", folder / key[:16], arguments, key)


def search(
    folder: Path,
    objective: str = "final_score",
    ranges: tuple[str, ...] = ("model.lr=1e-5..1e-1:log",),
    choices: tuple[str, ...] = (),
    kill_at: int = -1,
    max_utility_drop: float = 1.0,
    prune: bool = True,
) -> tuple[Trials, FakeExecutor]:
    """Return a search with such an executor."""
    run.POLL_SECONDS, run.WATCH_SECONDS = 0.0, -1.0
    executor = FakeExecutor(kill_at)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Objective.named(objective, max_utility_drop)
    study = Study(folder / "search.journal", "study", sampled(ranges, choices), chosen, seed=1, prune=prune)
    return Trials(study, lambda number, settings: make_job(folder, settings, number), executor), executor


if __name__ == "__main__":
    search(Path(sys.argv[1]), kill_at=int(sys.argv[3]))[0].run(int(sys.argv[2]))
