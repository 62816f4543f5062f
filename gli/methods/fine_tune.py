"""Fine-tuning on what is to be remembered."""

from __future__ import annotations

from gli.data.loading import Batch
from gli.methods.base import Method


class FineTune(Method):
    """Fine-tuning: descend on the task's loss on retain, and let forgetting take its course (paper, Eq. 1).

    Two epochs with SGD at 0.001, as in the MUFAC/MUCAC benchmark.
    """

    passes = ({"retain": "retain"},)
    epochs = 2

    def unlearn(self, retain: Batch, forget: Batch) -> None:
        """Descend on the task's loss on retain."""
        self.descend(self.loss(retain))
