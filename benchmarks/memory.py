"""Peak memory of a GLI iteration against that of an ordinary training step: each measured in a process of its own.

    python -m benchmarks.memory GLI 64

prints how many MB the process grew by over the iterations of one run. Either run has as many passes forward and
backward, since the C library's heap grows with the first dozen of them, whatever they are for.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import numpy as np
import torch

from benchmarks.faces import drawn
from benchmarks.timing import Finding, dearer, printed
from gli.data.loading import Pass
from gli.methods import GLI, FineTune
from gli.speed.freed_memory import keep_freed_memory
from gli.system.memory import memory

BATCH = 64
#: Iterations that come to twelve passes: GLI's has two inner steps and a training step.
ITERATIONS = {"GLI": 4, "FineTune": 12}


class FirstStep(L.Callback):
    """Notes the memory at the beginning of the first iteration."""

    before = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Once."""
        self.before = self.before or memory()[0]


def grown(method: str, size: int) -> float:
    """MB that a method's iterations need on top of what was there before the first."""
    data = drawn(size)
    data.batch_size = BATCH
    torch.manual_seed(0)
    chosen: Any = {"GLI": GLI, "FineTune": FineTune}[method](batch_norm="train", original="unused")
    chosen.restored = True  # The weights do not matter here.
    chosen.passes = (Pass("retain", "forget"),)  # Both sets lie in memory for either.
    first = FirstStep()
    trainer = L.Trainer(
        accelerator="cpu", logger=False, callbacks=[first], enable_checkpointing=False,
        max_steps=ITERATIONS[method], max_epochs=-1, enable_progress_bar=False, limit_val_batches=0,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(chosen, data)
    return (memory()[1] - first.before) / 1e6


def peak(size: int, rounds: int = 5) -> Finding:
    """Memory of GLI's iteration against a training step's and the perturbation."""
    perturbation = BATCH * 3 * size * size * 4 / 1e6
    found: dict[str, list[float]] = {name: [] for name in ITERATIONS}
    for _ in range(rounds):
        for method, values in found.items():
            values.append(printed([sys.executable, "-m", "benchmarks.memory", method, str(size)]))
    theirs = (np.array(found["FineTune"]) + perturbation).tolist()
    return dearer(
        f"peak memory of GLI, {size} x {size}, batch {BATCH}", "a training step's and the perturbation",
        theirs, found["GLI"], 1.15, "MB",
    )  # fmt: skip


if __name__ == "__main__":
    keep_freed_memory()  # As the command does.
    print(grown(sys.argv[1], int(sys.argv[2])))
