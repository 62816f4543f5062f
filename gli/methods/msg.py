"""MSG: reinitialise the weights with the smallest gradients, then fine-tune on retain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gli.errors import SettingError
from gli.methods.fine_tune import FineTune
from gli.methods.seeding import seeded_generator
from gli.methods.settings import ScheduleName
from gli.methods.sweeps import gradients_over


def smallest(gradient: Tensor, share: float) -> Tensor:
    """Return a mask of the given share of the entries, those of the smallest size."""
    order = gradient.abs().flatten().argsort(stable=True)
    mask = torch.zeros_like(order, dtype=torch.bool)
    mask[order[: round(share * len(order))]] = True
    return mask.view_as(gradient)


class MSG(FineTune):
    r"""MSG, masked small gradients: reinitialise the weights on which retain and forget agree, then fine-tune.

    Equation:
        $$g = \nabla_\theta \mathbb E_R l(x, y; \theta) - \nabla_\theta \mathbb E_{\text{forget}} l(x, y; \theta)$$

        at $\theta = \theta_{\text{original}}$, where $R$ is a random part of retain as large as forget. In every
        convolution the 30 % of the weights with the smallest $\lvert g \rvert$ are drawn again (Kaiming normal,
        fan-out). Then

        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

        where the gradients of all other weights of convolutions are multiplied by 0.1. Weight decay is not.

    Cost:
        As fine-tuning, and two forward and backward passes of forget's size before. One additional number per weight
        of a convolution.

    Fails:
        With a large share the network forgets its task and needs nearly a training from scratch; with a small one, or
        a slow one, what it has memorised stays in the weights that were kept.

    Defaults:
        Of a winning team of the NeurIPS 2023 challenge: SGD at 0.001, momentum 0.9, weight decay 0.0005, linear warm-up
        and decay, five epochs, batches of 64. BatchNorm is in eval mode while g is computed.

    Source:
        NeurIPS 2023 Machine Unlearning challenge; compared in Cadet et al., "Deep Unlearn", 2024.

    Args:
        share: Share of the weights of each convolution that is reinitialised, in (0, 1].
        slow: Factor of the gradients of the others.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 5

    def __init__(
        self,
        share: float = 0.3,
        slow: float = 0.1,
        lr: float | None = 0.001,
        momentum: float | None = 0.9,
        weight_decay: float | None = 0.0005,
        schedule: ScheduleName | None = "warmup",
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, schedule=schedule, **kwargs)
        if not 0 < share <= 1 or not 0 <= slow <= 1:
            raise SettingError(f"model.share is {share:g} and model.slow {slow:g}; they must lie in (0, 1] and [0, 1].")
        self.share, self.slow = share, slow
        #: Factors of the gradients, by the names of the weights.
        self.factors: dict[str, Tensor] = {}

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """Return the convolutions by name."""
        return {name: layer for name, layer in self.model.named_modules() if isinstance(layer, nn.Conv2d)}

    def prepare(self) -> None:
        """Reinitialise weights, and keep the factor of every gradient."""
        retain, size = self.data.rows("retain"), len(self.data.rows("forget"))
        generator = np.random.default_rng([torch.initial_seed() % 2**32, 1])
        part = np.sort(generator.permutation(retain)[:size])
        of_retain, of_forget = gradients_over(self, "retain", part), gradients_over(self, "forget")
        generator_of_weights = seeded_generator(1)
        for name, layer in self.convolutions().items():
            weight = layer.weight
            mask = smallest(of_retain[f"{name}.weight"] - of_forget[f"{name}.weight"], self.share)
            fresh = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
            nn.init.kaiming_normal_(fresh, mode="fan_out", nonlinearity="relu", generator=generator_of_weights)
            with torch.no_grad():
                weight.copy_(torch.where(mask, fresh.to(weight.device), weight))
            self.factors[f"{name}.weight"] = torch.where(mask, 1.0, self.slow).to(weight)

    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Slow the gradients of the weights that were kept; the optimiser then adds weight decay in full."""
        for name, weight in self.model.named_parameters():
            if name in self.factors and weight.grad is not None:
                weight.grad *= self.factors[name].to(weight.grad)
        super().take_step(optimizer)
