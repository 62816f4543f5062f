"""Gradient ascent on what is to be forgotten."""

from __future__ import annotations

from gli.data.loading import Batch
from gli.methods.base import Method


class NegGrad(Method):
    """NegGrad: ascend on the task's loss on forget (paper, Eq. 2).

    Nothing bounds the ascent: with enough steps the model collapses. An epoch is one pass over forget.
    """

    passes = ({"forget": "forget"},)
    epochs = 2

    def unlearn(self, retain: Batch, forget: Batch) -> None:
        """Descend on minus the task's loss on forget."""
        self.descend(-self.loss(forget))
