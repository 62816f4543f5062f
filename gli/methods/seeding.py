"""Random numbers that depend on the seed of the run and a key only: equal on every process and after resuming."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gli.methods.base import Method


def seeded_generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for a key, such as the iteration."""
    seed = np.random.SeedSequence([torch.initial_seed(), *key]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(seed[0]))


def seeded_randn_like(images: Tensor, method: Method) -> Tensor:
    """Return standard normal noise of a batch's shape for the current iteration of a method.

    Each process gets its share of the noise that one process would draw for the whole batch.
    """
    count, trainer = len(images), method.trainer
    generator = seeded_generator(method.iteration, device=images.device)
    noise = torch.randn(count * trainer.world_size, *images.shape[1:], generator=generator, device=images.device)
    return noise[trainer.global_rank * count :][:count].contiguous(memory_format=torch.channels_last)


def rand_of_images(index: Tensor, columns: int, method: Method, *key: int) -> Tensor:
    """Return uniform random numbers in [0, 1) of images, shape ``(batch, columns)``, the same in any batch or process.

    Args:
        index: Row numbers of the images, shape ``(batch,)``.
        columns: Random numbers of each image.
        method: The method, which knows the size of the face table.
        *key: Numbers that distinguish one draw from another, such as the iteration.
    """
    table = torch.rand(len(method.data.identities), columns, generator=seeded_generator(*key), device="cpu")
    return table[index.cpu()].to(index.device)
