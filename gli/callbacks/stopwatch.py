"""Measure the time spent in training steps."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch


class Stopwatch(L.Callback):
    """Measure the time spent in a method's preparation and training steps, without audits.

    Attributes:
        seconds: Time in seconds so far, including the time before a resume.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count the method's preparation, unless a resumed run has counted it before."""
        if not self.seconds:
            self.seconds = float(getattr(pl_module, "prepare_seconds", 0.0))

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Stop the clock when the device has finished."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.seconds += time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Return the time so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint's time."""
        self.seconds = float(state_dict["seconds"])
