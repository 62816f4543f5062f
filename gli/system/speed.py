"""What exists only for speed on a CPU, behind one switch: the environment variable ``GLI_PLAIN=1`` turns it off.

The last blocks of a ResNet see maps of 2 x 2 pixels at 64 x 64, and of 4 x 4 at 128 x 128. There torch spends most of
the time in bringing the weights into another order and back, at each call. The product of all patches with the weights
as they are is the same sum in another order: a training step of ResNet-18 at 64 x 64 takes three quarters of the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

#: The environment variable that turns this off.
SWITCH = "GLI_PLAIN"
#: A vertical and a horizontal number.
_Pair = tuple[int, int]
#: With more output pixels than this, torch's convolution is as fast.
_MOST_PIXELS = 16
#: With fewer pairs of input and output channels than this, too.
_LEAST_PAIRS = 2**16
#: In float64, used for comparisons to the last digits, torch's order of the sums is kept.
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def fast_small_maps(images: Tensor) -> AbstractContextManager[object]:
    """Return a context in which a network is applied to images (with ``GLI_PLAIN=1``: as torch does)."""
    plain = os.environ.get(SWITCH, "") not in ("", "0")
    fast = images.device.type == "cpu" and not plain and not torch.compiler.is_compiling()
    return SmallMaps() if fast else nullcontext()


class SmallMaps(TorchFunctionMode):
    """Inside, a convolution of many channels to a small map is a matrix product.

    Everything else is left to torch: other layers, larger maps, few channels, groups, accelerators.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``torch.conv2d`` where this is faster; call every other function as it is."""
        result = _convolve(*args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if result is None else result


def _convolve(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:  # fmt: skip
    """Return ``torch.conv2d`` of many channels to a small map; None for any other."""
    if input.device.type != "cpu" or input.dim() != 4 or isinstance(padding, str) or input.dtype not in _TYPES:
        return None
    if groups != 1 or weight.shape[0] * weight.shape[1] < _LEAST_PAIRS or len(input) == 0:
        return None
    steps, pads, spacings = (_pair(setting) for setting in (stride, padding, dilation))
    kernels = weight.shape[2:]
    if spacings != (1, 1):
        return None
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(input.shape[2:], pads, kernels, steps, strict=True)
    )
    if not 0 < height * width <= _MOST_PIXELS or height < 0:
        return None
    # In channels-last layout these are views: of the images, and of the weights. Padding is one more pixel, of zeros.
    pixels = functional.pad(input.permute(0, 2, 3, 1).flatten(1, 2), (0, 0, 0, 1))
    index = torch.from_numpy(_patches(tuple(input.shape[2:]), tuple(kernels), steps, pads, (height, width)))
    patches = pixels.index_select(1, index).reshape(len(input), height, width, -1)
    rows = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    return functional.linear(patches, rows, bias).permute(0, 3, 1, 2)


def _pair(setting: int | Sequence[int]) -> _Pair:
    """Return a setting of a convolution as a pair, vertical and horizontal."""
    if isinstance(setting, int):
        return setting, setting
    vertical, horizontal = setting if len(setting) == 2 else (*setting, *setting)
    return vertical, horizontal


@lru_cache(maxsize=256)
def _patches(size: _Pair, kernel: _Pair, step: _Pair, pad: _Pair, out: _Pair) -> npt.NDArray[np.int64]:
    """Return the numbers of the pixels of each patch, row by row; ``height * width`` stands for padding."""
    down, across = (np.arange(out[side])[:, None] * step[side] + np.arange(kernel[side]) - pad[side] for side in (0, 1))
    down, across = down[:, None, :, None], across[None, :, None, :]
    inside = (down >= 0) & (down < size[0]) & (across >= 0) & (across < size[1])
    return np.where(inside, down * size[1] + across, size[0] * size[1]).astype(np.int64).ravel()
