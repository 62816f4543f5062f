"""A batch worked on piece by piece, each so small that what belongs to it stays in a processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_chunks(work: Callable[..., Tensor], images: Tensor, *others: Tensor, pixels: int) -> Tensor:
    """What some work makes of a batch: on a CPU from a piece of it at a time, elsewhere from all of it at once.

    Args:
        work: Makes of images, and of what belongs to them, as many rows; each image's from that image alone.
        images: Shape ``(batch, channels, height, width)``.
        *others: What else there is of each image, of shape ``(batch, ...)``.
        pixels: How many pixels of one channel a piece holds; it holds one image at least.

    Returns:
        What ``work`` made of all of them, in their order.
    """
    count = max(1, pixels // max(1, images.shape[-2] * images.shape[-1]))
    if images.device.type != "cpu" or len(images) <= count:
        return work(images, *others)
    return torch.cat(
        [work(*piece) for piece in zip(*(torch.split(one, count) for one in (images, *others)), strict=True)]
    )
