"""Per-image losses as the metrics take them: checked and in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    Losses = Tensor | npt.ArrayLike


def checked_losses(values: Losses, name: str) -> npt.NDArray[np.float64]:
    """Return per-image losses, shape ``(n,)`` on any device, as a float64 array.

    ``name`` is that of the evaluation set, for the message of the ValueError if there is no loss, one is not finite, or
    the array is not 1-D.
    """
    if hasattr(values, "detach"):  # A torch tensor; torch itself is not imported here, because reports do not need it.
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} losses must be a 1-D array with at least one value, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} losses hold {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array
