"""Measure the peak memory of a GLI iteration against that of a training step, each in a separate process.

    python -m benchmarks.memory GLI 64

prints by how many MB the process grows over the iterations of one run. Both runs have the same number of forward and
backward passes, because the heap of the C library grows over the first dozen passes of any kind.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import numpy as np
import torch

from benchmarks.faces import drawn_faces
from benchmarks.timing import Measurement, image_size, printed_number, relative_cost
from gli.data.loading import Pass
from gli.methods import GLI, FineTune
from gli.system.process import memory

BATCH = 64
#: Iterations with twelve passes in total: one of GLI has two inner steps and a training step.
ITERATIONS = {"GLI": 4, "FineTune": 12}


class MemoryAtStart(L.Callback):
    """Record the resident memory at the start of the first iteration.

    Attributes:
        memory: The resident memory in bytes; 0 before the first iteration.
    """

    memory = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the memory at the first call."""
        self.memory = self.memory or memory()[0]


def memory_growth(name: str, size: int) -> float:
    """Run a few iterations of a method and return the peak memory in MB, less the memory before the first iteration.

    Args:
        name: ``GLI`` or ``FineTune``.
        size: Side of the images in pixels.
    """
    data = drawn_faces(size)
    data.batch_size = BATCH
    torch.manual_seed(0)
    method: Any = {"GLI": GLI, "FineTune": FineTune}[name](batch_norm="train", original="unused")
    method.restored = True  # Use random weights instead of an original model.
    method.passes = (Pass("retain", "forget"),)  # Load the same batches for both methods.
    start = MemoryAtStart()
    trainer = L.Trainer(
        accelerator="cpu", logger=False, callbacks=[start], enable_checkpointing=False,
        max_steps=ITERATIONS[name], max_epochs=-1, enable_progress_bar=False, limit_val_batches=0,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, data)
    return (memory()[1] - start.memory) / 1e6


def peak_memory(size: int, rounds: int = 5) -> Measurement:
    """Measure the peak memory of a GLI iteration against that of a training step, plus the perturbation."""
    perturbation = BATCH * 3 * size * size * 4 / 1e6
    growth: dict[str, list[float]] = {name: [] for name in ITERATIONS}
    for _ in range(rounds):
        for name, values in growth.items():
            values.append(printed_number([sys.executable, "-m", "benchmarks.memory", name, str(size)]))
    baseline = (np.array(growth["FineTune"]) + perturbation).tolist()
    work = f"peak memory of a GLI iteration, {image_size(size)}, batch {BATCH}"
    return relative_cost(work, "that of a training step, plus the perturbation", baseline, growth["GLI"], 1.15, "MB")


if __name__ == "__main__":
    print(memory_growth(sys.argv[1], int(sys.argv[2])))
