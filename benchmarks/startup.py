"""Seconds before something happens: the help, and the first iteration of a run whose data and original are there.

    python -m benchmarks.startup fit --config configs/gli_synthetic.yaml

ends at the end of the first iteration.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.timing import Finding, printed, seconds, under

CONFIG = "configs/gli_synthetic.yaml"


def help_page(rounds: int = 7) -> Finding:
    """``gli --help``."""
    command = [sys.executable, "-m", "gli", "--help"]
    subprocess.run(command, capture_output=True, check=True)
    times = [seconds(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(rounds)]
    return under("`gli --help`", times, 2)


def first_iteration(rounds: int = 3) -> Finding:
    """``gli fit`` up to its first iteration: imports, settings, original, audit of the original."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.startup", "fit", "--config", CONFIG]
        command += ["--originals", "lightning_logs/originals", "--trainer.default_root_dir", folder]
        subprocess.run(command, capture_output=True, check=True)  # Trains the original if need be.
        times = []
        for _ in range(rounds):
            start = time.time()
            times.append(printed(command) - start)
    return under(f"`gli fit --config {CONFIG}`, up to its first iteration", times, 8)


def _until_first_iteration() -> None:
    from gli.commands.main import main
    from gli.methods import GLI

    def unlearn(*_: Any) -> None:
        print(time.time(), flush=True)
        os._exit(0)

    GLI.unlearn = unlearn  # type: ignore[method-assign]
    main(sys.argv[1:])


if __name__ == "__main__":
    _until_first_iteration()
