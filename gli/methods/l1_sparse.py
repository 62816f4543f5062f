"""l1-sparse: fine-tuning on retain with a penalty on the size of all weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch
from gli.methods.fine_tune import FineTune
from gli.methods.settings import require_not_negative


class L1Sparse(FineTune):
    r"""l1-sparse fine-tuning: train on retain while the sum of all absolute weights is kept small.

    The penalty shrinks weights that retain does not need, and what they have memorised with them.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta) + \alpha (1 - i / N) \lVert \theta \rVert_1$$

        in iteration $i$ of $N$, counted from 0, with ``alpha`` as $\alpha$.

    Cost:
        As fine-tuning.

    Fails:
        The right ``alpha`` depends on the number of weights and of steps: a little too large and the network falls
        apart, a little too small and it is fine-tuning.

    Defaults:
        Its own code's: SGD at 0.01, ten epochs, alpha 0.0005; momentum 0.9 and weight decay 0.0005.

    Source:
        Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023.

    Args:
        alpha: Weight of the penalty at the start.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 10

    def __init__(
        self,
        alpha: float = 0.0005,
        lr: float | None = 0.01,
        momentum: float | None = 0.9,
        weight_decay: float | None = 0.0005,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)
        require_not_negative(alpha=alpha)
        self.alpha = alpha

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the task's loss on retain and the penalty."""
        weight = self.alpha * (1 - self.iteration / self.total_iterations)
        norm = torch.stack([parameter.abs().sum() for parameter in self.model.parameters()]).sum()
        self.track(l1_norm=norm)
        return super().unlearn(retain, forget) + weight * norm
