"""Values of one model relative to reference models that never saw the people, with intervals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from gli.metrics.intervals import Interval

Array = npt.NDArray[np.float64]


def excess_over_references(model: Array, references: Array, level: float = 0.95) -> Interval:
    """Return by how much a model's mean over people exceeds that of reference models, with its interval.

    The interval holds two sources of chance: the people, and the training run. Another retrained model differs from the
    mean of R references by the spread between them, times the root of 1 + 1/R; so the interval covers 0 if the model is
    one more retrained model.

    Args:
        model: One value per person under the model, shape ``(people,)``.
        references: The same under reference models, shape ``(models, people)``, at least two models.
        level: Probability that the interval covers 0 for a model like the references.

    Raises:
        ValueError: If there are fewer than two people or two references.
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
