"""Memory of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


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
