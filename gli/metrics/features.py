"""Scores of a model's features, per image or per person, relative to models that never saw the people.

Features have shape ``(images, dimensions)``; ``people`` is the number of the person on each image, shape ``(images,)``.
A network that never saw a person still separates faces, so a value alone means nothing: only
:func:`excess_over_references` counts.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gli.metrics.intervals import Interval

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def excess_over_references(model: Array, references: Array, level: float = 0.95) -> Interval:
    """Return by how much a model's mean over people exceeds that of reference models, with its interval.

    The interval holds two sources of chance: the people, and the training run. Another retrained model differs from the
    mean of R references by the spread between them, times the root of 1 + 1/R; so the interval covers 0 if the model is
    one more retrained model.

    Args:
        model: One value per person under the model, shape ``(people,)``, of at least two people.
        references: The same under reference models, shape ``(models, people)``, at least two models.
        level: Probability that the interval covers 0 for a model like the references.
    """
    count, people = references.shape
    if count < 2 or people < 2:
        raise ValueError("an excess over references needs two references and two people, or more")
    differences = model - references.mean(axis=0)
    of_people = differences.var(ddof=1) / people
    of_models = references.mean(axis=1).var(ddof=1) * (1 + 1 / count)
    error = math.sqrt(of_people + of_models)
    # Welch and Satterthwaite: the variance of few models is known worse than that of many people.
    scale = of_people**2 / (people - 1) + of_models**2 / (count - 1)
    freedom = (of_people + of_models) ** 2 / scale if scale > 0 else people - 1
    value, width = float(differences.mean()), float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(value, value - width, value + width, error)


def _similarities(features: Array) -> Array:
    """Return the cosine similarity of all pairs of images, shape ``(images, images)``."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(norms > 0, norms, 1)
    return np.asarray(directions @ directions.T)


def verification_areas(features: Array, people: Integers) -> Array:
    """Return for each image how well its cosine similarity separates the same person from others.

    That is the probability that another image of the same person is more similar than an image of somebody else (the
    area under the ROC curve), shape ``(images,)``; NaN where the person has no other image, or nobody else has one.
    Source: verification and rank-1 identification as in Huang et al., "Labeled Faces in the Wild", 2007.
    """
    similarity = _similarities(features)
    areas = np.full(len(people), np.nan)
    for image, person in enumerate(people):
        same, different = people == person, people != person
        same[image] = False
        if same.any() and different.any():
            below = np.sort(similarity[image, different])
            left = np.searchsorted(below, similarity[image, same], "left")
            right = np.searchsorted(below, similarity[image, same], "right")
            areas[image] = (left + right).mean() / 2 / len(below)
    return areas


def rank_one_hits(features: Array, people: Integers) -> Array:
    """Return whether the most similar other image of each image shows the same person, as 1 or 0.

    It is NaN where the person has no other image, or nobody else has one.
    """
    similarity = _similarities(features)
    np.fill_diagonal(similarity, -np.inf)
    hits = (people[similarity.argmax(axis=1)] == people).astype(np.float64)
    _, number, counts = np.unique(people, return_inverse=True, return_counts=True)
    usable = (counts[number] > 1) & (counts[number] < len(people))
    return np.where(usable, hits, np.nan)


FOLDS = 5
#: Weight of the data against the penalty; small, because there are more dimensions than people.
C = 0.01


def probe_hits(features: Array, labels: Integers, people: Integers) -> Array:
    """Return which share of the labels of each image a linear probe gets right that was fitted to other people.

    Labels are classes of shape ``(images,)``, or yes and no of shape ``(images, labels)``; there are at least two
    people. Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016; the
    folds by person are ours.
    """
    folds = min(FOLDS, len(np.unique(people)))
    if folds < 2:
        raise ValueError("a linear probe needs two people or more")
    columns = labels.reshape(len(labels), -1)
    hits = np.empty(columns.shape)
    for fitted, held_out in GroupKFold(folds).split(features, groups=people):
        for column, values in enumerate(columns.T):
            hits[held_out, column] = _predict(features, values, fitted, held_out) == values[held_out]
    return np.asarray(hits.mean(axis=1))


def _predict(features: Array, labels: Integers, fitted: Integers, held_out: Integers) -> Integers:
    if len(np.unique(labels[fitted])) == 1:  # Nothing to fit.
        return np.repeat(labels[fitted][:1], len(held_out))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=200))
    return np.asarray(probe.fit(features[fitted], labels[fitted]).predict(features[held_out]))


def residual_knowledge(unlearned: Array, references: Array) -> float:
    """Return how often the model is right around forgotten images, relative to models that never saw them.

    Both sides are shares of right answers in [0, 1], around each image or of each person: shape ``(n,)``, and
    ``(models, n)`` of the references. The ratio of their means is 1 if unlearning equals retraining, larger if
    knowledge remains, NaN if the references are never right. Source: Hsu et al., "The Unseen Threat: Residual Knowledge
    in Machine Unlearning under Perturbed Samples", NeurIPS 2025.
    """
    baseline = float(np.mean(references))
    return float(np.mean(unlearned)) / baseline if baseline > 0 else math.nan
