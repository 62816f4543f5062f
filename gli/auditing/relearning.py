"""Relearning: whether a model learns forgotten people again faster than models that never saw them.

All models are fine-tuned alike on one half of each person's pictures, and their losses on the other half are compared.
Source: Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020 (relearn time); the halves by
person are ours.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gli.data.faces import Rows
from gli.data.loading import shuffled_batches
from gli.data.tasks import Task
from gli.system.chunks import CHUNK_PIXELS, in_chunks

#: Steps after which the losses are measured; the last is the number of steps.
CHECKS = (0, 5, 10, 20)
BATCH, MOMENTUM = 64, 0.9


def halves(people: npt.NDArray[np.int64], seed: int = 0) -> tuple[Rows, Rows]:
    """Divide the images of each person with two or more into two halves: one to learn from, one to judge by.

    Args:
        people: Number of the person on each image, shape ``(images,)``.
        seed: Seed of the halves.

    Returns:
        Positions of the images of either half; people with one image are in neither.
    """
    generator = np.random.default_rng(seed)
    learn: list[int] = []
    judge: list[int] = []
    for person in np.unique(people):
        own = generator.permutation(np.flatnonzero(people == person)).tolist()
        if len(own) > 1:
            learn += own[: len(own) // 2]
            judge += own[len(own) // 2 :]
    return np.sort(np.array(learn, dtype=np.int64)), np.sort(np.array(judge, dtype=np.int64))


def relearning_losses(
    model: nn.Module,
    task: Task,
    learn: tuple[Tensor, Tensor],
    judge: tuple[Tensor, Tensor],
    lr: float,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Return the losses of the images to judge by while a copy of the model is fine-tuned on those to learn from.

    BatchNorm statistics stay as they are. The batches depend on the seed alone, so that they are the same for all
    models.

    Args:
        model: The model; it is not changed.
        task: The classification task.
        learn: Images in [0, 1], shape ``(n, 3, height, width)``, and their labels.
        judge: The same of the images to judge by, ``(m, ...)``.
        lr: Learning rate of SGD.
        seed: Seed of the batches.

    Returns:
        Losses in nats after each number of steps in ``CHECKS``, shape ``(checks, m)``.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM)
    images, labels = learn
    size = min(BATCH, len(images))
    batches = list(shuffled_batches(np.arange(len(images)), size, CHECKS[-1], (seed, 2)))
    curve = []
    for step in range(CHECKS[-1] + 1):
        if step in CHECKS:
            with torch.inference_mode():
                losses = in_chunks(lambda x, y: task.losses(model(x), y), *judge, pixels=CHUNK_PIXELS)
            curve.append(losses.double().cpu().numpy())
        if step < CHECKS[-1]:
            batch = torch.from_numpy(batches[step]).to(images.device)
            optimizer.zero_grad()
            loss: Any = task.loss(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
    return np.stack(curve)
