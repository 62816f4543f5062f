"""Ordinary training: the original model, and the retrained model that unlearning is measured against."""

from __future__ import annotations

from gli.data.loading import Pass
from gli.methods.by_recipe import ByRecipe
from gli.methods.fine_tune import FineTune
from gli.recipe import Recipe


class Original(ByRecipe, FineTune):
    """The original model: trained on retain and forget together, by the data set's recipe.

    Equation:
        min over theta of CE(f(x; theta), y), the mean over retain and forget.

    Cost:
        The recipe's epochs over retain and forget; one model in memory.

    Fails:
        A model that has not memorised (MIA near 0.5 at iteration 0) leaves nothing to forget: train longer, with less
        augmentation, or on fewer pictures of each person.

    Source:
        Paper, section 5.1.

    Args:
        **kwargs: See :class:`~gli.methods.by_recipe.ByRecipe` and :class:`~gli.methods.base.Method`.
    """

    passes = (Pass(retain="train"),)
    needs_original = False


class Retrained(Original):
    """The retrained model: the original's recipe on retain only; what exact unlearning would give.

    Equation:
        min over theta of CE(f(x; theta), y), the mean over retain, from the original's start.

    Cost:
        The recipe's epochs over retain: the price that unlearning is to avoid.

    Fails:
        Never forgets too little, by definition. Its MIA accuracy is still not 0.5 exactly (0.538 on MUFAC, as published):
        compare methods with it rather than with 0.5.

    Source:
        Paper, sections 3 and 5.1.

    Args:
        **kwargs: See :class:`~gli.methods.by_recipe.ByRecipe` and :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)

    def default_epochs(self, recipe: Recipe) -> int:
        """The recipe's, which may be fewer than the original's."""
        return recipe.retrained_epochs or recipe.epochs
