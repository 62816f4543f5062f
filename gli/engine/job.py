"""A job: a run of ``gli`` in a folder of its own, which is never repeated once it is finished."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gli.errors import DataError
from gli.runs.read import LOG as METRICS
from gli.system.files import inside, write_json

#: Files in the folder of a job: its arguments, the record of the finished run, and its output.
ARGUMENTS, DONE, LOG = "job.json", "done.json", "log.txt"
#: Likewise: the request to end early, and the record of a run that did so.
STOP, STOPPED = "stop", "stopped.json"
#: An interval of audits that no run reaches: such a run is audited at its start and at its end only.
NEVER = 1_000_000
#: Script that runs the job of a folder with the package that it belongs to.
RUNNER = Path(__file__).parents[1] / "commands" / "job.py"


@dataclass(frozen=True)
class Job:
    """A run of ``gli``.

    Attributes:
        row: Row of the job in the live table, such as the method.
        column: Column of the job in the live table, such as the seed.
        folder: Folder of the job.
        arguments: Arguments of ``gli``.
        key: Hash of everything that the result depends on; a finished run with another key counts as missing.
        after: Folders of the jobs that must have ended before this one starts.
    """

    row: str
    column: str
    folder: Path
    arguments: tuple[str, ...]
    key: str
    after: frozenset[Path] = frozenset()

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

    def stop(self) -> None:
        """Ask the running job to end in an orderly way after its current batch, on whatever machine it runs."""
        (self.folder / STOP).touch()

    @property
    def log(self) -> Path:
        """File with the output of the job."""
        return self.folder / LOG

    @property
    def command(self) -> list[str]:
        """Command that runs the job."""
        return [sys.executable, "-P", str(RUNNER), str(self.folder.absolute())]

    def prepare(self) -> None:
        """Empty the folder and write the arguments into it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        write_json(self.folder / ARGUMENTS, {"arguments": self.arguments, "key": self.key})

    def reason_of_failure(self) -> str:
        """Return a message for a failed job: the last line of its log."""
        lines: list[str] = []
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
        reason = lines[-1].strip() if lines else "ended without a message"
        return f"{self.title}: {reason} ({self.log})"


def read_arguments(folder: Path) -> tuple[list[str], str]:
    """Return arguments and key of the job of a folder."""
    contents = json.loads((folder / ARGUMENTS).read_text())
    return [str(argument) for argument in contents["arguments"]], str(contents["key"])


def finish(folder: Path, key: str, run: Path, seconds: float, record: str = DONE) -> None:
    """Record that a job is finished, or ended early.

    Args:
        folder: Folder of the job.
        key: Hash of everything that the result depends on.
        run: Folder of the run, inside that of the job.
        seconds: Duration of the run.
        record: File of the record: ``DONE`` or ``STOPPED``.
    """
    name = run.resolve().relative_to(folder.resolve())
    write_json(folder / record, {"key": key, "run": str(name), "seconds": seconds})


def finished_run(folder: Path, key: str | None = None, record: str = DONE) -> Path | None:
    """Return the folder of the finished run of a job, or None where there is none.

    Args:
        folder: Folder of the job.
        key: Key that the job must have had; None for any.
        record: File of the record: ``DONE`` or ``STOPPED``.
    """
    # A damaged record may hold anything; it counts as missing.
    with suppress(OSError, ValueError, TypeError, LookupError, RecursionError, DataError):
        done = json.loads((folder / record).read_text())
        run = folder / inside(folder, done["run"], str(folder / record))
        if (run / METRICS).exists() and key in (None, done["key"]):
            return run
    return None
