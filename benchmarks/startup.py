"""Time the start of the commands: ``gli --help``, and ``gli fit`` up to its first iteration.

    python -m benchmarks.startup fit --config configs/gli_synthetic.yaml

runs the command up to the start of the first iteration, prints the Unix time and exits.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

from benchmarks.timing import Measurement, absolute_time, printed_number, run_command, time_in_turn

CONFIG = "configs/gli_synthetic.yaml"


def help_page(rounds: int = 7) -> Measurement:
    """Time ``gli --help``."""
    command = [sys.executable, "-m", "gli", "--help"]
    times = time_in_turn({"help": lambda: run_command(command)}, rounds)["help"]
    return absolute_time("`gli --help`", times, 2)


def first_iteration(rounds: int = 3) -> Measurement:
    """Time ``gli fit`` up to its first iteration, with imports, settings and the audit of the original model.

    The original model and the pixel cache exist: an untimed run creates them.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.startup", "fit", "--config", CONFIG]
        command += ["--originals", "lightning_logs/originals", "--trainer.default_root_dir", folder]
        run_command(command)
        times = []
        for _ in range(rounds):
            start = time.time()
            times.append(printed_number(command) - start)
    return absolute_time(f"`gli fit --config {CONFIG}`, up to its first iteration", times, 8)


def _run_up_to_first_iteration() -> None:
    """Run the command line; print the Unix time and exit at the start of GLI's first iteration."""
    from gli.commands.main import main
    from gli.methods import GLI

    def print_time_and_exit(*_: Any) -> Any:
        print(time.time(), flush=True)
        os._exit(0)

    GLI.unlearn = print_time_and_exit  # type: ignore[assignment, method-assign]
    main(sys.argv[1:])


if __name__ == "__main__":
    _run_up_to_first_iteration()
