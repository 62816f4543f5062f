"""Retraining compressed to a few epochs: the baseline at the cost of unlearning."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.settings import require_positive


class RetrainBriefly(Method):
    r"""Retrain briefly: train a new network on retain alone, with the recipe's schedule compressed to a few epochs.

    It is exact unlearning, at a cost of one's choice: a method is worth its cost if it beats this one.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

        from new initial weights (ImageNet's if the original did). The learning rate is the recipe's, and changes at
        the same shares of the run as in the recipe.

    Cost:
        One forward and backward pass per retain image and epoch; forget images are not used.

    Fails:
        It forgets everything, by definition; its accuracy is that of a network that was trained for too short a time.
        Compare the accuracy of methods at equal cost with it.

    Defaults:
        Two epochs, and learning rate, momentum and weight decay of the data set's recipe.

    Source:
        The comparison at equal cost: Cadet et al., "Deep Unlearn", 2024.

    Args:
        brief_epochs: Number of epochs; the trainer's limits come first.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)

    def __init__(
        self,
        brief_epochs: int = 2,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)
        require_positive(brief_epochs=brief_epochs)
        self.epochs = brief_epochs

    def prepare(self) -> None:
        """Replace the original's weights by new ones."""
        self.model.load_state_dict(self.fresh_classifier(pretrained=self.starts_pretrained).state_dict())

    def lr_factor(self) -> float:
        """Return the factor of the recipe's schedule at the same share of the run as in the recipe."""
        recipe = self.data.recipe
        done = self.iteration / self.total_iterations
        return recipe.lr_factor(done * (recipe.retrained_epochs or recipe.epochs), done) * super().lr_factor()

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the task's loss on retain."""
        return self.loss(retain)
