"""Training augmentation of whole batches on the device, from random numbers that the loader supplies.

The published recipe: horizontal flip, random affine map (shear and scale, no rotation), colour jitter. The operations
are those of torchvision: nearest neighbour and black corners in the affine map, blending in the jitter. Two differences
allow batches: the order of the colour operations is sampled once per batch, and flip, shear and scale are one map.
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

#: Number of columns of the random numbers: flip, shear, scale, brightness, contrast, saturation, and their order.
COLUMNS = 7
#: Pixels in a chunk on the CPU, so that the intermediate images of a chunk fit into its cache.
CHUNK_PIXELS = 2**18
_GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """Augment training images; the default strengths are those of the published benchmark.

    Attributes:
        enabled: Whether training images are augmented at all.
        flip: Probability of a horizontal flip.
        shear: Largest horizontal shear to either side, in degrees.
        scale: Smallest and largest scale.
        jitter: Brightness, contrast and saturation are each multiplied by a factor in [1 - jitter, 1 + jitter].
    """

    enabled: bool = True
    flip: float = 0.5
    shear: float = 10.0
    scale: tuple[float, float] = (0.8, 1.2)
    jitter: float = 0.2

    def sample(self, generator: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
        """Return random numbers for a batch of ``count`` images, uniform in [0, 1), of shape ``(count, COLUMNS)``.

        The last column gives the order of the colour operations and has the same value for all images.
        """
        random_numbers = generator.random((count, COLUMNS), dtype=np.float32)
        random_numbers[:, -1] = random_numbers[0, -1]
        return random_numbers

    def __call__(self, images: Tensor, random_numbers: Tensor) -> Tensor:
        """Augment each image by its random numbers.

        Args:
            images: uint8, or floats in [0, 1], of shape ``(batch, 3, height, width)``.
            random_numbers: Result of :meth:`sample`, of shape ``(batch, COLUMNS)``.

        Returns:
            Floats in [0, 1], of the shape of ``images``.
        """
        return in_chunks(self._augment, images, random_numbers, pixels=CHUNK_PIXELS)

    def _augment(self, images: Tensor, random_numbers: Tensor) -> Tensor:
        inputs = images
        if images.dtype == torch.uint8:
            images = images / 255
        if not len(images):  # A mixed batch may hold no image of one of its sets.
            return images
        flip, shear, scale, brightness, contrast, saturation, order = random_numbers.to(images).unbind(dim=1)
        if self.flip or self.shear or self.scale != (1, 1):
            low, high = self.scale
            images = affine(
                images,
                flip=flip < self.flip,
                shear=torch.deg2rad((2 * shear - 1) * self.shear),
                scale=low + (high - low) * scale,
            )
        if self.jitter:
            factors = [1 + self.jitter * (2 * column - 1) for column in (brightness, contrast, saturation)]
            orders = list(permutations(range(3)))
            # The jitter works in place: new memory for each of its steps would cost more than the arithmetic.
            images = images.clone() if images is inputs else images
            for step in orders[min(int(order[0] * len(orders)), len(orders) - 1)]:
                images = (adjust_brightness_, adjust_contrast_, adjust_saturation_)[step](images, factors[step])
        return images


NO_AUGMENTATION = Augmentation(enabled=False)


def affine(images: Tensor, flip: Tensor, shear: Tensor, scale: Tensor) -> Tensor:
    """Flip images, then shear them horizontally and scale them about the centre.

    Images are floats of shape ``(batch, channels, height, width)``; each has its flip, shear in radians and scale, of
    shape ``(batch,)``. Pixels are those of the nearest neighbour, and black outside the image.
    """
    height, width = images.shape[-2:]
    x, y = (torch.linspace(-1, 1, n, dtype=scale.dtype, device=scale.device) * (n - 1) / n for n in (width, height))
    mirror = torch.where(flip, -1.0, 1.0).to(scale)
    # The map from output to input coordinates: the inverse of scale * [[1, -tan(shear)], [0, 1]], then the flip.
    slant = torch.tan(shear) * height / width  # Both axes run from -1 to 1, whatever their lengths.
    x_to_x, y_to_x, y_to_y = (
        coefficient[:, None, None] for coefficient in (mirror / scale, mirror * slant / scale, 1 / scale)
    )
    # Equal to affine_grid to the last bit, but without its matrix product per pixel: (x, y) as a complex number.
    grid = torch.view_as_real(x_to_x * x + torch.complex(y_to_x * y[:, None], y_to_y * y[:, None]))
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _blend_(images: Tensor, target: Tensor | None, factor: Tensor) -> Tensor:
    factor = factor[:, None, None, None]
    images.mul_(factor)
    if target is not None:
        images.add_(target.mul_(1 - factor))
    return images.clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    return (red * _GREY[0]).add_(green * _GREY[1]).add_(blue * _GREY[2])[:, None]


def adjust_brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with black, in place; ``factor`` is the weight of each image, of shape ``(batch,)``."""
    return _blend_(images, None, factor)


def adjust_contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with the mean of their grey versions, in place; ``factor`` is the weight of each image."""
    return _blend_(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def adjust_saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their grey versions, in place; ``factor`` is the weight of each image."""
    return _blend_(images, _grey(images), factor)
