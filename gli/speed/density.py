"""Gaussian kernel densities of very many losses, for the Jensen-Shannon distance (paper, section 6.1 and Figure 6)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve
from scipy.stats import gaussian_kde

from gli.speed import wanted

Array = npt.NDArray[np.float64]

#: Up to this many losses scipy's density is used: every loss against every point of the grid.
EXACT_UP_TO = 20_000
#: Points of the finer grid in one bandwidth. The error of the density falls with their square: 1e-8 of the peak at 256.
FINENESS = 256
#: Where the kernel ends, in bandwidths: it is 1e-22 of its peak there.
REACH = 10
#: Upper limit for the points of the finer grid (0.5 GB). If a bandwidth needs more, scipy's density is used.
MOST_POINTS = 2**24


def density(losses: Array, grid: Array) -> Array:
    """Return ``scipy.stats.gaussian_kde(losses)(grid)``; for very many losses, an approximation in linear time.

    Args:
        losses: At least two different values, shape ``(n,)``.
        grid: Evenly spaced points that span all the losses, shape ``(points,)``.

    Returns:
        The density at the points of the grid, not normalised on it, shape ``(points,)``. Beyond ``EXACT_UP_TO`` losses
        its error is below 1e-6 of the peak.
    """
    if len(losses) > EXACT_UP_TO and wanted():
        with np.errstate(all="ignore"):  # The spread may overflow or vanish: then the comparison below is false.
            subdivisions = FINENESS * (grid[1] - grid[0]) / bandwidth(losses)
        if 0 < subdivisions * len(grid) <= MOST_POINTS:
            return binned_density(losses, grid, math.ceil(subdivisions))
    return np.asarray(gaussian_kde(losses)(grid))


def bandwidth(losses: Array) -> float:
    """Return Scott's bandwidth: the standard deviation times ``n ** (-1 / 5)``."""
    return float(losses.std(ddof=1) * len(losses) ** (-1 / 5))


def binned_density(losses: Array, grid: Array, subdivisions: int) -> Array:
    """Return the kernel density of losses that are binned on a finer grid, by one convolution (FFT).

    Linear binning: each loss is divided between its two neighbours on the finer grid. This adds a variance of one sixth
    of a squared step on average, which is taken off the kernel's.

    Args:
        losses: Shape ``(n,)``.
        grid: As in :func:`density`.
        subdivisions: Steps of the finer grid in one step of the grid.

    Returns:
        The density at the points of the grid, shape ``(points,)``.
    """
    step, count = (grid[1] - grid[0]) / subdivisions, (len(grid) - 1) * subdivisions + 1
    place = (losses - grid[0]) / step
    left = np.clip(place.astype(np.int64), 0, count - 2)
    share = place - left
    weights = np.bincount(left, 1 - share, count) + np.bincount(left + 1, share, count)
    variance = (bandwidth(losses) / step) ** 2 - 1 / 6
    reach = math.ceil(REACH * math.sqrt(variance))
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    smooth = fftconvolve(weights, kernel / kernel.sum())[reach : reach + count : subdivisions]
    return np.asarray(np.maximum(smooth, 0) / (len(losses) * step))  # Rounding in the FFT can leave tails below 0.
