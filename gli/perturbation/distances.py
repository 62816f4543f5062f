"""Distances d between two batches of features, as used in the perturbation loss (paper, section 4.3.2 and Eq. 5).

Each takes two tensors of shape ``(batch, features)`` and returns a scalar: the mean over the batch of a distance per
pair, so that its weight against the class loss (also a mean over the batch) does not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Distance = Callable[[Tensor, Tensor], Tensor]
DistanceName = Literal["l1", "l2", "mse", "cosine"]


def l1(features: Tensor, targets: Tensor) -> Tensor:
    """Return the L1 norm of the difference, mean over the batch."""
    return (features - targets).abs().sum(dim=1).mean()


def l2(features: Tensor, targets: Tensor) -> Tensor:
    """Return the L2 norm of the difference, mean over the batch: the paper's choice (section 4.3.2)."""
    norms: Tensor = torch.linalg.vector_norm(features - targets, dim=1)
    return norms.mean()


def mse(features: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error over batch and features: the released code's choice."""
    return functional.mse_loss(features, targets)


def cosine(features: Tensor, targets: Tensor) -> Tensor:
    """Return one minus the cosine similarity, mean over the batch; in [0, 2]."""
    return 1 - functional.cosine_similarity(features, targets, dim=1).mean()


DISTANCES: dict[DistanceName, Distance] = {"l1": l1, "l2": l2, "mse": mse, "cosine": cosine}
