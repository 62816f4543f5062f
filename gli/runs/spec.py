"""A run as a value: the settings that its result depends on, and the folder that it runs in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gli.errors import DataError
from gli.runs.read import LOG as METRICS
from gli.system.digest import digest
from gli.system.files import inside, write_json

#: Files in the folder of a run that is executed: its specification, the record of its end, and its output.
SPEC, DONE, LOG = "job.json", "done.json", "log.txt"
#: Likewise: the request to end early, and the record of a run that did so.
STOP, STOPPED = "stop", "stopped.json"
#: An interval of audits that no run reaches: such a run is audited at its start and at its end only.
NEVER = 1_000_000
#: Callbacks with settings, by the section of their settings.
CALLBACKS = ("audit", "figures", "early_stopping", "checkpoint")
#: Settings that change no result, by section.
_NEUTRAL = {
    "data": ("cache_dir", "num_workers", "eval_batch_size"),
    "trainer": ("default_root_dir", "enable_progress_bar", "enable_model_summary", "logger", "profiler", "barebones"),
}


@dataclass(frozen=True)
class RunSpec:
    """One run of ``gli fit``."""

    method: Mapping[str, Any]  # Class path and settings of the method, defaults included.
    data: Mapping[str, Any]  # Class path and settings of the data, defaults included.
    trainer: Mapping[str, Any]
    callbacks: Mapping[str, Any]  # Settings of the callbacks, by section.
    seed: int
    after: frozenset[Path] = frozenset()  # Folders of the runs that must have ended before this one starts.
    folder: Path = field(default=Path(), compare=False)  # Folder of the run.
    #: Folder of the original models; None for that of ``folder``.
    originals: Path | None = field(default=None, compare=False)
    row: str = field(default="", compare=False)  # Row in the live table, such as the name of the method.
    column: str = field(default="", compare=False)  # Column in the live table, such as the seed.
    #: Whether the run continues after a kill, instead of starting again.
    resumes: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, settings: Mapping[str, Any], **place: Any) -> RunSpec:
        """Return the specification of resolved settings; ``place`` is folder, title and order of the run."""
        callbacks = {name: settings[name] for name in CALLBACKS if name in settings}
        return cls(
            settings["model"], settings["data"], settings["trainer"], callbacks, settings["seed_everything"], **place
        )

    @classmethod
    def read(cls, folder: Path) -> RunSpec:
        """Return the specification of the run of a folder."""
        contents = json.loads((folder / SPEC).read_text())
        originals = contents["originals"] and Path(contents["originals"])
        return cls.of(contents["settings"], folder=folder, originals=originals, resumes=contents["resumes"])

    def __hash__(self) -> int:
        """Return a hash, for sets of runs."""
        return hash(self.key)

    def below(self, parent: Path) -> RunSpec:
        """Return the run in a folder below ``parent`` that is named by its key."""
        return replace(self, folder=parent / self.key[:16])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the result, as in the ``config.yaml`` of a run."""
        sections = {"model": self.method, "data": self.data, "trainer": self.trainer, **self.callbacks}
        return {"seed_everything": self.seed, **sections}

    @property
    def command(self) -> dict[str, Any]:
        """The settings of ``gli fit`` that run this in its folder."""
        trainer = {**self.trainer, "default_root_dir": str(self.folder.absolute()), "enable_progress_bar": False}
        originals = None if self.originals is None else str(self.originals.absolute())
        resumed = {"ckpt_path": "last"} if self.resumes else {}
        return {**self.settings, "trainer": trainer, "originals": originals, **resumed}

    @cached_property
    def key(self) -> str:
        """Hash of everything that the result depends on; files that settings name count by their content."""
        root = self.data.get("init_args", {}).get("root")
        roots = {"data": Path(root)} if isinstance(root, str) else {}  # A table may be named relative to it.
        sections = {
            section: relevant(values, _NEUTRAL.get(section, ()), roots.get(section, Path()))
            for section, values in self.settings.items()
            if section != "figures"
        }
        return digest(json.dumps(sections, sort_keys=True))

    @property
    def title(self) -> str:
        """Name in messages."""
        return f"{self.row}, {self.column}"

    @property
    def run(self) -> Path | None:
        """Folder of the finished run; None where there is none with this key."""
        return finished_run(self.folder, self.key)

    @property
    def stopped_run(self) -> Path | None:
        """Folder of the run that was asked to end early, and did; None where there is none with this key."""
        return finished_run(self.folder, self.key, STOPPED)

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.folder / LOG

    def prepare(self) -> None:
        """Empty the folder, unless the run resumes, and write the specification into it."""
        if not self.resumes:
            shutil.rmtree(self.folder, ignore_errors=True)
        originals = None if self.originals is None else str(self.originals.absolute())
        contents = {"settings": self.settings, "originals": originals, "resumes": self.resumes, "key": self.key}
        write_json(self.folder / SPEC, contents)

    def stop(self) -> None:
        """Ask the run to end in an orderly way after its current batch, on whatever machine it runs."""
        (self.folder / STOP).touch()

    def finish(self, run: Path, seconds: float, record: str = DONE) -> None:
        """Record that the run has ended, asked to do so early if ``record`` is ``STOPPED``; its log is in ``run``."""
        name = run.resolve().relative_to(self.folder.resolve())
        write_json(self.folder / record, {"key": self.key, "run": str(name), "seconds": seconds})

    def reason_of_failure(self) -> str:
        """Return a message for a failed run: the last line of its output."""
        if self.stopped_run is not None:
            return f"{self.title}: was asked to end early ({self.folder / STOP})"
        lines: list[str] = []
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
        reason = lines[-1].strip() if lines else "ended without a message"
        return f"{self.title}: {reason} ({self.log})"


def finished_run(folder: Path, key: str | None = None, record: str = DONE) -> Path | None:
    """Return the folder of the log of a finished run, or None where there is none.

    ``key`` is that which the run must have had, None for any; ``record`` is ``DONE`` or ``STOPPED``.
    """
    # A damaged record may hold anything; it counts as missing.
    with suppress(OSError, ValueError, TypeError, LookupError, RecursionError, DataError):
        done = json.loads((folder / record).read_text())
        run = folder / inside(folder, done["run"], str(folder / record))
        if (run / METRICS).exists() and key in (None, done["key"]):
            return run
    return None


def relevant(value: Any, neutral: tuple[str, ...] = (), root: Path = Path()) -> Any:
    """Return nested settings without neutral ones and nulls, which an earlier version may not have had.

    Names of files may be relative to ``root``, besides the current folder.
    """
    if isinstance(value, Mapping):
        items = {str(name): relevant(item, neutral, root) for name, item in value.items() if name not in neutral}
        return {name: item for name, item in items.items() if item is not None}
    if isinstance(value, list | tuple):
        return [relevant(item, neutral, root) for item in value]
    if isinstance(value, str) and Path(value).suffix:
        files = [path for path in dict.fromkeys((Path(value), root / value)) if os.path.isfile(path)]
        return digest(b"".join(path.read_bytes() for path in files)) if files else value
    return value
