"""Jobs in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import queue
import runpy
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import gli
from gli.system.process import end_with_parent, usable_cores

#: Seconds that a terminated job has to end by itself.
PATIENCE_SECONDS = 10.0
#: Folder that holds the package ``gli`` of this process.
PACKAGE_ROOT = str(Path(gli.__file__).parents[1])


#: Held while the environment of this process is changed or copied: jobs start in threads.
_ENVIRONMENT = threading.Lock()


@contextmanager
def _package_first() -> Iterator[None]:
    """Let a new Python process import the ``gli`` of this one, and not a folder of that name in the current folder."""
    environment, path = dict(os.environ), list(sys.path)
    sys.path.insert(0, PACKAGE_ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join([PACKAGE_ROOT, *filter(None, [environment.get("PYTHONPATH")])])
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.path[:] = path
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            os.environ.pop(name)
            if name in environment:
                os.environ[name] = environment[name]


@contextmanager
def _no_main() -> Iterator[None]:
    """Start a process that does not import the main module: a user's script may do its work at its top level."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run_script(arguments: Sequence[str], log: Path, threads: int, environment: Mapping[str, str]) -> None:
    """Run ``python SCRIPT ARGUMENTS`` in this process, which was forked from one that has its imports."""
    end_with_parent()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")


def _number_of_gpus() -> int:
    import torch

    return torch.cuda.device_count()  # Does not initialise CUDA, which a forked process could not use.


class Local:
    """Run scripts in processes of this machine, a given number at once; see :class:`gli.engine.execute.Executor`.

    They are forked from a server that has imported ``preload``: they start at once, and share no state.

    Args:
        jobs: Number of jobs at once. Each gets its share of the cores that this process may use, and one GPU where
            there are GPUs.
        preload: Modules to import once.
        gpus: Numbers of the GPUs to assign; None for all of this machine, found at the first job.
    """

    def __init__(self, jobs: int, preload: Sequence[str] = (), gpus: Sequence[int] | None = None) -> None:
        self._pool = ThreadPoolExecutor(jobs)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._threads = max(1, usable_cores() // jobs)
        self._gpus, self._lock = gpus, threading.Lock()
        self._free: queue.SimpleQueue[int] | None = None
        self._running: set[BaseProcess] = set()
        self._closed = False

    def submit(self, arguments: Sequence[str], *, log: Path) -> Future[int]:
        """Run a script as soon as there is room."""
        if self._context.get_start_method() == "forkserver":  # Tests fork jobs from their own process.
            with _ENVIRONMENT, _package_first():
                forkserver.ensure_running()
        return self._pool.submit(self._run, list(arguments), log)

    def _run(self, arguments: list[str], log: Path) -> int:
        if self._closed:
            return -15
        log.parent.mkdir(parents=True, exist_ok=True)
        devices = self._devices()
        if devices is None:
            return self._wait(arguments, log, "")
        device = devices.get()  # Waits for a free one.
        try:
            return self._wait(arguments, log, str(device))
        finally:
            devices.put(device)

    def _devices(self) -> queue.SimpleQueue[int] | None:
        """Return the queue of free GPUs; None without GPUs."""
        with self._lock:
            if self._gpus is None:
                self._gpus = range(_number_of_gpus())
            if self._free is None and self._gpus:
                self._free = queue.SimpleQueue()
                for number in self._gpus:
                    self._free.put(number)
            return self._free

    def _wait(self, arguments: list[str], log: Path, device: str) -> int:
        with _ENVIRONMENT:
            environment = os.environ | {"CUDA_VISIBLE_DEVICES": device, "OMP_NUM_THREADS": str(self._threads)}
        process = self._context.Process(target=_run_script, args=(arguments, log, self._threads, environment))
        with _ENVIRONMENT, _no_main():
            process.start()
        self._running.add(process)
        if self._closed:  # After noting it: either this or close() sees it.
            process.kill()
        process.join()
        self._running.discard(process)
        return int(process.exitcode or 0)

    def close(self) -> None:
        """Terminate the running jobs, drop the waiting ones, and wait for their end."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        running = list(self._running)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._running and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in list(self._running):
            process.kill()
        self._pool.shutdown(wait=True)
