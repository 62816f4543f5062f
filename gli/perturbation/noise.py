"""UNSIR's noise images, whose features are far from those of the forget images (paper, Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gli.perturbation.perturb import inner_steps


def maximise_error(
    model: nn.Module,
    noise: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    steps: int,
    lr: float,
    clip: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Optimise noise images with Adam to minimise ``loss`` of the model's output, then clip them.

    As in the MUFAC/MUCAC benchmark, the noise may leave the range of images before the end. Gradients are computed in
    float32, also under mixed precision.

    Args:
        model: Network whose output is passed to ``loss``. The ``.grad`` of its parameters, the train/eval mode of its
            submodules and BatchNorm's statistics do not change.
        noise: First images, shape ``(batch, channels, height, width)``; a standard normal in UNSIR.
        loss: Called in each step with the model's output; returns a scalar.
        steps: Number of steps.
        lr: Learning rate of Adam, in pixel values.
        clip: Lowest and highest pixel value.

    Returns:
        The clipped, detached images.

    Source:
        Paper, section 4.1.2, Eq. 4.
    """
    noise = noise.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([noise], lr=lr)
    with inner_steps(model, noise):
        for _ in range(steps):
            (noise.grad,) = torch.autograd.grad(loss(model(noise)), noise)
            optimizer.step()
    return noise.detach().clamp(*clip)
