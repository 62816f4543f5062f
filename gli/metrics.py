"""How much was forgotten: membership inference, Jensen-Shannon distance, and the scores made of them.

Functions hold the arithmetic; the classes above them gather losses over batches and processes for torchmetrics. Both
follow the evaluation of the published benchmark to the last digit: see each function.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from gli.densities import density

Losses = Tensor | npt.ArrayLike

ATTACK_SPLITS = 10
DENSITY_POINTS = 1000


def _losses(values: Losses, name: str) -> npt.NDArray[np.float64]:
    """A flat float64 array of per-image losses, checked."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} losses must be a 1-D array with at least one value, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} losses hold {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array


def membership_inference_accuracy(forget_losses: Losses, unseen_losses: Losses) -> float:
    """Accuracy of an attacker who tells forget images from unseen ones by their loss; 0.5 is a coin toss.

    The forget losses are shuffled with NumPy's legacy generator seeded with 42 and cut to the number of unseen losses.
    A logistic regression on that one feature is scored by its mean accuracy over ten stratified shuffled splits, a tenth
    of the images held out in each.

    Args:
        forget_losses: Losses of the images to be forgotten, shape ``(n,)``, in the order of the table.
        unseen_losses: Losses of images of people who were never in training, shape ``(m,)``.

    Returns:
        Mean accuracy in [0, 1].

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or is too small to be split.

    Source: paper, section 5.2.2, with the evaluation of the MUFAC/MUCAC benchmark.
    """
    forget, unseen = _losses(forget_losses, "forget"), _losses(unseen_losses, "unseen")
    forget = np.random.RandomState(42).permutation(forget)[: len(unseen)]
    losses = np.concatenate([unseen, forget])[:, None]
    member = np.repeat([0, 1], [len(unseen), len(forget)])
    splits = StratifiedShuffleSplit(n_splits=ATTACK_SPLITS, random_state=0)
    return float(cross_val_score(LogisticRegression(), losses, member, cv=splits, error_score="raise").mean())


