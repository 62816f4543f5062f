"""SalUn: random labels, on the weights that matter for forget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.errors import SettingError
from gli.methods.random_labels import RandomLabels
from gli.methods.sweeps import gradients_over


class SalUn(RandomLabels):
    r"""SalUn, saliency unlearning: random labels, but only the weights with the largest gradients on forget may move.

    Equation:
        The mask $m$ is 1 for the 50 % of all weights (``share``) with the largest $\lvert g \rvert$, otherwise 0:

        $$g = \nabla_\theta \mathbb E_{\text{forget}} l(x, y; \theta_{\text{original}})$$

        A step of RandomLabels, which would lead from $\theta$ to $\theta'$, becomes

        $$\theta \leftarrow m \odot \theta' + (1 - m) \odot \theta$$

        so that neither gradient nor momentum nor weight decay moves a masked weight.

    Cost:
        As RandomLabels, and one forward and backward pass over forget before; a mask and a copy of the weights in
        memory.

    Fails:
        As RandomLabels. BatchNorm's running statistics are no weights and move under the mask too; with
        ``batch_norm: eval`` they do not.

    Defaults:
        As RandomLabels, with a mask of 50 %. BatchNorm is in eval mode while the mask is computed.

    Source:
        Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency", ICLR 2024.

    Args:
        share: Share of the weights that may move, in (0, 1].
        **kwargs: See :class:`RandomLabels` and :class:`~gli.methods.base.Method`.
    """

    def __init__(self, share: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < share <= 1:
            raise SettingError(f"model.share is {share:g}; it must lie in (0, 1].")
        self.share = share
        #: True where a weight may move, by the names of the weights.
        self.masks: dict[str, Tensor] = {}

    def prepare(self) -> None:
        """Mask the most salient weights of the network."""
        gradients = gradients_over(self, "forget")
        sizes = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
        moving = torch.zeros_like(sizes, dtype=torch.bool)
        moving[sizes.argsort(descending=True, stable=True)[: round(self.share * len(sizes))]] = True
        masks = torch.split(moving, [gradient.numel() for gradient in gradients.values()])
        self.masks = {
            name: mask.view_as(gradient) for (name, gradient), mask in zip(gradients.items(), masks, strict=True)
        }

    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step, then give masked weights their values back, which momentum and weight decay would move."""
        parameters = dict(self.model.named_parameters())
        before = {name: parameters[name].detach().clone() for name in self.masks}
        for name, mask in self.masks.items():
            gradient = parameters[name].grad
            if gradient is not None:
                gradient *= mask.to(gradient.device)
        super().take_step(optimizer)
        with torch.no_grad():
            for name, mask in self.masks.items():
                weight = parameters[name]
                weight.copy_(torch.where(mask.to(weight.device), weight, before[name]))
