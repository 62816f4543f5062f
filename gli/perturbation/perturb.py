"""The inner loop of GLI: perturb images by the sign of a gradient (paper, Algorithm 1, lines 7-28)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def gradient(loss: Tensor, perturbation: Tensor) -> Tensor:
    """Return the gradient of a scalar for a perturbation: the direction of Algorithm 1."""
    return torch.autograd.grad(loss, perturbation)[0]


def perturb(
    model: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor, int], Any],
    *,
    steps: int,
    step_size: float,
    direction: Callable[[Any, Tensor], Tensor] = gradient,
    start: Tensor | None = None,
    clip: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Perturb images by sign-gradient steps that minimise ``loss`` of the model's output.

    From the perturbation ``eta = start``, repeat ``steps`` times::

        eta <- eta - step_size * sign(d loss(model(clip(images + eta))) / d eta)

    The gradient is computed for the perturbation only, not for parameters, and in float32 also under mixed precision.
    It passes through the clipping: a pixel that left the range no longer moves.

    Args:
        model: Network whose output is passed to ``loss``. The ``.grad`` of its parameters, the train/eval mode of its
            submodules and BatchNorm's statistics do not change.
        images: Images in the range of ``clip``, shape ``(batch, channels, height, width)``.
        loss: Called as ``loss(logits, step)``, with the step counted from 0; returns a scalar to be minimised, or what
            ``direction`` takes.
        steps: Number of steps, T in the paper; 0 only adds ``start``.
        step_size: Step in pixel values, alpha in the paper.
        direction: Called with what ``loss`` returns and the perturbation; returns the direction of ascent, of which the
            sign counts: :func:`gradient`, or :func:`~gli.perturbation.scale_free.scale_free` for weighted scalars.
        start: First perturbation, of the shape of ``images``: noise of standard deviation 0.01 in Algorithm 1, None
            (zero) in the released code.
        clip: Lowest and highest pixel value.

    Returns:
        The clipped, detached images, of the shape and type of ``images``.

    Raises:
        ValueError: If ``steps`` or ``step_size`` is negative.
        TypeError: If ``loss`` does not take the step.

    Source:
        Paper, section 4.3 and Algorithm 1.
    """
    if steps < 0 or step_size < 0:
        raise ValueError(f"steps and step_size must not be negative, got {steps} and {step_size}")
    images = images.detach()
    perturbation = torch.zeros_like(images) if start is None else start.detach()
    with inner_steps(model, images):
        for step in range(steps):
            perturbation.requires_grad_(True)
            logits = model((images + perturbation).clamp(*clip))
            value = _call(loss, logits, step)
            perturbation = perturbation.detach() - step_size * direction(value, perturbation).sign()
    return (images + perturbation).clamp(*clip).detach()


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """Return F(x), the logits of images in float32, without a gradient and without changing BatchNorm's statistics."""
    with statistics_kept(model), in_float32(images):
        logits: Tensor = model(images)
    return logits


@contextmanager
def inner_steps(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Compute gradients in float32, and restore BatchNorm's statistics at the end."""
    with statistics_kept(model), torch.enable_grad(), in_float32(images):
        yield


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Restore, at the end, all buffers that a forward pass in train mode changes (BatchNorm's running statistics)."""
    training = [module for module in model.modules() if module.training]
    buffers = [buffer for module in training for buffer in module.buffers(recurse=False)]
    saved = [buffer.detach().clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, saved, strict=True):
                buffer.copy_(value)


def in_float32(images: Tensor) -> torch.autocast:
    """Disable autocast: in half precision such small gradients are mostly rounding error, and so is their sign.

    With bfloat16 the sign of 8 % of the pixels differs (a trained ResNet-18 on drawn faces); with float16, of 2 %.
    """
    return torch.autocast(images.device.type, enabled=False)


def _call(loss: Callable[[Tensor, int], Any], logits: Tensor, step: int) -> Any:
    try:
        return loss(logits, step)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # Raised by the call itself.
            raise TypeError(
                f"perturb calls loss(logits, step), which this loss does not take ({error}). Write it as "
                "lambda logits, step: ..., with step counted from 0."
            ) from error
        raise
