"""The seam between jobs and the machines that run them: two functions, ``submit`` and ``close``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Resources:
    """Share of a machine that a job gets.

    Attributes:
        cpus: Number of cores, and of torch's threads.
        gpus: Number of GPUs; 0 hides all GPUs from the job. None for one where there are GPUs, otherwise 0.
    """

    cpus: float = 1
    gpus: float | None = 0


class Executor(Protocol):
    """Runs commands, as many at once as there is room for."""

    def submit(self, command: Sequence[str], *, log: Path, resources: Resources = Resources()) -> Future[int]:
        """Run a command as soon as there is room, with its output in a log file.

        Args:
            command: Program and arguments.
            log: File for standard output and standard error; replaced if it exists.
            resources: Share of the machine.

        Returns:
            A future of the exit status; negative for the number of the signal that ended the command.
        """
        ...

    def close(self) -> None:
        """Stop all jobs, running or waiting, and leave no process behind."""
        ...
