"""Train augmentation on whole batches, on the device; the random numbers travel with the batch.

The published recipe: horizontal flip, random affine (no rotation, shear, scale), colour jitter. The operations follow
torchvision's (nearest neighbour and black corners in the affine map; blending in the jitter), with two differences that
make them batchable: the order of the three colour operations is drawn once per batch, and all of it is one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gli.system.chunks import in_chunks

#: Random numbers per image: flip, shear, scale, brightness, contrast, saturation, order of the colour operations.
DRAWS = 7
_GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """Strength of the train augmentation; the defaults are the published benchmark's.

    Attributes:
        enabled: Whether training images are augmented at all.
        flip: Probability of a horizontal flip.
        shear: Largest horizontal shear in degrees, either way.
        scale: Smallest and largest scale.
        jitter: Brightness, contrast and saturation are each multiplied by 1 - jitter ... 1 + jitter.
    """

    enabled: bool = True
    flip: float = 0.5
    shear: float = 10.0
    scale: tuple[float, float] = (0.8, 1.2)
    jitter: float = 0.2

    def draw(self, generator: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
        """The random numbers of a batch, uniform in [0, 1), shape ``(count, DRAWS)``; the order is one for the batch."""
        draws = generator.random((count, DRAWS), dtype=np.float32)
        draws[:, -1] = draws[0, -1]
        return draws

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images by what was drawn for each.

        Args:
            images: uint8, or floats in [0, 1], of shape ``(batch, 3, height, width)``.
            draws: What :meth:`draw` gave for them.

        Returns:
            Floats in [0, 1], of the same shape.
        """
        return in_chunks(self._augment, images, draws, pixels=CHUNK_PIXELS)

    def _augment(self, images: Tensor, draws: Tensor) -> Tensor:
        given = images
        if images.dtype == torch.uint8:
            images = images / 255
        if not len(images):  # A part of a mixed batch may have none.
            return images
        flip, shear, scale, brightness, contrast, saturation, order = draws.to(images).unbind(dim=1)
        if self.flip or self.shear or self.scale != (1, 1):
            low, high = self.scale
            images = affine(
                images,
                flip=flip < self.flip,
                shear=torch.deg2rad((2 * shear - 1) * self.shear),
                scale=low + (high - low) * scale,
            )
        if self.jitter:
            factors = [1 + self.jitter * (2 * draw - 1) for draw in (brightness, contrast, saturation)]
            orders = list(permutations(range(3)))
            # The jitter works in place: fresh memory for each of its steps would cost more than the arithmetic.
            images = images.clone() if images is given else images
            for which in orders[min(int(order[0] * len(orders)), len(orders) - 1)]:
                images = (adjust_brightness_, adjust_contrast_, adjust_saturation_)[which](images, factors[which])
        return images


#: Pixels that a processor augments at a time: what belongs to them fits into its cache.
CHUNK_PIXELS = 2**18
NO_AUGMENTATION = Augmentation(enabled=False)


def affine(images: Tensor, flip: Tensor, shear: Tensor, scale: Tensor) -> Tensor:
    """Flip, then shear horizontally by an angle in radians and scale about the centre; nearest pixel, black outside."""
    height, width = images.shape[-2:]
    x, y = (torch.linspace(-1, 1, n, dtype=scale.dtype, device=scale.device) * (n - 1) / n for n in (width, height))
    mirror = torch.where(flip, -1.0, 1.0).to(scale)
    # The map from output to input coordinates: the inverse of scale * [[1, -tan(shear)], [0, 1]], then the flip.
    slant = torch.tan(shear) * height / width  # Both axes run from -1 to 1, whatever their lengths.
    across, along, down = (one[:, None, None] for one in (mirror / scale, mirror * slant / scale, 1 / scale))
    # As torch's affine_grid, to the bit, without its matrix product for every pixel: x and y are a complex number's parts.
    grid = torch.view_as_real(across * x + torch.complex(along * y[:, None], down * y[:, None]))
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _blend_(images: Tensor, others: Tensor | None, factor: Tensor) -> Tensor:
    factor = factor[:, None, None, None]
    images.mul_(factor)
    if others is not None:
        images.add_(others.mul_(1 - factor))
    return images.clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    return (red * _GREY[0]).add_(green * _GREY[1]).add_(blue * _GREY[2])[:, None]


def adjust_brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black, in place."""
    return _blend_(images, None, factor)


def adjust_contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean of the grey image, in place."""
    return _blend_(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def adjust_saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image, in place."""
    return _blend_(images, _grey(images), factor)
