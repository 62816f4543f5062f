"""Random labels: train on retain with true labels and on forget with others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.seeding import rand_of_images


class RandomLabels(Method):
    r"""Random labels: fine-tune on both sets, where every forget image has a random label other than its own.

    A label is drawn once per image. With several labels, a random set of them is inverted, never the empty set.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain} \cup \text{forget}} l(x, \tilde y; \theta)$$

        where $\tilde y = y$ for a retain image, and drawn uniformly from all labels but $y$ for a forget image.

    Cost:
        One forward and backward pass per image of retain and forget and epoch; one model in memory.

    Fails:
        The model learns the wrong labels by heart: forget's losses become larger than those of people it never saw, so
        that membership shows on the other side, and the outputs on similar retained people suffer.

    Defaults:
        Those of SalUn's comparison: SGD at 0.01, momentum 0.9, weight decay 0.0005, ten epochs.

    Source:
        Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020; Fan et al., "SalUn", ICLR 2024.

    Args:
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain", "forget", mixed=True),)
    epochs = 10

    def __init__(
        self,
        lr: float | None = 0.01,
        momentum: float | None = 0.9,
        weight_decay: float | None = 0.0005,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)

    def wrong_labels(self, forget: Batch) -> Tensor:
        """Return the random labels of a forget batch, in the form of its labels."""
        return self.task.other_labels(forget.labels, rand_of_images(forget.index, 1, self)[:, 0])

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the loss on the true labels of retain and the random ones of forget."""
        images = torch.cat([retain.images, forget.images])
        return self.task.loss(self.model(images), torch.cat([retain.labels, self.wrong_labels(forget)]))
