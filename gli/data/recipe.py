"""Training recipe of the original and the retrained model of a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """SGD with a step schedule, from scratch or from ImageNet weights (reference recipe of the MUFAC/MUCAC benchmark).

    Attributes:
        lr: Initial learning rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        epochs: Number of epochs; the last checkpoint is the original model.
        retrained_epochs: Number of epochs of the retrained model; None for ``epochs``.
        milestones: Epochs after which the learning rate is divided by ten.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    epochs: int = 30
    retrained_epochs: int | None = None
    milestones: tuple[int, ...] = (10, 20)
