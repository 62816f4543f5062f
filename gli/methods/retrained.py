"""The retrained model, the reference for every unlearning method."""

from __future__ import annotations

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.data.recipe import Recipe
from gli.methods.from_scratch import FromScratch


class Retrained(FromScratch):
    """The retrained model: the original's recipe on retain only, which is exact unlearning.

    Equation:
        min over theta of CE(f(x; theta), y), the mean over retain, from the original's initial weights.

    Cost:
        The recipe's epochs over retain: the cost that unlearning should avoid.

    Fails:
        It forgets everything, by definition. Its MIA accuracy is still not exactly 0.5 (0.538 on MUFAC, as published):
        compare methods with it rather than with 0.5.

    Source:
        Paper, sections 3 and 5.1.

    Args:
        **kwargs: See :class:`~gli.methods.from_scratch.FromScratch` and :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the task's loss on retain."""
        return self.loss(retain)

    def default_epochs(self, recipe: Recipe) -> int:
        """Return the recipe's number of epochs for the retrained model, which may be fewer than the original's."""
        return recipe.retrained_epochs or recipe.epochs