def loss_densities(
    forget_losses: Losses, unseen_losses: Losses
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Kernel density estimates of both sets of losses on one grid (paper, Figure 6).

    Args:
        forget_losses: Losses of the images to be forgotten, shape ``(n,)``.
        unseen_losses: Losses of images of people who were never in training, shape ``(m,)``.

    Returns:
        The grid (1,000 points from the smallest to the largest loss of both), the density of the forget losses and that
        of the unseen losses, each of area 1 by the trapezoid rule.

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or fewer than two different values.
    """
    forget, unseen = _losses(forget_losses, "forget"), _losses(unseen_losses, "unseen")
    grid = np.linspace(min(forget.min(), unseen.min()), max(forget.max(), unseen.max()), DENSITY_POINTS)
    densities = []
    for name, losses in (("forget", forget), ("unseen", unseen)):
        if np.ptp(losses) == 0:
            raise ValueError(f"{name} losses are all {losses[0]:g}: their density cannot be estimated")
        unscaled = density(losses, grid)
        densities.append(unscaled / np.trapezoid(unscaled, grid))
    return grid, densities[0], densities[1]


def jensen_shannon_distance(forget_losses: Losses, unseen_losses: Losses) -> float:
    """Jensen-Shannon distance between the loss densities of forget and unseen; 0 means that they cannot be told apart.

    The distance is the square root of the divergence in nats, as in the paper's Eq. 8; its maximum is sqrt(ln 2) = 0.8326.

    Args:
        forget_losses: Losses of the images to be forgotten, shape ``(n,)``; all of them count here.
        unseen_losses: Losses of images of people who were never in training, shape ``(m,)``.

    Returns:
        Distance in [0, 0.8326].

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or fewer than two different values.

    Source: paper, section 6.1, Eq. 8.
    """
    _, *densities = loss_densities(forget_losses, unseen_losses)
    # The tail of a density may be so thin that half of it rounds to zero, and the divergence from that half to infinity.
    tiny = np.finfo(np.float64).tiny
    forget, unseen = (np.where(one < tiny * one.sum(), 0, one) for one in densities)
    distance = float(jensenshannon(forget, unseen))
    # Of densities that are all but equal, rounding can make the divergence negative and its root NaN.
    return 0.0 if math.isnan(distance) and np.isfinite([forget, unseen]).all() else distance


def forgetting_score(mia_accuracy: float) -> float:
    """|0.5 - MIA accuracy|, in [0, 0.5]; lower is better (paper, section 5.2.2)."""
    return abs(0.5 - mia_accuracy)


def final_score(accuracy: float, forgetting_score: float) -> float:
    """(accuracy + 1 - 2 * forgetting score) / 2, in [0, 1]; higher is better (paper, section 5.2.3)."""
    return (accuracy + (1 - 2 * forgetting_score)) / 2


def _once_each(index: list[Tensor] | Tensor, values: list[Tensor] | Tensor) -> Tensor:
    """The values in the order of their row numbers, each row number once."""
    index, values = dim_zero_cat(index), dim_zero_cat(values)
    rows, inverse = torch.unique(index, return_inverse=True)
    result = values.new_empty((len(rows), *values.shape[1:]))
    result[inverse] = values
    return result


class _Gathered(Metric):
    """A metric of list states that also gathers right when a process saw no image of a set."""

    full_state_update = False

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        # torchmetrics puts an empty float vector in for a process without values, which then meets other types and
        # shapes in the collective. These lists are short: gather them as they are.
        for name in self._defaults:
            parts: list[Any] = [None] * torch.distributed.get_world_size(process_group)
            mine = [value.cpu() for value in getattr(self, name)]
            torch.distributed.all_gather_object(parts, mine, group=process_group)
            setattr(self, name, [value.to(self.device) for part in parts for value in part])


class PerImage(_Gathered):
    """Gathers values per image over batches and processes; an image that came twice (as a sampler pads) counts once."""

    index: list[Tensor]
    values: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, values: Tensor) -> None:
        """Add a batch: row numbers of shape ``(batch,)`` and values of shape ``(batch,)`` or ``(batch, columns)``."""
        self.index.append(index)
        self.values.append(values.detach())

    def compute(self) -> Tensor:
        """All values in the order of their row numbers, each row number once."""
        return _once_each(self.index, self.values)


class _ForgetAgainstUnseen(_Gathered):
    """Gathers the losses of the forget and the unseen set; subclasses say what is computed from them."""

    higher_is_better = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("forget", "unseen"):
            self.add_state(f"{name}_index", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_losses", default=[], dist_reduce_fx="cat")

    def update(self, losses: Tensor, index: Tensor, subset: str) -> None:
        """Add a batch of losses of ``subset`` (``forget`` or ``unseen``), with the images' row numbers."""
        if subset not in ("forget", "unseen"):
            raise ValueError(f"subset is 'forget' or 'unseen', got {subset!r}")
        getattr(self, f"{subset}_losses").append(losses.detach())
        getattr(self, f"{subset}_index").append(index)

    def _gathered(self, subset: str) -> Tensor:
        """The losses of one set in the order of the table, images that came twice counted once."""
        return _once_each(getattr(self, f"{subset}_index"), getattr(self, f"{subset}_losses"))


class MembershipInferenceAccuracy(_ForgetAgainstUnseen):
    """:func:`membership_inference_accuracy` as a torchmetrics class, exact on any number of processes."""

    def compute(self) -> Tensor:
        """The attack's accuracy, a float64 scalar."""
        value = membership_inference_accuracy(self._gathered("forget"), self._gathered("unseen"))
        return torch.tensor(value, dtype=torch.float64)


class JensenShannonDistance(_ForgetAgainstUnseen):
    """:func:`jensen_shannon_distance` as a torchmetrics class, exact on any number of processes."""

    def compute(self) -> Tensor:
        """The distance, a float64 scalar."""
        value = jensen_shannon_distance(self._gathered("forget"), self._gathered("unseen"))
        return torch.tensor(value, dtype=torch.float64)


def summary(accuracy: float, forget_losses: Losses, unseen_losses: Losses) -> dict[str, float]:
    """Every published score of one model from its accuracy on test and its losses on forget and unseen.

    Where the losses are not finite or a density cannot be estimated the scores that need them are NaN, so that an audit
    of a model that fell apart still gives a row.

    Returns:
        ``mia_accuracy``, ``forgetting_score``, ``jsd`` and ``final_score``.
    """
    scores = {"mia_accuracy": math.nan, "jsd": math.nan}
    for name, function in (("mia_accuracy", membership_inference_accuracy), ("jsd", jensen_shannon_distance)):
        try:
            scores[name] = function(forget_losses, unseen_losses)
        except ValueError:
            continue
    forgetting = forgetting_score(scores["mia_accuracy"])
    return {**scores, "forgetting_score": forgetting, "final_score": final_score(accuracy, forgetting)}
