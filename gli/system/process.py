"""This process: its cores, its memory, and children that do not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil


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
    """Return the resident memory of this process in bytes: now, and at its peak (on macOS: now).

    Linux's ``ru_maxrss`` starts at the size of the parent process; the high-water mark of ``/proc`` does not.
    """
    info = psutil.Process().memory_info()
    peak = getattr(info, "peak_wset", info.rss)  # Of Windows.
    with suppress(OSError):
        high_water = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        peak = 1024 * int(high_water[1]) if high_water else peak
    return info.rss, max(info.rss, peak)
