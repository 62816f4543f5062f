"""The published scores of one model, computed as an audit computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gli.metrics.registry import Audited, compute_scores


def summary(accuracy: float, forget_losses: Any, unseen_losses: Any) -> dict[str, float]:
    """Return the scores that need losses, from an accuracy on test and the losses of forget and unseen."""
    sets = {
        "test": {"accuracy": np.array([accuracy])},
        "forget": {"loss": forget_losses},
        "unseen": {"loss": unseen_losses},
    }
    scores = compute_scores(Audited(sets), place="report")
    return {name: score for name, score in scores.items() if name != "accuracy"}
