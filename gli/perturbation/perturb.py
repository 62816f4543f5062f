"""The inner loop of GLI: move images by the sign of a gradient (paper, Algorithm 1, lines 7-28)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gli.speed.pixel_gradient import fast_pixel_gradient


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Put back, on leaving, every buffer that a forward pass in train mode moves (BatchNorm's running statistics)."""
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
    """No autocast, under mixed precision either: of a gradient so small that half of its digits are rounding, the sign is.

    With bfloat16 the sign of 8 % of the pixels would be another (a trained ResNet-18 on drawn faces); with float16, 2 %.
    """
    return torch.autocast(images.device.type, enabled=False)


@contextmanager
def inner_steps(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Inside, gradients of the pixels are taken, in float32, and of nothing else; BatchNorm's statistics are put back."""
    with statistics_kept(model), torch.enable_grad(), in_float32(images), fast_pixel_gradient():
        yield


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """F(x): the logits of images in float32, without a gradient; BatchNorm's statistics are left as they were found."""
    with statistics_kept(model), in_float32(images):
        return model(images)


def _takes_step(loss: Callable[..., Tensor]) -> bool:
    """Return whether a loss takes the logits and the inner step, rather than the logits alone."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except ValueError:  # Some builtins have no signature.
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is each.empty for each in parameters) > 1


def perturb(
    model: nn.Module,
    images: Tensor,
    loss: Callable[..., Tensor],
    *,
    steps: int,
    step_size: float,
    start: Tensor | None = None,
    clip: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Perturb images so that ``loss`` of the model's output falls, by sign-gradient steps.

    From the perturbation ``eta = start``, repeat ``steps`` times::

        eta <- eta - step_size * sign(d loss(model(clip(images + eta))) / d eta)

    The gradient is taken with respect to the perturbation alone, so that no parameter's gradient is computed. It passes
    through the clipping: a pixel that was pushed out of range no longer moves. It is taken in float32, whatever the precision
    of the training around it.

    Args:
        model: Network whose output goes into ``loss``. Its parameters' ``.grad``, every submodule's train/eval mode and
            BatchNorm's statistics are left as they were found.
        images: Images in the range of ``clip``, shape ``(batch, channels, height, width)``.
        loss: Called once a step with the model's output, or with output and step; returns a scalar to be minimised.
        steps: Number of steps, T in the paper; 0 only adds ``start``.
        step_size: Step in pixel values, alpha in the paper.
        start: First perturbation, of the shape of ``images``: noise of standard deviation 0.01 in Algorithm 1, None
            (zero) in the released code.
        clip: Lowest and highest pixel value.

    Returns:
        The clipped, detached images, of the shape and type of ``images``.

    Raises:
        ValueError: If ``steps`` or ``step_size`` is negative.

    Source: paper, section 4.3 and Algorithm 1.
    """
    if steps < 0 or step_size < 0:
        raise ValueError(f"steps and step_size must not be negative, got {steps} and {step_size}")
    images = images.detach()
    perturbation = torch.zeros_like(images) if start is None else start.detach()
    with_step = _takes_step(loss)
    with inner_steps(model, images):
        for step in range(steps):
            perturbation.requires_grad_(True)
            logits = model((images + perturbation).clamp(*clip))
            value = loss(logits, step) if with_step else loss(logits)
            (gradient,) = torch.autograd.grad(value, perturbation)
            perturbation = perturbation.detach() - step_size * gradient.sign()
    return (images + perturbation).clamp(*clip).detach()
