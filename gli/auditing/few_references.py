"""What audits with a few reference models share: RMIA on whole sets, and the fleet of the attacked people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gli.auditing.record import People
from gli.auditing.references import Fleet
from gli.metrics.rmia import likelihood_ratios, log_confidence, rmia_scores
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN

Array = npt.NDArray[np.float64]
#: Reference models that RMIA needs: each is attacked with the others.
LEAST_REFERENCES = 3
#: The sets whose people are attacked, in the order of all scores.
ATTACKED = ("forget", "unseen")


def log_p(margins: Array) -> Array:
    """Return log p(label | image), summed over labels, shape ``(images,)``.

    Args:
        margins: Shape ``(images, labels)``.
    """
    return np.asarray(log_confidence(margins).sum(axis=1))


def rmia_of_sets(target: Mapping[str, Array], references: Sequence[Mapping[str, Array]], a: float) -> Array:
    """Return RMIA's score of each image of ``ATTACKED``, with the test images as population.

    Args:
        target: log p of the images of each set under the attacked model.
        references: The same under reference models.
        a: Correction for using OUT references only.
    """

    def ratios(name: str) -> Array:
        return likelihood_ratios(target[name], np.array([each[name] for each in references]), a)

    population = ratios("test")
    return np.concatenate([rmia_scores(ratios(name), population) for name in ATTACKED])


def fleet_of(people: People, models: int = 1) -> Fleet:
    """Return a fleet whose images are those of ``ATTACKED``; attacks that bring their own scores need no margins.

    Args:
        people: Identity on each image of each set.
        models: Number of models.
    """
    sizes = [len(people[name]) for name in ATTACKED]
    names, numbers = np.unique(np.concatenate([people[name] for name in ATTACKED]), return_inverse=True)
    states = np.repeat([FORGOTTEN, NEVER_SEEN], sizes)[None].repeat(models, axis=0)
    nothing = np.full((*states.shape, 1), np.nan)
    return Fleet(nothing, states, numbers, tuple(names.tolist()), np.arange(models), np.full(models, np.nan))
