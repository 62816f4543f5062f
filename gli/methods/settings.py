"""Settings that methods share: their checks, the optimiser, and schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from gli.data import FaceDataModule
from gli.data.recipe import Recipe
from gli.errors import SettingError
from gli.metrics.registry import LEAST_ATTACKED

OptimizerName = Literal["sgd", "adam", "adamw"]
BatchNormMode = Literal["train", "eval", "train_first"]
ScheduleName = Literal["cosine", "warmup"]
#: Share of the run over which ``warmup`` rises.
WARMUP_SHARE = 0.2


def require_not_negative(**settings: float | None) -> None:
    """Refuse settings below zero.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value is not None and value < 0:
            raise SettingError(f"model.{name} is {value:g}; it must not be negative.")


def require_positive(**settings: float | None) -> None:
    """Refuse settings that are zero or below.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value is not None and value <= 0:
            raise SettingError(f"model.{name} is {value:g}; it must be above zero.")


def require_reference(method: str, data: FaceDataModule) -> None:
    """Refuse data without reference people, for a method that compares with them.

    Raises:
        SettingError: Saying how to set some people aside.
    """
    if not data.reference_share:
        raise SettingError(
            f"{method} compares with people who are neither trained on nor audited. Set some of the test people "
            "aside for it: --data.reference_share 0.5."
        )
    if data.rehearsal == "reference":
        raise SettingError(
            f"{method} compares with reference people, but they are the test and unseen people of this "
            "rehearsal. Set --data.rehearsal true, without --model.original."
        )


def require_attackable(data: FaceDataModule) -> None:
    """Refuse data with too few images for the membership inference of an audit.

    Raises:
        SettingError: Saying how many it needs.
    """
    forget, unseen = (len(data.rows(name)) for name in ("forget", "unseen"))
    if min(forget, unseen) < 2 or min(forget, unseen) + unseen < LEAST_ATTACKED:
        raise SettingError(
            f"There are {forget} forget images and {unseen} unseen ones, too few for the membership inference of an "
            f"audit: it needs two of each, and {LEAST_ATTACKED} in all."
        )


def require_loss(method: str, loss: object) -> None:
    """Refuse what is no loss with a gradient.

    Raises:
        SettingError: Saying what ``unlearn`` must return.
    """
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        shown = f"a {type(loss).__name__}"
        if isinstance(loss, Tensor):
            shown = f"a tensor of shape {tuple(loss.shape)} with{'' if loss.requires_grad else 'out'} a gradient"
        raise SettingError(f"{method}.unlearn returned {shown}; return a scalar tensor with a gradient: the loss.")


def make_optimizer(name: OptimizerName, model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return an optimiser of the parameters that require a gradient.

    Args:
        name: ``sgd``, ``adam`` or ``adamw``.
        model: The network.
        recipe: Learning rate, momentum (SGD only) and weight decay.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name != "sgd":
        adam = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        return adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def cosine(iteration: int, iterations: int) -> float:
    """Return the factor of a cosine decay, from 1 in iteration 0 to nearly 0 in the last of ``iterations``."""
    return 0.5 * (1 + math.cos(math.pi * min(iteration, iterations) / iterations))


def warmup(iteration: int, iterations: int) -> float:
    """Return the factor that rises linearly to 1 over the first fifth of ``iterations``, then decays linearly."""
    rising = max(1, round(WARMUP_SHARE * iterations))
    if iteration < rising:
        return (iteration + 1) / rising
    return max(0.0, (iterations - iteration) / max(1, iterations - rising))


#: Factors of the first learning rate, by the iteration and the number of iterations.
SCHEDULES: dict[ScheduleName, Callable[[int, int], float]] = {"cosine": cosine, "warmup": warmup}
