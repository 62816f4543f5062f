"""Time ``gli fit`` alone and beside a busy process on each core, and half precision against float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from benchmarks.timing import Measurement, relative_cost, run_command, speedup
from gli.engine.precision import resolve_precision, step_seconds
from gli.runs.cost import COST
from gli.system.process import usable_cores

FIT = [sys.executable, "-m", "gli", "fit", "--config", "configs/gli_synthetic.yaml"]
FIT += ["--originals", "lightning_logs/originals", "--trainer.max_steps", "8", "--trainer.val_check_interval", "8"]
#: How gli lets threads wait on a busy machine.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
#: Makes gli leave the threads' waiting as it is, without a meaning for the library that PyTorch uses on Linux.
SPINNING = {"KMP_BLOCKTIME": "200"}


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep a process busy on each core."""
    with ExitStack() as closing:
        for _ in range(usable_cores()):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            closing.callback(process.wait)
            closing.callback(process.kill)
        yield


def fit_seconds(environment: dict[str, str]) -> float:
    """Return the seconds of the iterations of a short run, without its audits."""
    with tempfile.TemporaryDirectory() as folder:
        run_command([*FIT, "--trainer.default_root_dir", folder], os.environ | environment)
        (cost,) = Path(folder).rglob(COST)
        return float(json.loads(cost.read_text())["training_seconds"])


def beside_a_neighbour(rounds: int = 3) -> list[Measurement]:
    """Time GLI's iterations with threads that wait passively and with PyTorch's default, alone and beside others."""
    fit_seconds({})  # Trains the original and draws the faces where they are missing.
    alone, passive_alone, beside, spinning_beside = [], [], [], []
    for _ in range(rounds):
        alone.append(fit_seconds(SPINNING))
        passive_alone.append(fit_seconds(PASSIVE))
        with busy_cores():
            beside.append(fit_seconds(PASSIVE))
            spinning_beside.append(fit_seconds(SPINNING))
    work = "GLI iterations of `gli fit`"
    return [
        speedup(f"{work}, alone, threads that wait passively", "threads that spin, as alone", alone, passive_alone),
        relative_cost(f"{work}, beside a busy process on each core", "alone", alone, beside, 2.3),
        speedup(f"{work}, beside a busy process on each core", "threads that spin", spinning_beside, beside),
    ]


def half_precision() -> list[Measurement]:
    """Time a small training step in float32 and in bfloat16, and name the precision that ``auto`` chooses here."""
    chosen = resolve_precision("auto", "cpu")
    single, half = [step_seconds(torch.float32)], [step_seconds(torch.bfloat16)]
    slow, fast = (half, single) if chosen == "32-true" else (single, half)
    return [speedup(f"training step of convolutions in `{chosen}`, as `auto` chooses", "the other", slow, fast, 1)]
