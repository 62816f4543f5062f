"""Ordinary training from scratch: the original model, and the retrained model that unlearning is measured against."""

from __future__ import annotations

from typing import Any, cast

import torch

from gli.data.loading import Batch
from gli.methods.base import Method, not_negative
from gli.recipe import Recipe


class Original(Method):
    """The original model: trained on retain and forget together, by the data set's recipe (paper, section 5.1).

    Args:
        lr: Learning rate; None for the recipe's.
        momentum: Momentum; None for the recipe's.
        weight_decay: Weight decay; None for the recipe's.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = ({"retain": "train"},)
    needs_original = False

    def __init__(
        self,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}

    def unlearn(self, retain: Batch, forget: Batch) -> None:
        """Descend on the task's loss."""
        self.descend(self.loss(retain))

    @property
    def recipe(self) -> Recipe:
        """The recipe of the data at hand."""
        return cast(Any, self.trainer).datamodule.recipe

    def default_epochs(self, recipe: Recipe) -> int:
        """The recipe's."""
        return recipe.epochs

    def configure_optimizers(self) -> Any:
        """SGD whose learning rate is divided by ten at the recipe's milestones."""
        own: dict[str, Any] = {
            name: getattr(self.recipe, name) if value is None else value for name, value in self.settings.items()
        }
        optimizer = torch.optim.SGD(self.model.parameters(), **own)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, list(self.recipe.milestones))]


class Retrained(Original):
    """The retrained model: the original's recipe on retain only; what exact unlearning would give (paper, section 5)."""

    passes = ({"retain": "retain"},)

    def default_epochs(self, recipe: Recipe) -> int:
        """The recipe's, which may be fewer than the original's."""
        return recipe.retrained_epochs or recipe.epochs
