"""RMIA: a membership attack that needs few reference models, the same ones for every method.

Arguments are log p of each image, shape ``(images,)``, or ``(models, images)`` under reference models that never saw
them. Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024, offline form.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gli.metrics.intervals import auc

Array = npt.NDArray[np.float64]
#: Values of ``a`` that calibration tries.
GRID = tuple(round(0.1 * step, 1) for step in range(11))


def log_confidence(margins: Array) -> Array:
    """Return log p(label | image) from margins of any shape; in a multi-label task, of each label."""
    return -np.logaddexp(0, -margins)


def likelihood_ratios(target: Array, references: Array, a: float) -> Array:
    """Return R(x) = p(x) / Pbar(x) of each image, with Pbar(x) = ((1 + a) mean_OUT p(x) + 1 - a) / 2.

    References that saw an image are NaN there; an image without any other raises ValueError. ``a``, in [0, 1], corrects
    for using OUT references only.
    """
    if np.isnan(references).all(axis=0).any():
        raise ValueError("an image has no reference model that never saw it")
    out = np.nanmean(np.exp(references), axis=0)
    return np.asarray(np.exp(target) / np.maximum(((1 + a) * out + 1 - a) / 2, np.finfo(np.float64).tiny))


def rmia_scores(ratios: Array, population: Array, gamma: float = 1.0) -> Array:
    """Return the share of population images z with R(x) / R(z) > gamma, for each image x.

    ``population`` has the ratios of images that no model saw.
    """
    return np.asarray(np.searchsorted(np.sort(population * gamma), ratios, "left") / len(population))


def calibrate(members: Array, strangers: Array, member_references: Array, stranger_references: Array) -> float:
    """Return the ``a`` of ``GRID`` with which the attack separates members of a model from strangers best.

    Values that do so equally well, to three decimals, leave the choice to the one that is closest to 0.5. Calibrate on
    a model that is not audited: the original, or a reference with others as its references.
    """

    def separation(a: float) -> float:
        return auc(
            likelihood_ratios(members, member_references, a), likelihood_ratios(strangers, stranger_references, a)
        )

    return max(GRID, key=lambda a: (round(separation(a), 3), -abs(a - 0.5)))
