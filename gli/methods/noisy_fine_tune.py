"""Noisy fine-tuning of the head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from gli.errors import SettingError
from gli.methods.fine_tune import FineTune
from gli.methods.seeding import seeded_generator
from gli.methods.settings import require_not_negative, require_positive
from gli.models.backbones import Classifier
from gli.models.blocks import freeze_except, last_blocks
from gli.models.checkpoints import load_features


class NoisyFineTune(FineTune):
    r"""Noisy fine-tuning: shrink the head, then train it on retain with clipped gradients and Gaussian noise.

    All other blocks are frozen. If they never saw forget, the noise hides from which weights the head started, and with
    them what it had learned from forget.

    Equation:
        The weights $\theta$ of the head are first scaled to a norm of at most $C_0$. Every step is

        $$\theta \leftarrow \theta - \eta (\text{clip}(g, C_1) + \lambda \theta) + \mathcal N(0, \sigma^2 I)$$

        where $g = \nabla_\theta \mathbb E_B l(x, y; \theta)$ for a batch $B$ of retain is clipped to a norm of at most
        $C_1$, and $\eta$ is the learning rate.

    Cost:
        One forward pass per retain image and epoch, and a backward pass through the head.

    Fails:
        No (epsilon, delta) is stated: the published bounds depend on constants that a run does not measure. The noise
        hides nothing where the frozen blocks were trained on forget, as they are in an ordinary original: name other
        weights with ``features``. With enough noise to hide much (sigma of a few times eta C1), the head predicts
        nothing; on all of a ResNet-18 it destroys the network sooner, so only the head is trained.

    Defaults:
        Of this program; the paper's depend on the network. No momentum, as in the paper.

    Source:
        Koloskova et al., "Certified Unlearning for Neural Networks", ICML 2025.

    Args:
        features: State dict of all blocks but the head, trained without forget: a torchvision or timm file, or a
            checkpoint of gli. None for the original's own.
        noise: sigma, the standard deviation of the noise that is added to every weight of the head in every step.
        weight_norm: C0, the largest norm of the head at the start.
        gradient_clip: C1, the largest norm of a step's gradient.
        weight_decay: Weight decay, lambda.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 5

    def __init__(
        self,
        features: str | None = None,
        noise: float = 0.1,
        weight_norm: float = 1.0,
        gradient_clip: float = 1.0,
        lr: float | None = 0.1,
        weight_decay: float | None = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, gradient_clip=gradient_clip, **kwargs)
        require_positive(weight_norm=weight_norm, lr=lr)
        require_not_negative(noise=noise)
        if self.momentum or self.optimizer != "sgd" or self.schedule is not None:
            raise SettingError(
                "NoisyFineTune needs plain SGD at a constant rate: leave out model.momentum, optimizer and schedule."
            )
        self.features, self.noise, self.weight_norm = features, noise, weight_norm

    def head(self) -> list[nn.Parameter]:
        """Return the parameters of the head."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def prepare(self) -> None:
        """Load the features, freeze them, and shrink the head."""
        head = last_blocks(self.model, 1)
        if self.features is not None:
            load_features(cast(Classifier, self.model), self.features, self.backbone)
        freeze_except(self.model, head)
        norm = torch.stack([parameter.norm() for parameter in self.head()]).norm()
        for parameter in self.head():
            parameter.mul_((self.weight_norm / norm).clamp(max=1))

    @torch.no_grad()
    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step, then add the noise: the same on every process."""
        super().take_step(optimizer)
        generator = seeded_generator(self.iteration, 3)
        for parameter in self.head():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype, device="cpu")
            parameter.add_(noise.to(parameter.device), alpha=self.noise)
