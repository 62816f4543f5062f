"""Wait for other processes, and ask whether they live."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Return whether a condition holds within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
