"""Several processes: which is the first, sums and means over them, and whether the trainer expects as many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor, nn

from gli.errors import SettingError

_ranks: Any = rank_zero_only


def is_first() -> bool:
    """Return whether this is the first of all processes, as far as is known before the trainer exists."""
    return _ranks.rank == 0 and os.environ.get("NODE_RANK", "0") == "0"


@contextmanager
def alone() -> Iterator[None]:
    """Make this process the first one inside the block, so that its own work is logged."""
    rank, _ranks.rank = _ranks.rank, 0
    try:
        yield
    finally:
        _ranks.rank = rank


def check_number(trainer: L.Trainer) -> None:
    """Refuse a trainer for another number of processes than torchrun or SLURM started.

    Otherwise each process would be a run of its own, and all but the first would write into an older run's folder.

    Raises:
        SettingError: If the numbers differ.
    """
    asked = trainer.num_devices * trainer.num_nodes
    advice = (
        "Give --trainer.devices (processes on each machine) and --trainer.num_nodes (machines) as they were started."
    )
    if torch.distributed.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) != asked:
        raise SettingError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but the trainer has {asked}. {advice}"
        )
    if asked == 1 and _ranks.rank != 0:
        raise SettingError(f"This is process number {_ranks.rank} of several, but the trainer has only one. {advice}")


def sum_over_processes(values: Tensor, trainer: L.Trainer) -> Tensor:
    """Return the sum of a tensor over all processes, on the tensor's device."""
    if trainer.world_size == 1:
        return values
    summed = values.to(trainer.strategy.root_device)
    torch.distributed.all_reduce(summed)
    return summed.to(values.device)


@torch.no_grad()
def average_buffers(modules: Iterable[nn.Module], trainer: L.Trainer) -> None:
    """Average the buffers of modules over all processes, such as BatchNorm's running statistics."""
    if trainer.world_size == 1:
        return
    for buffer in (buffer for module in modules for buffer in module.buffers(recurse=False)):
        if buffer.is_floating_point():
            torch.distributed.all_reduce(buffer)
            buffer /= trainer.world_size
