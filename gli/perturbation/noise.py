"""UNSIR's noise images: made from nothing so that their features lie far from those to be forgotten (paper, Eq. 4)."""

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
    """Change noise by steps of Adam so that ``loss`` of the model's output falls; then clip it to the range of images.

    Clipped only at the end, as in the MUFAC/MUCAC benchmark: on the way the noise may leave the range. In float32, whatever
    the precision of the training around it.

    Args:
        model: Network whose output goes into ``loss``. Its parameters' ``.grad``, every submodule's train/eval mode and
            BatchNorm's statistics are left as they were found.
        noise: What to start from, shape ``(batch, channels, height, width)``; a standard normal in UNSIR.
        loss: Maps the model's output to a scalar to be minimised. Called once a step.
        steps: Number of steps.
        lr: Learning rate of Adam, in pixel values.
        clip: Lowest and highest pixel value.

    Returns:
        The clipped, detached images.

    Source: paper, section 4.1.2, Eq. 4.
    """
    noise = noise.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([noise], lr=lr)
    with inner_steps(model, noise):
        for _ in range(steps):
            (noise.grad,) = torch.autograd.grad(loss(model(noise)), noise)
            optimizer.step()
    return noise.detach().clamp(*clip)
