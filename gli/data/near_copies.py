"""Near-copies of pictures: resized, re-encoded or mirrored copies, found by a perceptual hash of the cached pixels.

The hash is the DCT hash (pHash; Zauner, 2010) with 255 bits: the signs of the 16 x 16 lowest frequencies of the grey
image at 32 x 32 pixels, without the mean. A horizontal mirror image changes the sign of every odd horizontal frequency,
so one comparison finds both. Measured on 900 drawn faces of 150 people at 64 pixels, at the default threshold
(``tests/data/test_near_copies.py`` checks it on other faces):

* found: all copies at half of the size, all JPEGs of quality 50, both together, all made 20 % brighter or grey; 99.9 %
  at a quarter of the size, 99.2 % of the JPEGs of quality 20, 95.8 % of those cropped by 3 %; mirrored or not;
* found by mistake: none of 404,550 pairs of different pictures, mirrored ones included, neither of two people nor of
  one person. The nearest two were 39 bits apart.

Crops of a tenth, rotations and other photographs of the scene are not found. Photographs that were taken in one series
may be, so a person has to look at the pairs: :func:`gli.reporting.near_copies.write_near_copies_page` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

Rows = npt.NDArray[np.int64]
#: Side of the grey image in pixels, and number of its frequencies in the hash along each axis.
SIDE, FREQUENCIES = 32, 16
#: Bits of a hash: every frequency but the mean.
BITS = FREQUENCIES**2 - 1
#: Largest number of different bits between a picture and its copy.
THRESHOLD = 36
#: Images that are hashed or compared at once.
CHUNK = 1024
#: Weights of red, green and blue in a grey image (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
#: An image whose frequencies are all below this, in grey levels, is of one colour and has no hash.
_FLAT = 0.5


class Pixels(Protocol):
    """Pixels by row, such as :class:`~gli.data.cache.PixelCache` or an array of shape ``(n, size, size, 3)``."""

    def __getitem__(self, rows: Rows, /) -> npt.NDArray[np.uint8]:
        """Return the pixels of some rows, of shape ``(rows, size, size, 3)``."""


@dataclass(frozen=True, order=True)
class NearCopy:
    """A picture and another that looks like a copy of it; sorted by distance.

    Attributes:
        distance: Number of different bits of the two hashes, from 0 (the same picture) to 255.
        row: Row of the picture in the face table.
        copy_row: Row of the copy.
        mirrored: Whether the copy is a mirror image.
    """

    distance: int
    row: int
    copy_row: int
    mirrored: bool


def find_near_copies(
    pixels: Pixels, rows: Rows, others: Rows, *, threshold: int = THRESHOLD, chunk: int = CHUNK
) -> list[NearCopy]:
    """Return the pictures among ``others`` that look like copies of the pictures in ``rows``.

    Args:
        pixels: The pixels, such as ``data.pixels``.
        rows: Rows of the given people.
        others: Rows to search; rows that are also in ``rows`` are left out.
        threshold: Largest number of different bits, from 0 to 255.
        chunk: Images that are hashed or compared at once.

    Returns:
        Pairs, the nearest first. Identical files are among them, with distance 0; images of one colour are not.

    Raises:
        ValueError: If the threshold is not between 0 and 255.
    """
    if not 0 <= threshold <= BITS:
        raise ValueError(f"threshold is {threshold}; it must lie between 0 and {BITS}.")
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    others = np.setdiff1d(np.asarray(others, dtype=np.int64), rows)
    hashes, other_hashes = (perceptual_hashes(pixels, each, chunk=chunk) for each in (rows, others))
    pairs = []
    for first in range(0, len(rows), chunk):
        for second in range(0, len(others), chunk):
            distances, mirrored = hash_distances(hashes[first : first + chunk], other_hashes[second : second + chunk])
            for one, other in np.argwhere(distances <= threshold).tolist():
                pairs.append(
                    NearCopy(
                        distance=int(distances[one, other]),
                        row=int(rows[first + one]),
                        copy_row=int(others[second + other]),
                        mirrored=bool(mirrored[one, other]),
                    )
                )
    return sorted(pairs)


def perceptual_hashes(pixels: Pixels, rows: Rows, *, chunk: int = CHUNK) -> npt.NDArray[np.int8]:
    """Return the hash of each image.

    Args:
        pixels: The pixels, uint8 RGB.
        rows: The rows to hash.
        chunk: Images that are hashed at once.

    Returns:
        1 or -1 of shape ``(rows, 16, 16)``, vertical frequency first. The mean at ``[0, 0]`` is 0, and so is all of the
        hash of an image of one colour.
    """
    hashes = np.zeros((len(rows), FREQUENCIES, FREQUENCIES), np.int8)
    for start in range(0, len(rows), chunk):
        grey = pixels[rows[start : start + chunk]].astype(np.float32) @ _GREY
        reduce = _low_frequencies(grey.shape[-1])
        frequencies = reduce @ grey @ reduce.T
        frequencies[:, 0, 0] = 0
        signs = np.where(frequencies >= 0, 1, -1)
        signs[np.abs(frequencies).max(axis=(1, 2)) < _FLAT] = 0
        hashes[start : start + chunk] = signs
    hashes[:, 0, 0] = 0
    return hashes


def hash_distances(
    hashes: npt.NDArray[np.int8], others: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Return the number of different bits of every two hashes, the nearer of the image and its mirror image.

    Args:
        hashes: Result of :func:`perceptual_hashes`, shape ``(n, 16, 16)``.
        others: The same, shape ``(m, 16, 16)``.

    Returns:
        Distances, and whether the mirror image is the nearer one, both of shape ``(n, m)``.
    """

    def agreement(start: int) -> npt.NDArray[np.float32]:
        """Return the agreeing bits minus the different ones, over every second horizontal frequency."""
        one, other = (
            each[:, :, start::2].reshape(-1, FREQUENCIES**2 // 2).astype(np.float32) for each in (hashes, others)
        )
        return one @ other.T

    even, odd = agreement(0), agreement(1)
    mirrored = odd < 0
    even += np.abs(odd, out=odd)
    # Half a bit is possible only against an image of one colour; it rounds up.
    return ((BITS + 1 - even) * 0.5).astype(np.int16), mirrored


def _low_frequencies(size: int) -> npt.NDArray[np.float32]:
    """Return the matrix of shape ``(16, size)`` from a line of pixels to its lowest frequencies at 32 pixels.

    It averages areas, also where ``size`` is no multiple of 32, and applies the orthonormal DCT-II.
    """
    edges = np.linspace(0, size, SIDE + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    areas = np.clip(overlap, 0, None) * SIDE / size
    cosines = dct(np.eye(SIDE), axis=0, norm="ortho")[:FREQUENCIES]
    return np.asarray(cosines @ areas, dtype=np.float32)
