"""Membership inference attack (MIA): separate forget from unseen images by their loss (paper, section 5.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

from gli.metrics.losses import checked_losses

if TYPE_CHECKING:
    from gli.metrics.losses import Losses

ATTACK_SPLITS = 10


def membership_inference_accuracy(forget_losses: Losses, unseen_losses: Losses) -> float:
    """Return the accuracy of an attacker who separates forget images from unseen images by their loss.

    The forget losses are shuffled with NumPy's legacy generator, seeded with 42, and cut to the number of unseen
    losses. A logistic regression on the loss alone is scored by its mean accuracy over ten stratified shuffled splits,
    each of which holds out a tenth of the images. This is the published protocol to the last digit.

    Args:
        forget_losses: Losses of the images to be forgotten, in nats, shape ``(n,)``, in the order of the face table.
        unseen_losses: Losses of images of people who were never trained on, shape ``(m,)``.

    Returns:
        Mean accuracy in [0, 1]; 0.5 is random guessing.

    Raises:
        ValueError: If a set is empty, holds values that are not finite, or is too small to be split.

    Source:
        Paper, section 5.2.2; evaluation code of the MUFAC/MUCAC benchmark.
    """
    forget, unseen = checked_losses(forget_losses, "forget"), checked_losses(unseen_losses, "unseen")
    forget = np.random.RandomState(42).permutation(forget)[: len(unseen)]
    losses = np.concatenate([unseen, forget])[:, None]
    member = np.repeat([0, 1], [len(unseen), len(forget)])
    splits = StratifiedShuffleSplit(n_splits=ATTACK_SPLITS, random_state=0)
    return float(cross_val_score(LogisticRegression(), losses, member, cv=splits, error_score="raise").mean())
