"""Training recipe of the original and the retrained model of a data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from gli.errors import SettingError

#: Settings in the representation, and so in the names of originals, only where they are not the default.
LATER = ("schedule", "warmup")


@dataclass(frozen=True, repr=False)
class Recipe:
    """SGD from scratch or from ImageNet weights; the defaults are those of the MUFAC/MUCAC benchmark.

    Attributes:
        lr: Initial learning rate; with the schedule ``linear`` the largest.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        epochs: Number of epochs; the last checkpoint is the original model.
        retrained_epochs: Number of epochs of the retrained model; None for ``epochs``.
        milestones: Epochs after which the schedule ``steps`` divides the learning rate by ten.
        schedule: ``steps``, or ``linear``: rise linearly over ``warmup``, then decay linearly to zero.
        warmup: Share of the iterations in which the schedule ``linear`` rises, in [0, 1).

    Raises:
        SettingError: If ``warmup`` is not in [0, 1).
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    epochs: int = 30
    retrained_epochs: int | None = None
    milestones: tuple[int, ...] = (10, 20)
    schedule: Literal["steps", "linear"] = "steps"
    warmup: float = 0.25

    def __post_init__(self) -> None:
        """Check the share of the iterations in which the learning rate rises."""
        if not 0 <= self.warmup < 1:
            raise SettingError(f"data.recipe.warmup is {self.warmup:g}; it must be at least 0 and less than 1.")

    def __repr__(self) -> str:
        """Name a later setting only where it is not its default: texts that were written before it stay equal."""
        shown = (each for each in fields(self) if each.name not in LATER or getattr(self, each.name) != each.default)
        return f"Recipe({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in shown)})"

    def lr_factor(self, epoch: float, done: float) -> float:
        """Return the factor of the learning rate in an epoch, counted from 0, after a share ``done`` of the run."""
        if self.schedule == "steps":
            return float(0.1 ** sum(epoch >= milestone for milestone in self.milestones))
        return done / self.warmup if done < self.warmup else (1 - done) / (1 - self.warmup)
