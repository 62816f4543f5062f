"""Training by the data set's own recipe, as the original model was trained."""

from __future__ import annotations

from typing import Any, cast

import torch

from gli.methods.base import Method, make_optimizer, no_momentum_in_adam, not_negative
from gli.recipe import Recipe


class ByRecipe(Method):
    """Takes learning rate, schedule and epochs from the recipe of the data set; what is descended on is for others to say.

    Args:
        lr: Learning rate; None for the recipe's.
        momentum: Momentum; None for the recipe's.
        weight_decay: Weight decay; None for the recipe's.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        no_momentum_in_adam(self.optimizer, momentum)
        self.settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}

    @property
    def recipe(self) -> Recipe:
        """The recipe of the data at hand."""
        return cast(Any, self.trainer).datamodule.recipe

    def default_epochs(self, recipe: Recipe) -> int:
        """The recipe's."""
        return recipe.epochs

    def configure_optimizers(self) -> Any:
        """The learning rate is divided by ten at the recipe's milestones."""
        own: dict[str, Any] = {
            name: getattr(self.recipe, name) if value is None else value for name, value in self.settings.items()
        }
        optimizer = make_optimizer(self.optimizer, self.model, **own)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, list(self.recipe.milestones))]
