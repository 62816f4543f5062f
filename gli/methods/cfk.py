"""CF-k: fine-tune the last k blocks."""

from __future__ import annotations

from typing import Any

import torch

from gli.methods.fine_tune import FineTune
from gli.models.backbones import build_classifier
from gli.models.blocks import freeze_except, last_blocks


class CFk(FineTune):
    r"""CF-k, catastrophic forgetting of the last k blocks: fine-tuning with all earlier blocks frozen.

    Frozen blocks do not change, BatchNorm's statistics included.

    Equation:
        $$\min_{\theta_k} \mathbb E_{\text{retain}} l(x, y; \theta)$$

        where $\theta_k$ are the weights of the last $k$ blocks.

    Cost:
        One forward pass per retain image and epoch, and a backward pass through the last k blocks only.

    Fails:
        It forgets less than fine-tuning: what the frozen blocks have memorised stays.

    Defaults:
        The benchmark's CF-3: layer3, layer4 and the head of a ResNet, two epochs of SGD at 0.001.

    Source:
        Goel et al., "Towards Adversarial Evaluations for Inexact Machine Unlearning", 2022.

    Args:
        k: Number of trained blocks, counted from the head; see :func:`gli.models.blocks.blocks`.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(self, k: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def check(self) -> None:
        """Refuse a k that is larger than the number of blocks."""
        if self.network is not None:
            last_blocks(self.network.classifier(), self.k)
            return
        with torch.device("meta"):
            last_blocks(build_classifier(self.backbone, 1), self.k)

    def prepare(self) -> None:
        """Freeze all but the last k blocks."""
        freeze_except(self.model, last_blocks(self.model, self.k))
