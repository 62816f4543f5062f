"""Keep freed memory in the process, so that the next batch need not ask the operating system for it."""

from __future__ import annotations

import ctypes
import os
import sys

from gli.speed import wanted

#: Options of glibc's ``mallopt``: how much free memory is kept before some is returned, and the size from which on
#: a block is mapped on its own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: glibc's own upper limit. A larger one fragments the heap: a fifth more memory at 128 x 128.
_LARGEST_KEPT = 32 * 2**20


def keep_freed_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the operating system.

    Activations of tens of megabytes are allocated and freed for every batch. If they are returned each time, their
    pages are mapped and zeroed each time, which takes a good part of an audit. Only glibc is asked, and only if the
    environment has no settings (``MALLOC_...``) of its own.
    """
    if not wanted() or sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # Another C library.
        return
    set_option(_MMAP_THRESHOLD, _LARGEST_KEPT)
    set_option(_TRIM_THRESHOLD, -1)
