"""Base class of the modes that replace ``torch.conv2d``, and a helper for its arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Convolutions(TorchFunctionMode, ABC):
    """Inside, :meth:`convolve` may replace ``torch.conv2d``; every other function is torch's own."""

    @abstractmethod
    def convolve(self, *args: Any, **kwargs: Any) -> Tensor | None:
        """Return the result of ``torch.conv2d``, called with its arguments; None to leave it to torch."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``torch.conv2d``; call every other function as it is."""
        result = self.convolve(*args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if result is None else result


def both_directions(setting: int | Sequence[int]) -> tuple[int, int]:
    """Return a setting of a convolution as a pair, vertical and horizontal."""
    if isinstance(setting, int):
        return setting, setting
    vertical, horizontal = setting if len(setting) == 2 else (*setting, *setting)
    return vertical, horizontal
