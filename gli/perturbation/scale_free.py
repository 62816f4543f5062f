"""A direction for the inner steps that does not depend on the scale of the losses (GLI, ``gradients: normalised``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def scale_free(terms: Sequence[tuple[float, Tensor]], perturbation: Tensor) -> Tensor:
    """Return the weighted sum of the scalars' gradients, each normalised per image.

    With the weights w and -(1 - w) of the class loss and of the distance, its sign is
    sign(w g_class / |g_class| - (1 - w) g_distance / |g_distance|). Multiplying either loss by a positive constant, as
    another batch size or larger logits do, changes nothing.

    Args:
        terms: Pairs of a weight and a scalar.
        perturbation: Perturbation of images, shape ``(batch, channels, height, width)``.
    """
    gradients = [torch.autograd.grad(scalar, perturbation, retain_graph=True)[0] for _, scalar in terms]
    weights = [weight for weight, _ in terms]
    return torch.stack([w * normalised(g) for w, g in zip(weights, gradients, strict=True)]).sum(dim=0)


def normalised(gradient: Tensor) -> Tensor:
    """Return a gradient with the L2 norm of each image at 1; an image whose gradient is zero keeps it.

    Args:
        gradient: Shape ``(batch, channels, height, width)``.
    """
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return gradient / torch.where(norms > 0, norms, 1)[:, None, None, None]
