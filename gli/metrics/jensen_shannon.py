"""Jensen-Shannon distance (JSD) between the loss densities of forget and unseen (paper, section 6.1, Eq. 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde

from gli.metrics.losses import checked_losses

if TYPE_CHECKING:
    from gli.metrics.losses import Losses

DENSITY_POINTS = 1000


def loss_densities(
    forget_losses: Losses, unseen_losses: Losses
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return kernel density estimates of both sets of losses on one grid (paper, Figure 6).

    Args:
        forget_losses: Losses of the images to be forgotten, shape ``(n,)``.
        unseen_losses: Losses of images of people who were never trained on, shape ``(m,)``.

    Returns:
        The grid (1,000 points from the smallest to the largest loss of both), the density of the forget losses and that
        of the unseen losses, each of area 1 by the trapezoid rule.

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or fewer than two different values.
    """
    forget, unseen = checked_losses(forget_losses, "forget"), checked_losses(unseen_losses, "unseen")
    grid = np.linspace(min(forget.min(), unseen.min()), max(forget.max(), unseen.max()), DENSITY_POINTS)
    densities = []
    for name, losses in (("forget", forget), ("unseen", unseen)):
        if np.ptp(losses) == 0:
            raise ValueError(f"{name} losses are all {losses[0]:g}: their density cannot be estimated")
        unscaled = gaussian_kde(losses)(grid)
        densities.append(unscaled / np.trapezoid(unscaled, grid))
    return grid, densities[0], densities[1]


def jensen_shannon_distance(forget_losses: Losses, unseen_losses: Losses) -> float:
    """Return the Jensen-Shannon distance between the loss densities of forget and unseen.

    The distance is the square root of the divergence in nats, as in the paper's Eq. 8: 0 for equal densities, and at
    most sqrt(ln 2) = 0.8326.

    Args:
        forget_losses: Losses of the images to be forgotten, shape ``(n,)``; all of them are used.
        unseen_losses: Losses of images of people who were never trained on, shape ``(m,)``.

    Returns:
        Distance in [0, 0.8326].

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or fewer than two different values.

    Source:
        Paper, section 6.1, Eq. 8.
    """
    _, *densities = loss_densities(forget_losses, unseen_losses)
    # Drop subnormal tails: half of such a value rounds to zero, and the divergence from it to infinity.
    tiny = np.finfo(np.float64).tiny
    forget, unseen = (np.where(values < tiny * values.sum(), 0, values) for values in densities)
    distance = float(jensenshannon(forget, unseen))
    # For nearly equal densities, rounding can make the divergence negative and its root NaN.
    return 0.0 if math.isnan(distance) and np.isfinite([forget, unseen]).all() else distance
