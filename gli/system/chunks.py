"""Process a batch in chunks that fit into the cache of a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Pixels that a network evaluates at a time on a CPU: with more, activations outgrow its cache; with fewer, its cores
#: idle.
CHUNK_PIXELS = 2**19


def in_chunks(function: Callable[..., Tensor], images: Tensor, *others: Tensor, pixels: int) -> Tensor:
    """Apply ``function`` to a batch: in cache-sized chunks on the CPU, in one call elsewhere.

    ``function`` is called with images, shape ``(batch, channels, height, width)``, and the matching rows of ``others``;
    it returns one row per image, which depends on that image only. A chunk has as many ``pixels`` of one channel, but
    at least one image. The results are in the order of the batch.
    """
    count = max(1, pixels // max(1, images.shape[-2] * images.shape[-1]))
    if images.device.type != "cpu" or len(images) <= count:
        return function(images, *others)
    chunks = zip(*(torch.split(tensor, count) for tensor in (images, *others)), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks])
