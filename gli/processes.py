"""Processes that do not outlive the one that started them, and what one of them takes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path


def end_with_parent() -> None:
    """Have this process end as soon as its parent is gone, be it killed; call first in a child."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent,), daemon=True).start()


def _wait(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def memory() -> tuple[int, int]:
    """Resident memory of this process in bytes: now, and at its peak.

    Linux's account of resources (``ru_maxrss``) begins with the size of the process that started this one; the process's own
    high-water mark does not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = (line.partition(":") for line in lines if line.endswith("kB"))
        found = {name: 1024 * int(size.split()[0]) for name, _, size in sizes}
        return found["VmRSS"], found["VmHWM"]
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
