"""What descends from people in a folder of runs: which runs, checkpoints, caches and originals remember them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gli.auditing.record import FOLDER as AUDITS
from gli.auditing.record import PEOPLE, read_people
from gli.erasure.clean import named_rows
from gli.erasure.search import Traces
from gli.errors import DataError
from gli.runs.folder import ORIGINALS
from gli.runs.read import LOG, SETTINGS
from gli.system.files import read_csv, read_yaml

#: Sets that a run trains on, and sets that it only evaluates.
TRAINED, EVALUATED = ("forget", "retain"), ("test", "unseen")
#: Endings of files that hold weights.
WEIGHTS = (".ckpt", ".pt", ".pth", ".safetensors", ".onnx", ".bin")
#: Methods whose training leaves the forget set out.
NEVER_SEES_FORGET = "Retrained"
CHECKPOINTS = "checkpoints"
#: Folders of Weights & Biases and MLflow.
TRACKERS = ("wandb", "mlruns", "mlartifacts")


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run."""
    return any((folder / name).exists() for name in (SETTINGS, LOG, CHECKPOINTS, f"{AUDITS}/{PEOPLE}"))


def runs_below(folder: Path) -> list[Path]:
    """Return the folders of runs in a folder, itself included; links are not followed."""
    return [Path(parent) for parent, _, _ in os.walk(folder) if is_run(Path(parent)) and Path(parent).name != ORIGINALS]


def tracker_folders(folder: Path) -> list[Path]:
    """Return the folders below a folder in which Weights & Biases or MLflow keep what runs sent them."""
    return [Path(parent, name) for parent, names, _ in os.walk(folder) for name in names if name in TRACKERS]


def holds_gli_files(folder: Path) -> bool:
    """Return whether a folder is one that gli writes: a folder of runs or originals, or a pixel cache."""
    if is_run(folder) or not any(path.suffix != ".lock" for path in folder.iterdir()):
        return True  # An empty folder is what a purge leaves of a cache.
    patterns = ("*/version_*/", f"{ORIGINALS}/*.ckpt", "pixels-*-*.npy", "digests-*.npy", "original_*/*/", "version_*/")
    if any(next(folder.glob(pattern), None) is not None for pattern in patterns):
        return True
    return folder.name == ORIGINALS and next(folder.glob("*.ckpt"), None) is not None


@dataclass(frozen=True)
class Run:
    """A run and what it has to do with some people.

    Attributes:
        folder: Its folder.
        data: The settings that say which people its data has; empty if they cannot be read.
        method: Class name of the method.
        people: Names on each image of each evaluation set; None if the run kept none.
        traces: Whether a file of it other than an audit holds a trace.
        trackers: Loggers that wrote elsewhere.
    """

    folder: Path
    data: tuple[str, ...]
    method: str
    people: Mapping[str, Any] | None
    traces: bool
    trackers: tuple[str, ...] = ()

    def trained_on(self, traces: Traces) -> bool | None:
        """Return whether the model was trained on the people; None if that is not known."""
        if self.people is None:
            return None
        sets = {name for name, rows in named_rows(self.people, traces).items() if rows.any()}
        if not sets:
            return None
        if sets & set(TRAINED):
            return self.method != NEVER_SEES_FORGET or "retain" in sets
        return False


def read_run_of(folder: Path, traces: Traces) -> Run:
    """Return a run and what it has to do with some people."""
    data: tuple[str, ...] = ()
    method, found, trackers = "", False, []
    with suppress(DataError, KeyError, TypeError, AttributeError):
        config = read_yaml(folder / SETTINGS, "the settings of a run")
        section = config["data"]
        arguments = section.get("init_args") or {}
        data = (
            str(section["class_path"]).rpartition(".")[2],
            *(str(arguments.get(name)) for name in ("root", "csv", "seed")),
        )
        method = str(config["model"]["class_path"]).rpartition(".")[2]
        trackers = _trackers((config.get("trainer") or {}).get("logger"))
        found = _in_table(arguments, traces) or _is_drawn(data[0], arguments, traces)
    people = None
    with suppress(DataError):
        people = read_people(folder)
    if not found:
        with suppress(OSError):
            found = bool(traces.found_in((folder / SETTINGS).read_bytes()))
    return Run(folder, data, method, people, found, tuple(trackers))


def _trackers(logger: Any) -> list[str]:
    """Return the loggers of a run that wrote outside of its folder."""
    loggers = logger if isinstance(logger, list) else [logger]
    names = [
        str(each["class_path"]).rpartition(".")[2]
        for each in loggers
        if isinstance(each, Mapping) and "class_path" in each
    ]
    return [name for name in names if name not in ("TensorBoardLogger", "CSVLogger", "MetricsLog")]


def _in_table(arguments: Mapping[str, Any], traces: Traces) -> bool:
    """Return whether the table of a run still exists and lists somebody."""
    if not arguments.get("root"):
        return False
    column = str(arguments.get("identity") or "identity")
    with suppress(DataError):
        rows = read_csv(Path(str(arguments["root"])) / str(arguments.get("csv") or "faces.csv"), [column])
        return any(traces.is_name(row[column]) for row in rows)
    return False


def _is_drawn(data: str, arguments: Mapping[str, Any], traces: Traces) -> bool:
    """Return whether the drawn people of a run have one of the names."""
    if data != "SyntheticFaces":
        return False
    people = arguments.get("people")
    count = people if isinstance(people, int) else 0
    return any(name.startswith("person") and name[6:].isdigit() and int(name[6:]) < count for name in traces.names)


def related_runs(folders: list[Path], traces: Traces) -> tuple[list[Run], list[Run]]:
    """Return the runs that have to do with some people, and the others.

    A run is related if its audits, settings or table name somebody, or if its data is that of a related run.
    """
    runs = [read_run_of(folder, traces) for each in folders for folder in runs_below(each)]
    own = [run for run in runs if run.traces or _audited(run, traces)]
    data = {run.data for run in own if run.data}
    related = [run for run in runs if run in own or run.data in data]
    return related, [run for run in runs if run not in related]


def _audited(run: Run, traces: Traces) -> bool:
    return run.people is not None and any(rows.any() for rows in named_rows(run.people, traces).values())
