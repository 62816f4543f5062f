"""Ordinary training from scratch: the base of the original and the retrained model."""

from __future__ import annotations

from typing import Any

from gli.methods.base import Method


class FromScratch(Method):
    """Train a fresh network by the data set's recipe.

    Args:
        lr: Learning rate; None for the recipe's.
        momentum: Momentum of SGD; None for the recipe's.
        weight_decay: Weight decay; None for the recipe's.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    needs_original = False
    follows_recipe = True

    def __init__(
        self,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)
