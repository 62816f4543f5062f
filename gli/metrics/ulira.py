"""U-LiRA: separate people whom a model has forgotten from people it never saw, by shadow models of the same method.

Source: Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy", 2024.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: State of an image in a model: forgotten, never seen by its original, or anything else (retained, not evaluated).
FORGOTTEN, NEVER_SEEN, OTHER = 1, 0, -1


def _moments(margins: Array, chosen: npt.NDArray[np.bool_]) -> tuple[Array, Array, Integers]:
    """Return mean, predictive variance and number of the chosen observations of each image and label.

    The variance is pooled over images, since there are few observations, and widened by the error of the mean.
    """
    count = chosen.sum(axis=0)
    safe = np.maximum(count, 1)[:, None]
    mean = np.where(chosen[..., None], margins, 0).sum(axis=0) / safe
    squares = (np.where(chosen[..., None], margins - mean, 0) ** 2).sum(axis=0)
    freedom = np.maximum(count - 1, 0)
    # Without two observations of any image there is no variance, and no score.
    pooled = squares.sum(axis=0) / (freedom.sum() or np.nan)
    return mean, np.maximum(pooled, np.finfo(np.float64).tiny) * (1 + 1 / safe), count


def _log_density(margins: Array, mean: Array, variance: Array) -> Array:
    """Return the log-density of a normal distribution, summed over labels."""
    terms = np.log(2 * np.pi * variance) + (margins - mean) ** 2 / variance
    return np.asarray(-0.5 * terms.sum(axis=-1))


def ulira_scores(margins: Array, states: Integers, pairs: Integers) -> Array:
    """Return the log-likelihood ratio of "forgotten" against "never seen" for every image in every model.

    For a target model, the two normal distributions of an image's margin are fitted to all models but those of the
    target's pair of originals, whose halves of the people complement each other. Fitted to the target's own original,
    an attack finds a leak where there is none. Without the other original of the pair, both sides have equally many
    observations for people who were forgotten and for people who were never seen; otherwise the AUC is biased.

    Args:
        margins: Shape ``(models, images)``, or ``(models, images, labels)``: then the ratios of the labels are added.
        states: ``FORGOTTEN``, ``NEVER_SEEN`` or ``OTHER``, shape ``(models, images)``.
        pairs: Number of the pair of originals that each model descends from, shape ``(models,)``.

    Returns:
        Shape ``(models, images)``; NaN in state ``OTHER``, for margins that are not finite, and where a side has no
        observation.
    """
    margins = margins[..., None] if margins.ndim == 2 else margins
    states = np.where(np.isfinite(margins).all(axis=-1), states, OTHER)
    margins = np.nan_to_num(margins, posinf=0.0, neginf=0.0)
    scores = np.full(states.shape, np.nan)
    for pair in np.unique(pairs):
        targets, fitted = np.flatnonzero(pairs == pair), (pairs != pair)[:, None]
        mean, variance, count = _moments(margins, fitted & (states == FORGOTTEN))
        null_mean, null_variance, null_count = _moments(margins, fitted & (states == NEVER_SEEN))
        usable = (states[targets] != OTHER) & (count > 0) & (null_count > 0)
        ratio = _log_density(margins[targets], mean, variance) - _log_density(
            margins[targets], null_mean, null_variance
        )
        scores[targets] = np.where(usable, ratio, np.nan)
    return scores
