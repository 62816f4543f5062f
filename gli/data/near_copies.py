"""Near-copies of pictures: resized, re-encoded or mirrored copies, found by a perceptual hash of the cached pixels.

The hash is the pHash of ``imagehash`` (Zauner, 2010) with 256 bits: which of the 16 x 16 lowest frequencies of the grey
image at 32 x 32 pixels are above their median. Measured on 900 drawn faces of 150 people at 64 pixels, at the default
threshold (``tests/data/test_near_copies.py`` checks it on other faces):

* found: all copies at half of the size, all JPEGs of quality 50, both together, all grey copies; 99.8 % of those made
  20 % brighter, 99.7 % of the JPEGs of quality 20, 99.3 % of those at a quarter of the size, 93.8 % of those cropped by
  3 %; mirrored or not;
* found by mistake: 2 of 404,550 pairs of different pictures, mirrored ones included, one of them of two people.

Crops of a tenth, rotations and other photographs of the scene are not found. Photographs that were taken in one series
may be, so a person has to look at the pairs: :func:`gli.reporting.page.write_near_copies_page` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

Rows = npt.NDArray[np.int64]
#: Frequencies in the hash along each axis, and bits of the hash.
FREQUENCIES, BITS = 16, 256
#: Largest number of different bits between a picture and its copy.
THRESHOLD = 34
#: Images that are hashed or compared at once.
CHUNK = 1024
#: An image whose grey levels differ by less is of one colour and has no hash.
_FLAT = 4


class Pixels(Protocol):
    """Pixels by row, such as :class:`~gli.data.cache.PixelCache` or an array of shape ``(n, size, size, 3)``."""

    def __getitem__(self, rows: Rows, /) -> npt.NDArray[np.uint8]:
        """Return the pixels of some rows, of shape ``(rows, size, size, 3)``."""


@dataclass(frozen=True, order=True)
class NearCopy:
    """A picture and another that looks like a copy of it; sorted by distance."""

    distance: int  # Number of different bits of the two hashes; 0 for the same picture.
    row: int  # Row of the picture in the face table.
    copy_row: int  # Row of the copy.
    mirrored: bool  # Whether the copy is a mirror image.


def find_near_copies(
    pixels: Pixels, rows: Rows, others: Rows, *, threshold: int = THRESHOLD, chunk: int = CHUNK
) -> list[NearCopy]:
    """Return the pictures among ``others`` that look like copies of the pictures in ``rows``.

    Args:
        pixels: The pixels, such as ``data.pixels``.
        rows: Rows of the given people.
        others: Rows to search; rows that are also in ``rows`` are left out.
        threshold: Largest number of different bits, from 0 to 127; two unrelated pictures differ in about 128.
        chunk: Images that are hashed or compared at once.

    Returns:
        Pairs, the nearest first. Identical files are among them, with distance 0; images of one colour are not.

    Raises:
        ValueError: If the threshold is not between 0 and 127.
    """
    if not 0 <= threshold < BITS // 2:
        raise ValueError(f"threshold is {threshold}; it must lie between 0 and {BITS // 2 - 1}.")
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    others = np.setdiff1d(np.asarray(others, dtype=np.int64), rows)
    hashes, mirror_hashes = (perceptual_hashes(pixels, rows, mirror=mirror, chunk=chunk) for mirror in (False, True))
    pairs = []
    for start in range(0, len(others), chunk):
        other_rows = others[start : start + chunk]
        other_hashes = perceptual_hashes(pixels, other_rows, chunk=chunk)
        for first in range(0, len(rows), chunk):
            distances, mirrored = (
                (BITS - side[first : first + chunk] @ other_hashes.T) / 2 for side in (hashes, mirror_hashes)
            )
            for row, candidate in np.argwhere(np.minimum(distances, mirrored) <= threshold).tolist():
                direct, mirror = int(distances[row, candidate]), int(mirrored[row, candidate])
                near = (min(direct, mirror), int(rows[first + row]), int(other_rows[candidate]), mirror < direct)
                pairs.append(NearCopy(*near))
    return sorted(pairs)


def perceptual_hashes(
    pixels: Pixels, rows: Rows, *, mirror: bool = False, chunk: int = CHUNK
) -> npt.NDArray[np.float32]:
    """Return the hash of each image, or of its mirror image.

    It has 1 or -1 of shape ``(rows, 256)``, so that a product of two hashes counts equal bits less different ones; all
    0 for an image of one colour, which is then far from all images.
    """
    hashes = np.zeros((len(rows), BITS), np.float32)
    for start in range(0, len(rows), chunk):
        for place, image in enumerate(pixels[rows[start : start + chunk]], start):
            grey = Image.fromarray(image[:, ::-1] if mirror else image).convert("L")
            if np.ptp(np.asarray(grey)) >= _FLAT:
                hashes[place] = np.where(imagehash.phash(grey, FREQUENCIES, 2).hash, 1, -1).ravel()
    return hashes
