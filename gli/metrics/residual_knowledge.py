"""Residual knowledge: an unlearned model may still know a picture that was changed a little.

Source: Hsu et al., "The Unseen Threat: Residual Knowledge in Machine Unlearning under Perturbed Samples", NeurIPS 2025.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def residual_knowledge(unlearned: Array, references: Array) -> float:
    """Return how often the model is right around forgotten images, relative to models that never saw them.

    Args:
        unlearned: Share of right answers around each image (or of each person) under the unlearned model, in [0, 1],
            shape ``(n,)``.
        references: The same under reference models, shape ``(models, n)``.

    Returns:
        The ratio of the mean shares: 1 if unlearning equals retraining, larger if knowledge remains; NaN if the
        references are never right.
    """
    known = float(np.mean(references))
    return float(np.mean(unlearned)) / known if known > 0 else float("nan")
