"""The gradient of the pixels through a network's first convolution, in half of torch's time on a CPU.

The inner steps of GLI need this gradient; torch's takes an eighth of such a step of ResNet-18. Here the same products
are summed in the same order: the result is torch's to the bit where it was tried (x86-64 with AVX-512, float32,
channels last), and differs by rounding elsewhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional

from gli.speed import wanted
from gli.speed.convolutions import Convolutions, both_directions

#: A convolution with more input channels than this is not one of images.
_MOST_CHANNELS = 4


def fast_pixel_gradient() -> AbstractContextManager[object]:
    """Return a context in which gradients of pixels are computed faster (with ``GLI_PLAIN=1``: as torch does)."""
    return PixelGradient() if wanted() else nullcontext()


class PixelGradient(Convolutions):
    """Inside, a strided convolution of images passes a gradient to the images, and none to its parameters.

    Everything else is left to torch: other layers, other convolutions, accelerators.
    """

    def convolve(self, *args: Any, **kwargs: Any) -> Tensor | None:
        """Return the result where this is faster, None for any other convolution."""
        return _convolve(*args, **kwargs)


def _convolve(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:  # fmt: skip
    """Return ``torch.conv2d`` of images with an equal stride above 1 in both directions; None for any other."""
    if not input.requires_grad or input.device.type != "cpu" or input.dim() != 4 or isinstance(padding, str):
        return None
    if weight.shape[1] > _MOST_CHANNELS or groups > 1:
        return None
    pairs = [both_directions(setting) for setting in (dilation, stride, padding, weight.shape[2:])]
    if any(down != across for down, across in pairs):
        return None
    spacing, step, pad, kernel = (down for down, _ in pairs)
    if spacing != 1:
        return None
    if step == 1 or pad >= kernel or any(_reach(side, kernel, step, pad) < side for side in input.shape[2:]):
        return None
    fixed_bias = None if bias is None else bias.detach()
    result: Tensor = _Convolution.apply(input, weight.detach(), fixed_bias, step, pad)
    return result


def _taps(kernel: int, stride: int) -> int:
    """Return how many weights of a row of the kernel read one pixel, at most."""
    return -(-kernel // stride)


def _reach(side: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of pixels in a row for which :class:`_Convolution` computes a gradient."""
    outputs = (side + 2 * padding - kernel) // stride + 1
    return stride * (outputs + _taps(kernel, stride) - 1 - 2 * (padding // stride)) - padding % stride


class _Convolution(Function):
    """A convolution of few channels, with the same stride in both directions."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        """Convolve, and save what the gradient needs."""
        ctx.save_for_backward(weight)
        ctx.stride, ctx.padding, ctx.size = stride, padding, images.shape[2:]
        return torch.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradient of the images by one dense convolution and a pixel shuffle.

        The gradient of pixel ``stride * m + r - padding`` is the sum of ``gradient[m - t] * weight[r + stride * t]``
        over t: for each r a convolution of the same gradient. They become the channels of one convolution.
        """
        (weight,) = ctx.saved_tensors
        stride, padding, (height, width) = ctx.stride, ctx.padding, ctx.size
        outputs, channels, kernel, _ = weight.shape
        taps = _taps(kernel, stride)
        rest = taps * stride - kernel
        between = functional.pad(weight, (0, rest, 0, rest)).view(outputs, channels, taps, stride, taps, stride)
        between = between.permute(1, 3, 5, 0, 2, 4).reshape(channels * stride**2, outputs, taps, taps)
        # Flip the gradient rather than the kernel, so that the sum is taken in torch's order.
        dense = torch.conv2d(
            gradient.flip(2, 3),
            between.contiguous(memory_format=torch.channels_last),
            padding=taps - 1 - padding // stride,
        )
        pixels, first = functional.pixel_shuffle(dense.flip(2, 3), stride), padding % stride
        return pixels[:, :, first : first + height, first : first + width], None, None, None, None
