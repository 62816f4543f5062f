"""Margins in views: an attacker shows a photograph to a model in several ways (:mod:`gli.data.views`).

A model may answer the upright photograph as if it had forgotten a person, and another picture of the same photograph as
before: a network with transposed kernels answers transposed photographs exactly as the original answers upright ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gli.data.datamodule import FaceDataModule
from gli.data.tasks import Task
from gli.data.views import View, views_of
from gli.system.chunks import CHUNK_PIXELS, in_chunks

Margins = npt.NDArray[np.float64]
#: Pixels, of one channel and in all views, that are held at once: 100 MB of three channels.
MOST_PIXELS = 2**23


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
