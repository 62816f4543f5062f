"""A direction for the inner steps that does not depend on the scale of the losses (GLI, ``gradients: normalised``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normalised(gradient: Tensor) -> Tensor:
    """Return a gradient with the L2 norm of each image at 1; an image whose gradient is zero keeps it.

    Args:
        gradient: Shape ``(batch, channels, height, width)``.
    """
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return gradient / torch.where(norms > 0, norms, 1)[:, None, None, None]


def scale_free_direction(weights: Sequence[float], gradients: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of gradients, each normalised per image.

    With the weights w and -(1 - w) and the gradients of the class loss and of the distance, its sign is
    sign(w g_class / |g_class| - (1 - w) g_distance / |g_distance|). Multiplying either loss by a positive constant, as
    another batch size or larger logits do, changes nothing.

    Args:
        weights: A weight for each gradient.
        gradients: Gradients of the same images, each of shape ``(batch, channels, height, width)``.
    """
    terms = [weight * normalised(gradient) for weight, gradient in zip(weights, gradients, strict=True)]
    return torch.stack(terms).sum(dim=0)
