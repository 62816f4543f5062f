"""How the original and the retrained model of a data set are trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """SGD with a step schedule, from scratch or from ImageNet weights (reference recipe of the MUFAC/MUCAC benchmark).

    Attributes:
        lr: Learning rate at the start.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        epochs: Number of epochs; the last checkpoint is the original model.
        retrained_epochs: The same for the retrained model; None for as many.
        milestones: Epochs after which the learning rate is divided by ten.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    epochs: int = 30
    retrained_epochs: int | None = None
    milestones: tuple[int, ...] = (10, 20)
