"""End a run in an orderly way when somebody else asks for it, by a file that appears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L


class StopFile(L.Callback):
    """End the run after the batch in which a file appears; everything that a finished run writes is written.

    Args:
        path: The file; it may appear on another machine that shares the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Whether the run ended because of the file.
        self.stopped = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop on all processes if one of them sees the file."""
        if trainer.strategy.reduce_boolean_decision(self._path.exists(), all=False):
            self.stopped = trainer.should_stop = True
