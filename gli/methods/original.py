"""The original model."""

from __future__ import annotations

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.from_scratch import FromScratch


class Original(FromScratch):
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
        **kwargs: See :class:`~gli.methods.from_scratch.FromScratch` and :class:`~gli.methods.base.Method`.
    """

    passes = (Pass(retain="train"),)

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the task's loss on retain and forget together."""
        return self.loss(retain)
