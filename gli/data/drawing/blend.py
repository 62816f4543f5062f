"""Interpolation of numbers and colours."""

from __future__ import annotations

Color = tuple[float, float, float]
"""Red, green and blue, each 0..1."""

BLACK: Color = (0.05, 0.03, 0.04)
"""The soft black of pupils and lashes."""
WHITE: Color = (1.0, 1.0, 1.0)
"""Pure white."""


def clip(value: float, low: float, high: float) -> float:
    """Limit a value to a range; faster than :func:`numpy.clip` on a single number."""
    return min(max(value, low), high)


def ramp(value: float, low: float, high: float) -> float:
    """Rise smoothly from 0 at ``low`` and below to 1 at ``high`` and above."""
    t = clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(a: Color, b: Color, t: float) -> Color:
    """Interpolate between two colours: ``a`` for ``t = 0``, ``b`` for ``t = 1``."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def scale(color: Color, factor: float) -> Color:
    """Multiply a colour by a factor and clip it to 0..1."""
    return (clip(color[0] * factor, 0.0, 1.0), clip(color[1] * factor, 0.0, 1.0), clip(color[2] * factor, 0.0, 1.0))


def palette_color(palette: tuple[Color, ...], position: float) -> Color:
    """Interpolate along a palette of evenly spaced colours: position 0 is the first one, 1 the last."""
    x = clip(position, 0.0, 1.0) * (len(palette) - 1)
    i = min(int(x), len(palette) - 2)
    return mix(palette[i], palette[i + 1], x - i)
