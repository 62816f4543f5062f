"""Linear probe: how much of the label a linear classifier reads from frozen features of people it was not fitted to.

Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016; the folds by person
are ours. A value alone means nothing: compare it with models that never saw the people (:mod:`gli.metrics.excess`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[np.float64]
FOLDS = 5
#: Weight of the data against the penalty; small, because there are more dimensions than people.
C = 0.01


def probe_hits(features: Array, labels: npt.NDArray[np.int64], people: npt.NDArray[np.int64]) -> Array:
    """Return how many labels of each image a linear probe gets right that was fitted to other people.

    Args:
        features: Features of the images, shape ``(images, dimensions)``.
        labels: Classes of shape ``(images,)``, or yes/no labels of shape ``(images, labels)``.
        people: Number of the person on each image, shape ``(images,)``.

    Returns:
        Share of the labels that are right, in [0, 1], shape ``(images,)``.

    Raises:
        ValueError: If there are fewer than two people.
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


def _predict(
    features: Array, labels: npt.NDArray[np.int64], fitted: npt.NDArray[np.int64], held_out: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    if len(np.unique(labels[fitted])) == 1:  # Nothing to fit.
        return np.repeat(labels[fitted][:1], len(held_out))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=200))
    return np.asarray(probe.fit(features[fitted], labels[fitted]).predict(features[held_out]))
