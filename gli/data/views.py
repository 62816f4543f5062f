"""Views: the ways in which a photograph can be shown to a model, each a pure function of a batch of images.

A new view is one entry of ``VIEWS``. Attackers try them all (:mod:`gli.auditing.views`), and methods may teach them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

#: From images in [0, 1], shape ``(batch, channels, height, width)``, to images of the same shape.
View = Callable[[Tensor], Tensor]


def affine(degrees: float = 0.0, zoom: float = 1.0) -> View:
    """Return the view that turns images about their centre and enlarges them; pixels outside repeat the border."""
    cosine, sine = (function(math.radians(degrees)) / zoom for function in (math.cos, math.sin))

    def view(images: Tensor) -> Tensor:
        ratio = images.shape[-2] / images.shape[-1]  # Both axes run from -1 to 1, whatever their lengths.
        matrix = images.new_tensor([[cosine, -sine * ratio, 0], [sine / ratio, cosine, 0]])
        grid = functional.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    return view


#: All views but the upright one, by the name that records and sentences use.
VIEWS: dict[str, View] = {
    "mirrored": lambda images: images.flip(3),
    "upside down": lambda images: images.flip(2),
    "turned by 180°": lambda images: images.flip(2, 3),
    "transposed": lambda images: images.transpose(2, 3),
    "turned by 90° to the left": lambda images: images.rot90(1, (2, 3)),
    "turned by 90° to the right": lambda images: images.rot90(-1, (2, 3)),
    "transposed along the other diagonal": lambda images: images.rot90(2, (2, 3)).transpose(2, 3),
    "tilted to the left": affine(degrees=10),
    "tilted to the right": affine(degrees=-10),
    "cropped": affine(zoom=1.15),
    "cropped more": affine(zoom=1.4),
    "darker": lambda images: images * 0.7,
    "brighter": lambda images: (images * 1.3).clamp(max=1),
    "grey": lambda images: images.mean(dim=1, keepdim=True).expand_as(images),
}


def views_of(images: Tensor) -> dict[str, View]:
    """Return the views that keep the shape of some images: those that exchange the axes need square ones."""
    one = images[:1].float()
    return {name: view for name, view in VIEWS.items() if view(one).shape == one.shape}
