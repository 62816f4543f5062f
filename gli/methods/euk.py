"""EU-k: reinitialise and retrain the last k blocks."""

from __future__ import annotations

from typing import Any

from gli.methods.cfk import CFk
from gli.models.blocks import last_blocks, reinitialise


class EUk(CFk):
    r"""EU-k, exact unlearning of the last k blocks: reinitialise them and train them on retain by the recipe.

    Equation:
        $$\min_{\theta_k} \mathbb E_{\text{retain}} l(x, y; \theta)$$

        where $\theta_k$, the weights of the last $k$ blocks, start from new initial values (ImageNet's if the original
        did).

    Cost:
        The recipe's epochs over retain, with a backward pass through the last k blocks only.

    Fails:
        It is exact for the last blocks alone: what the frozen blocks have memorised stays, and a small k keeps most of
        it. It costs nearly as much as retraining.

    Defaults:
        k = 3 as in CF-3; epochs, learning rate and schedule are those of the data set's recipe (``data.recipe``).

    Source:
        Goel et al., "Towards Adversarial Evaluations for Inexact Machine Unlearning", 2022.

    Args:
        **kwargs: See :class:`CFk` and :class:`~gli.methods.base.Method`.
    """

    follows_recipe = True

    def __init__(
        self,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)

    def prepare(self) -> None:
        """Freeze all but the last k blocks, and reinitialise those."""
        super().prepare()
        fresh = self.fresh_classifier(pretrained=self.starts_pretrained)
        reinitialise(last_blocks(self.model, self.k), last_blocks(fresh, self.k))
