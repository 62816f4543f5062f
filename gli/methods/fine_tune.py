"""Fine-tuning on retain."""

from __future__ import annotations

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method


class FineTune(Method):
    r"""Fine-tuning: train on retain and rely on forgetting by neglect.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

    Cost:
        One forward and backward pass per retain image and epoch; one model in memory.

    Fails:
        It forgets almost nothing in a few epochs: nothing pushes the model away from what it has memorised.

    Defaults:
        The MUFAC/MUCAC benchmark's: two epochs of SGD at 0.001. Its notebook for MUFAC evaluates the model before
        training, which leaves BatchNorm in eval mode: ``--model.batch_norm eval``.

    Source:
        Paper, section 4.1.1, Eq. 1; Golatkar et al., "Forgetting Outside the Box", ECCV 2020.

    Args:
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)
    epochs = 2

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the task's loss on retain."""
        return self.loss(retain)
