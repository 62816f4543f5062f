"""Memory of this process: how much it takes, and whether the C library keeps what is freed."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

#: Settings of glibc's ``mallopt``: how much may lie free before some is given back, and the size from which on blocks are mapped
#: alone. Larger ones than glibc's own limit would tear holes: a fifth more memory at 128 x 128.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


_LARGEST_KEPT = 32 * 2**20


def keep_freed_memory() -> None:
    """Have the C library keep memory that is freed for what comes next, rather than give it back and ask for it again.

    Activations come and go by the dozens of megabytes. Given back each time, their pages are mapped and zeroed anew each time,
    which takes a good part of an audit. Only glibc is asked, and not where the environment has settings (``MALLOC_...``) for it.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # Another C library.
        return
    set_option(_MMAP_THRESHOLD, _LARGEST_KEPT)
    set_option(_TRIM_THRESHOLD, -1)


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
