"""Run the command in a fork of this process, which has loaded Lightning: no time is lost on imports.

A fork differs from ``python -m gli`` only in what is already loaded. Its output goes to files, and it can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from gli.callbacks import Figures
from gli.commands.main import main
from gli.data import cache
from gli.engine import local, resume
from gli.methods import Method
from gli.system.console import console


class Fork:
    """A forked process that runs a function and exits with the status that it returns.

    Args:
        function: The function, or the arguments of the command ``gli``.
        cwd: Working directory.
        before: Called first in the child, for example to limit its resources or to choose where it is killed.
    """

    def __init__(
        self,
        function: Callable[[], int | None] | Sequence[str],
        cwd: Path | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        arguments = None if callable(function) else list(function)
        self._output = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 (read after the end)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            os.setsid()  # killpg ends its children as well.
            for number, file in enumerate(self._output, start=1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # As at a terminal.
            torch.set_num_threads(1)  # A fork has none of the threads of its parent.
            warnings.simplefilter("default")
            # Jobs are forked from here: a server would load Lightning once more, and that of the parent is not ours.
            context = multiprocessing.get_context
            multiprocessing.get_context = lambda name=None: context({"forkserver": "fork"}.get(name, name))  # type: ignore
            if cwd:
                os.chdir(cwd)
            before()
            status = (main(arguments) if arguments is not None else function()) or 0  # type: ignore[operator]
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self.returncode is None:
            process, status = os.waitpid(self.pid, os.WNOHANG)
            if process:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Wait for the end; return exit status, standard output and standard error. Kill the process after a time."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"a fork did not end within {timeout} s: {self.text(1)[-3000:]}")
            time.sleep(0.01)
        return subprocess.CompletedProcess([], self.returncode or 0, self.text(0), self.text(1))

    @property
    def stopped(self) -> bool:
        """Whether the process has been stopped by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def kill(self) -> None:
        """Kill the process and its children, and wait for it."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def text(self, number: int) -> str:
        """Return what the process has written to standard output (0) or standard error (1) so far."""
        file = self._output[number].fileno()  # Its position is that of the process, so it must not be moved.
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")


def run_in_fork(
    function: Callable[[], int | None] | Sequence[str],
    cwd: Path | None = None,
    before: Callable[[], None] = lambda: None,
) -> subprocess.CompletedProcess[str]:
    """Run a function, or the command with some arguments, in a fork to its end; see :class:`Fork`."""
    return Fork(function, cwd, before).wait()


@contextmanager
def jobs_in_forks() -> Iterator[None]:
    """Fork jobs from this process, which has loaded all they need, and not from a server; each has one thread."""
    run_script = local._run_script

    def run_in_new_streams(*arguments: Any) -> None:
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", closefd=False) for number in (1, 2)
        )  # Those here are pytest's.
        console._lock = threading.RLock()  # Another thread may have held it during the fork.
        for hook in ("on_validation_end", "on_train_batch_end", "on_fit_end"):  # As in the tests themselves.
            setattr(Figures, hook, lambda *_, **__: None)
        warnings.simplefilter("default")
        try:
            run_script(*arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    with pytest.MonkeyPatch.context() as patch:
        context = multiprocessing.get_context
        patch.setattr(multiprocessing, "get_context", lambda name=None: context({"forkserver": "fork"}.get(name, name)))
        patch.setattr(local, "_run_script", run_in_new_streams)
        patch.setattr(local, "usable_cores", lambda: 1)  # Two threads wait for each other on a busy machine.
        yield


# -- places in the code where a process sends itself a signal ----------------------------------------------------------


def in_cache(signal: int) -> None:
    """After the first images have been written."""

    @contextmanager
    def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda count: os.kill(os.getpid(), signal)

    cache.progress = progress  # type: ignore[assignment]


def at_step(signal: int, method: str, iteration: int) -> None:
    """After some iterations of a method, before its next training step."""
    step = Method.training_step

    def training_step(self: Method, batch: Any, batch_idx: int) -> None:
        if (type(self).__name__, self.iteration) == (method, iteration):
            os.kill(os.getpid(), signal)
        step(self, batch, batch_idx)

    Method.training_step = training_step  # type: ignore[method-assign]


def in_checkpoint(signal: int, number: int) -> None:
    """With half of a checkpoint on the disk."""
    save, calls = torch.save, []

    def halfway(contents: Any, path: Any) -> None:
        save(contents, path)
        calls.append(path)
        if len(calls) == number:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal)

    resume.torch.save = halfway  # type: ignore[assignment]
