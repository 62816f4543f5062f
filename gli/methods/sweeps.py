"""Go over a whole set, in ``prepare()`` or now and then in ``unlearn()``: means, gradients, Fisher information.

The model is in eval mode, images are not augmented, and every process sees its share of the rows; what is returned is
the same on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gli.data.faces import Rows
from gli.data.loading import Batch
from gli.methods.base import Method
from gli.system.ranks import sum_over_processes


def batches_of(method: Method, name: str, rows: Rows | None = None) -> Iterator[Batch]:
    """Yield this process's batches of a set (or of some of its rows), images in [0, 1]; every row is on one process."""
    device = method.trainer.strategy.root_device
    for batch in method.data.batches_of(name, rows):
        moved = Batch(batch.images.to(device), batch.labels.to(device), batch.index.to(device))
        yield method.data.to_float(moved)


@contextmanager
def _evaluating(method: Method) -> Iterator[None]:
    """Have the model on the device of the run and in eval mode; restore the modes of its modules."""
    method.model.to(method.trainer.strategy.root_device)
    modes = {module: module.training for module in method.model.modules()}
    method.model.eval()
    yield
    for module, training in modes.items():
        module.training = training


@torch.no_grad()
def mean_over(method: Method, name: str, function: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return the mean over a set of a value per image.

    Args:
        method: The method.
        name: Name of the set.
        function: Takes logits and labels of a batch and returns one value per image, such as ``task.losses``.
    """
    sums = torch.zeros(2, dtype=torch.float64)
    with _evaluating(method):
        for batch in batches_of(method, name):
            values = function(method.model(batch.images), batch.labels)
            sums += torch.stack([values.double().sum().cpu(), torch.tensor(float(len(values)), dtype=torch.float64)])
    total, count = sum_over_processes(sums, method.trainer)
    return float(total / count)


def gradients_over(method: Method, name: str, rows: Rows | None = None) -> dict[str, Tensor]:
    """Return the gradient, by the parameters' names, of the mean loss over a set (or over some of its rows)."""
    parameters = {key: value for key, value in method.model.named_parameters() if value.requires_grad}
    count = torch.zeros(1, dtype=torch.float64)
    with _evaluating(method), torch.enable_grad():
        total = {key: torch.zeros_like(value) for key, value in parameters.items()}
        for batch in batches_of(method, name, rows):
            loss = method.task.losses(method.model(batch.images), batch.labels).sum()
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            for key, gradient in zip(parameters, gradients, strict=True):
                total[key] += gradient
            count += len(batch.images)
    images = sum_over_processes(count, method.trainer).item()
    return {key: sum_over_processes(value, method.trainer) / images for key, value in total.items()}


def fisher_over(method: Method, name: str) -> dict[str, Tensor]:
    """Return the diagonal of the empirical Fisher information of a set, by the parameters' names.

    It is the mean over batches (of the training batch size, all processes together) of the squared gradient of the mean
    loss of a batch.
    """
    rows, size = method.data.rows(name), method.data.batch_size * method.trainer.world_size
    total: dict[str, Tensor] = {}
    count = math.ceil(len(rows) / size)
    for start in range(0, len(rows), size):
        for key, gradient in gradients_over(method, name, rows[start : start + size]).items():
            total[key] = total.get(key, 0) + gradient**2 / count
    return total
