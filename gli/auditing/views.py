"""Views: the ways in which an attacker shows a photograph to a model, each a pure function of a batch of images.

A model may answer the upright photograph as if it had forgotten a person, and another picture of the same photograph as
before: a network with transposed kernels answers transposed photographs exactly as the original answers upright ones.
A new view is one entry of ``VIEWS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from gli.data.datamodule import FaceDataModule
from gli.data.tasks import Task
from gli.system.chunks import CHUNK_PIXELS, in_chunks

#: From images in [0, 1], shape ``(batch, channels, height, width)``, to images of the same shape.
View = Callable[[Tensor], Tensor]
Margins = npt.NDArray[np.float64]
#: Pixels, of one channel and in all views, that are held at once: 100 MB of three channels.
MOST_PIXELS = 2**23


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


@torch.no_grad()
def margins_in_views(model: nn.Module, task: Task, images: Tensor, labels: Tensor) -> dict[str, Margins]:
    """Return the margins of some images in all views but the upright one, from a single pass over the images.

    The model takes images in [0, 1], is in eval mode, and on the device to be used; ``images`` are from 0 to 255, shape
    ``(n, channels, height, width)``. The margins have shape ``(images, labels)``, by view; one label in a multi-class
    task.
    """
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    views, parts = views_of(images), []
    count = max(1, MOST_PIXELS // (len(views) * images.shape[-2] * images.shape[-1]))
    for some, truth in zip(torch.split(images, count), torch.split(labels, count), strict=True):
        shown = shown_margins(model, task, some.to(device).float() / 255, truth.to(device), views)
        parts.append(torch.stack([torch.stack(list(each.values()), dim=1) for each in shown.values()]))
    return dict(zip(views, torch.cat(parts, dim=1).double().cpu().numpy(), strict=True))


def shown_margins(
    model: nn.Module, task: Task, pixels: Tensor, labels: Tensor, views: Mapping[str, View]
) -> dict[str, dict[str, Tensor]]:
    """Return the margins of images in [0, 1] by view and label, shape ``(images,)`` each; all views are one batch."""
    shown = torch.cat([view(pixels) for view in views.values()]).contiguous()
    logits = in_chunks(model, shown, pixels=CHUNK_PIXELS)
    margins = task.margins(logits, labels.repeat(len(views), *[1] * (labels.ndim - 1)))
    split = {label: each.reshape(len(views), len(pixels)) for label, each in margins.items()}
    return {view: {label: each[number] for label, each in split.items()} for number, view in enumerate(views)}


def sets_in_views(
    model: nn.Module, data: FaceDataModule, rows: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, dict[str, Margins]]:
    """Return the margins of some evaluation sets by view and set, see :func:`margins_in_views`."""
    by_set = {}
    for name, own in rows.items():
        images = torch.from_numpy(data.pixels[own]).permute(0, 3, 1, 2)
        by_set[name] = margins_in_views(model, data.task, images, torch.from_numpy(data.faces.labels[own]))
    return {view: {name: by_set[name][view] for name in rows} for view in next(iter(by_set.values()))}
