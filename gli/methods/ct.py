"""CT: transpose the kernels of all convolutions, then fine-tune on retain."""

from __future__ import annotations

from typing import Any

import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import nn

from gli.errors import SettingError
from gli.methods.fine_tune import FineTune
from gli.methods.settings import ScheduleName
from gli.models.backbones import build_classifier

#: Iterations in which a network can hardly recover; an epoch of MUFAC has 133.
LEAST_ITERATIONS = 50


def square_convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Return the trained convolutions whose kernels are square and larger than one pixel; none if all are patches."""
    layers = (module for module in model.modules() if isinstance(module, nn.Conv2d) and module.weight.requires_grad)
    square = [layer for layer in layers if layer.kernel_size[0] == layer.kernel_size[1] > 1]
    # The embedding of a transformer's patches is transposed by a transposition of the image: the rest stays as it is.
    return square if any(layer.stride != layer.kernel_size for layer in square) else []


class CT(FineTune):
    r"""CT, convolution transpose: exchange the two spatial axes of all kernels, then fine-tune on retain.

    The transposed network computes on an image what the original computes on the transposed image (mirrored along the
    diagonal): most of what it knows is out of use, but nothing is lost, and fine-tuning restores what retained people
    confirm.

    Equation:
        $$W_{oihw} \leftarrow W_{oiwh}$$

        for the weights $W$ of every convolution with a square kernel, where $o$ and $i$ count output and input
        channels, and $h$ and $w$ rows and columns. Then

        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

    Cost:
        As fine-tuning; the transposition costs nothing. Forget images are not used.

    Fails:
        The transposed network answers the transposed image exactly as the original answers the image, and fine-tuning
        on upright images need not change that: whoever knows the method shows transposed images. ``gli audit RUN``,
        ``gli.audit`` and ``gli erase`` do, audits of fleets do not. Short training leaves the accuracy low; long
        training brings back what is common to forgotten and retained people, and with it their membership. It does
        nothing to networks without square kernels larger than one pixel.

    Defaults:
        Of a winning team of the NeurIPS 2023 challenge: SGD at 0.001 (0.01 for small networks), momentum 0.9, weight
        decay 0.0005, cosine decay, three epochs.

    Source:
        NeurIPS 2023 Machine Unlearning challenge; compared in Cadet et al., "Deep Unlearn", 2024.

    Args:
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 3
    rebuilds = True

    def __init__(
        self,
        lr: float | None = 0.001,
        momentum: float | None = 0.9,
        weight_decay: float | None = 0.0005,
        schedule: ScheduleName | None = "cosine",
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, schedule=schedule, **kwargs)

    def check(self) -> None:
        """Refuse a network without kernels that a transposition changes."""
        if self.network is not None:
            name, network = self.network.name, self.network.module
        else:
            with torch.device("meta"):
                name, network = f"model.backbone {self.backbone}", build_classifier(self.backbone, 1)
        if not square_convolutions(network):
            raise SettingError(
                f"{name} has no kernels that {self.name} could transpose: square ones of more than a pixel that are "
                "neither frozen nor a transformer's patch embedding."
            )

    @torch.no_grad()
    def prepare(self) -> None:
        """Transpose the kernels."""
        if self.total_iterations < LEAST_ITERATIONS:
            rank_zero_warn(
                f"{self.name} begins with transposed kernels, so that accuracy has to come back, and has "
                f"{self.total_iterations} iterations for it. Give it more: epochs, or smaller batches."
            )
        for layer in square_convolutions(self.model):
            layer.weight.copy_(layer.weight.transpose(2, 3).clone())
