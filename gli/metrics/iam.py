"""IAM: the degree to which a model has forgotten, by interpolation between reference and original models.

Margins have shape ``(images,)``. Source: "Interpolated Approximate Measurement" in Wang et al., "Unlearning inference",
2025.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
STEPS = 21


def degree_of_memory(unlearned: Array, original: Array, reference: Array) -> float:
    """Return where the margins lie between reference (0) and original (1), by least squares over forgotten images.

    ``reference`` is the mean over models that never saw the images. The degree is below 0 for over-unlearning, and NaN
    if original and references do not differ.
    """
    distance = original - reference
    scale = float(distance @ distance)
    return float((unlearned - reference) @ distance / scale) if scale > 0 else math.nan


def iam_scores(unlearned: Array, original: Array, references: Array) -> Array:
    """Return a membership score in (0, 1) for each image: the mean Gumbel CDF over interpolated margins.

    The references never saw the images; their margins have shape ``(models, images)``.
    """
    out = references.mean(axis=0)
    spread = float(references.std(axis=0, ddof=1).mean()) if len(references) > 1 else float(out.std())
    scale = max(spread, 1e-12) * math.sqrt(6) / math.pi
    shares = np.linspace(0, 1, STEPS)[:, None]
    levels = out + shares * (original - out)
    return np.asarray(np.exp(-np.exp(-np.clip((unlearned - levels) / scale, -700, 700))).mean(axis=0))
