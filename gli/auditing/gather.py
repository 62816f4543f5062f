"""Per-image values, gathered over batches and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def gather_filled(values: Tensor, group: Any = None) -> list[Tensor]:
    """Gather a tensor from all processes, in their order, leaving out the empty ones.

    A process that saw no image of a set holds an empty tensor of another type and shape, which a tensor collective
    refuses.
    """
    gathered: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, values.cpu(), group=group)
    return [part.to(values.device) for part in gathered if part.numel()]


class PerImage(Metric):
    """Gather values per image; an image that came twice, as padding samplers cause, counts once."""

    full_state_update = False
    index: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=gather_filled)
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, values: Tensor) -> None:
        """Add a batch: row numbers of shape ``(batch,)`` and values of shape ``(batch, columns)``."""
        self.index.append(index)
        self.values.append(values.detach())

    def compute(self) -> Tensor:
        """Return all values in the order of their row numbers, shape ``(images, columns)``."""
        index, values = dim_zero_cat(self.index), dim_zero_cat(self.values)
        rows, inverse = torch.unique(index, return_inverse=True)
        result = values.new_empty((len(rows), *values.shape[1:]))
        result[inverse] = values
        return result
