"""Re-identification: whether features tell which pictures show the same person.

A network that never saw a person still separates faces, so a value alone means nothing: compare it with the same value
of models that were trained without the people (:mod:`gli.metrics.excess`). Protocols: verification and rank-1
identification as in Huang et al., "Labeled Faces in the Wild", 2007, with cosine similarity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _similarities(features: Array) -> Array:
    """Return the cosine similarity of all pairs of images, shape ``(images, images)``."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(norms > 0, norms, 1)
    return np.asarray(directions @ directions.T)


def verification_areas(features: Array, people: npt.NDArray[np.int64]) -> Array:
    """Return for each image how well its similarity tells the same person from others.

    Args:
        features: Features of the images, shape ``(images, dimensions)``.
        people: Number of the person on each image, shape ``(images,)``.

    Returns:
        The probability that another image of the same person is more similar than an image of somebody else (the area
        under the ROC curve), shape ``(images,)``; NaN where the person has no other image, or nobody else has one.
    """
    similarity = _similarities(features)
    areas = np.full(len(people), np.nan)
    for image, person in enumerate(people):
        own, others = people == person, people != person
        own[image] = False
        if own.any() and others.any():
            below = np.sort(similarity[image, others])
            left = np.searchsorted(below, similarity[image, own], "left")
            right = np.searchsorted(below, similarity[image, own], "right")
            areas[image] = (left + right).mean() / 2 / len(below)
    return areas


def rank_one_hits(features: Array, people: npt.NDArray[np.int64]) -> Array:
    """Return whether the most similar other image of each image shows the same person.

    Args:
        features: Features of the images, shape ``(images, dimensions)``.
        people: Number of the person on each image, shape ``(images,)``.

    Returns:
        1 or 0, shape ``(images,)``; NaN where the person has no other image, or nobody else has one.
    """
    similarity = _similarities(features)
    np.fill_diagonal(similarity, -np.inf)
    hits = (people[similarity.argmax(axis=1)] == people).astype(np.float64)
    _, number, counts = np.unique(people, return_inverse=True, return_counts=True)
    usable = (counts[number] > 1) & (counts[number] < len(people))
    return np.where(usable, hits, np.nan)
