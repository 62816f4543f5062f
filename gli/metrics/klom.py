"""KLoM: how far the margins of unlearned models are from those of reference models, image by image.

Margins have shape ``(models, images)``; divergences are in nats, shape ``(images,)``. Source: Georgiev et al.,
"Attribute-to-Delete: Machine Unlearning via Datamodel Matching", 2024 (histogram form). The histogram is hopelessly
biased for few models, so the audit uses normal distributions and reports the excess over the distance between
references.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Published form: number of bins, range of the margins, smallest probability of a bin.
BINS, LARGEST_MARGIN, SMALLEST_PROBABILITY = 20, 100.0, 1e-5
#: Weight of the pooled variance, in observations.
PRIOR = 8.0


def _variances(margins: Array) -> Array:
    """Return the variance of each image over models, shrunk towards the mean variance of all images."""
    models = len(margins)
    if models < 2:
        raise ValueError("a variance needs two models or more")
    observed = margins.var(axis=0, ddof=1)
    shrunk = ((models - 1) * observed + PRIOR * observed.mean(axis=0)) / (models - 1 + PRIOR)
    return np.asarray(np.maximum(shrunk, np.finfo(np.float64).tiny))


def normal_klom(unlearned: Array, references: Array) -> Array:
    """Return KL(unlearned || references) of each image, with normal distributions of the margin.

    There are at least two references; a single unlearned model is taken to have their variance.
    """
    variance = _variances(references)
    unlearned_variance = _variances(unlearned) if len(unlearned) > 1 else variance
    shift = unlearned.mean(axis=0) - references.mean(axis=0)
    return np.asarray(0.5 * (np.log(variance / unlearned_variance) + (unlearned_variance + shift**2) / variance - 1))


def histogram_klom(unlearned: Array, references: Array) -> Array:
    """Return KL(unlearned || references) of each image from histograms, as published."""
    values = []
    for model, reference in zip(unlearned.T, references.T, strict=True):
        sides = [np.clip(side, -LARGEST_MARGIN, LARGEST_MARGIN) for side in (model, reference)]
        low, high = min(side.min() for side in sides), max(side.max() for side in sides)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        p, q = (np.histogram(side, edges)[0] / len(side) for side in sides)
        q = np.maximum(q, SMALLEST_PROBABILITY)
        present = p > 0
        values.append(float((p[present] * np.log(p[present] / q[present])).sum()))
    return np.array(values)


def excess_klom(
    unlearned: Array,
    references: Array,
    splits: int = 20,
    seed: int | np.random.Generator = 0,
    distance: Callable[[Array, Array], Array] = normal_klom,
) -> tuple[Array, Array]:
    """Return the KLoM of each image and its floor, which is the same between references only.

    Both sides are compared at equal sizes, over random splits: m unlearned models (or m references) against the other
    references, with m at most half of the references, of which there are three or more. The difference is 0 on average
    if unlearning equals retraining. ``distance`` is :func:`histogram_klom` to compare with published values.
    """
    count = len(references)
    if count < 3:
        raise ValueError("KLoM needs three reference models or more")
    size = max(1, min(len(unlearned), count // 2, count - 2))
    generator = np.random.default_rng(seed)
    distances, floor = [], []
    for _ in range(splits):
        order = generator.permutation(count)
        models = generator.permutation(len(unlearned))[:size]
        distances.append(distance(unlearned[models], references[order[size:]]))
        floor.append(distance(references[order[:size]], references[order[size:]]))
    return np.mean(distances, axis=0), np.mean(floor, axis=0)
