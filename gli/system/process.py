"""This process: its cores, its memory, and children that do not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path


def end_with_parent() -> None:
    """Exit when the parent process dies, even by SIGKILL. Call first in a child."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent,), daemon=True).start()


def _wait(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def usable_cores() -> int:
    """Return the number of cores that this process may use: in a container or under SLURM fewer than there are."""
    import joblib  # Loads NumPy.

    return int(joblib.cpu_count())


def memory() -> tuple[int, int]:
    """Return the resident memory of this process in bytes: now, and at its peak.

    Linux's ``ru_maxrss`` starts at the size of the parent process; the high-water mark of ``/proc`` does not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = (line.partition(":") for line in lines if line.endswith("kB"))
        memory_of = {name: 1024 * int(size.split()[0]) for name, _, size in sizes}
        return memory_of["VmRSS"], memory_of["VmHWM"]
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
