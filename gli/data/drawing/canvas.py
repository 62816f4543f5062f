"""A canvas with face coordinates, and the curves that are drawn on it.

Shapes are in face coordinates: ``u`` to the right and ``v`` down, with the top of the skull at ``v = -1``, the chin
near ``v = 1`` and an adult face about 0.75 wide on each side. The canvas is several times larger than the final picture
and is averaged down, which gives smooth edges.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gli.data.drawing.blend import Color, clip
from gli.data.drawing.people import Picture

Points = npt.NDArray[np.float64]
"""Points ``(u, v)`` of shape ``(n, 2)``."""


class Depth:
    """Distance of each part of the head in front of the axis on which the head turns.

    In units of face coordinates, larger nearer to the viewer. When the head turns, nearer parts move further.
    """

    TIED_HAIR: Final = -0.3  # bun and tail
    BACK_HAIR: Final = -0.2
    EARS: Final = -0.15
    BODY: Final = 0.0
    RIM: Final = 0.22  # outline of the face
    HAIR: Final = 0.7 * RIM
    JOWLS: Final = 0.4
    BEARD: Final = 0.5  # strands of a full beard
    SCALP: Final = 0.5  # shine on a bald head
    OUTER_SKIN: Final = 0.6  # cheeks, temples and the light on the forehead
    GOATEE: Final = 0.6
    INNER_SKIN: Final = 0.7  # around the eyes, the nose and the mouth
    BROWS: Final = 0.75
    EYE_BAGS: Final = 0.75
    EYES: Final = 0.8
    MOUTH: Final = 0.9
    LIP_SHINE: Final = 0.95
    MOUSTACHE: Final = 0.95
    LENSES: Final = 0.95
    GLASSES_BRIDGE: Final = 0.98
    NOSE_SIDE: Final = 1.0
    NOSE_WINGS: Final = 1.05  # shadow around the end of the nose
    NOSE: Final = 1.1  # ridge and base
    NOSE_TIP: Final = 1.15


@lru_cache(maxsize=8)
def _spline_basis(steps: int) -> Points:
    """Return Catmull-Rom weights of four neighbouring points at ``steps`` places between the middle two."""
    t = np.arange(steps) / steps
    weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    return np.asarray(np.stack(weights, axis=1) / 2.0, dtype=np.float64)


def closed_curve(points: Points, steps: int = 6) -> Points:
    """Interpolate a closed smooth curve through points, ``(n, 2)`` to ``(n * steps, 2)``."""
    four = np.stack((np.roll(points, 1, 0), points, np.roll(points, -1, 0), np.roll(points, -2, 0)))
    return np.asarray(np.tensordot(_spline_basis(steps), four, (1, 0)).transpose(1, 0, 2).reshape(-1, 2))


def open_curve(points: Points, steps: int = 6) -> Points:
    """Interpolate a smooth curve from the first to the last point, ``(n, 2)`` to ``((n - 1) * steps + 1, 2)``."""
    padded = np.concatenate((points[:1], points, points[-1:]))
    four = np.stack((padded[:-3], padded[1:-2], padded[2:-1], padded[3:]))
    inner = np.tensordot(_spline_basis(steps), four, (1, 0)).transpose(1, 0, 2).reshape(-1, 2)
    return np.concatenate((inner, points[-1:]))


def mirrored(right: Points) -> Points:
    """Close a right half, given from top to bottom with both ends on the middle line, with its mirror image."""
    left = right[-2:0:-1] * np.array((-1.0, 1.0))
    return np.concatenate((right, left))


@lru_cache(maxsize=4)
def circle(n: int) -> Points:
    """Return ``n`` points on the unit circle. The array is cached: do not change it in place."""
    t = np.arange(n) * (2.0 * math.pi / n)
    return np.stack((np.cos(t), np.sin(t)), axis=1)


@lru_cache(maxsize=64)
def _parabola(n: int) -> Points:
    """Return ``n`` values of ``t * t`` for ``t`` from -1 to 1."""
    return np.asarray(np.linspace(-1.0, 1.0, n) ** 2)


@lru_cache(maxsize=512)
def _soft_mask(level: int, plateau: bool) -> Image.Image:
    """Return a round mask that fades to 0 at its rim; with ``plateau``, its middle is constant."""
    axis = np.linspace(-1.0, 1.0, 48)
    r = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    t = np.clip((1.0 - r) / (0.6 if plateau else 1.0), 0.0, 1.0)
    return Image.fromarray(np.rint(level * t * t * (3 - 2 * t)).astype(np.uint8))


def _rgba(color: Color, alpha: float) -> tuple[int, int, int, int]:
    r, g, b, a = (int(255 * clip(value, 0.0, 1.0)) for value in (*color, alpha))
    return r, g, b, a


class Canvas:
    """An image with face coordinates that follow the pose of the head.

    Args:
        image: RGB image to draw on; it is changed in place.
        picture: Gives the position, size and pose of the head.

    Attributes:
        image: The image.
        unit: Pixels per unit of face coordinates.
        center: ``(x, y)`` in pixels of the origin of face coordinates.
        cos: Cosine of the roll times ``unit``.
        sin: Sine of the roll times ``unit``.
    """

    def __init__(self, image: Image.Image, picture: Picture) -> None:
        self.image = image
        # An RGBA pen on an RGB image makes Pillow blend translucent shapes.
        self._pen: Any = ImageDraw.Draw(image, "RGBA")
        self.unit = 0.335 * image.width * picture.scale
        self.center = (image.width * (0.5 + picture.shift_x), image.height * (0.52 + picture.shift_y))
        self.turn(picture.roll, picture.yaw, picture.pitch)

    def turn(self, roll: float, yaw: float, pitch: float) -> None:
        """Set the pose for everything drawn from now on, in radians."""
        self.cos, self.sin = math.cos(roll) * self.unit, math.sin(roll) * self.unit
        self._yaw_cos, self._yaw_sin, self._pitch = math.cos(yaw), math.sin(yaw), pitch

    def place(self, points: Points, *, depth: float) -> Points:
        """Convert face coordinates ``(u, v)`` to pixels ``(x, y)``, both of shape ``(n, 2)``."""
        u, v = points[:, 0], points[:, 1]
        # The shift by depth is weaker near the rim, because the head is round.
        x = u * self._yaw_cos + (self._yaw_sin * depth) * (1.0 - 0.6 * u * u)
        y = v + self._pitch * depth
        out = np.empty_like(points)
        out[:, 0] = self.center[0] + self.cos * x - self.sin * y
        out[:, 1] = self.center[1] + self.sin * x + self.cos * y
        return out

    def fill(self, points: Points, color: Color, *, depth: float, alpha: float = 1.0) -> None:
        """Fill a polygon."""
        if alpha > 0.01:
            self._pen.polygon(self.place(points, depth=depth).ravel().tolist(), fill=_rgba(color, alpha))

    def stroke(
        self, points: Points, width: float, color: Color, *, depth: float, alpha: float = 1.0, taper: float = 1.0
    ) -> None:
        """Draw a brush stroke along points, its middle line.

        ``width`` is that in the middle, in face coordinates; ``taper`` is 0 (constant width) to 1 (no width at the
        ends).
        """
        if alpha <= 0.01:
            return
        p = self.place(points, depth=depth)
        along = np.empty_like(p)
        along[1:-1] = p[2:] - p[:-2]
        along[0], along[-1] = p[1] - p[0], p[-1] - p[-2]
        along /= np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9
        profile = 1.0 - taper * _parabola(len(p))
        offset = np.stack((-along[:, 1], along[:, 0]), axis=1) * (0.5 * width * self.unit * profile)[:, None]
        # One polygon: translucent segments would be darker where they overlap.
        outline = np.concatenate((p + offset, (p - offset)[::-1]))
        self._pen.polygon(outline.ravel().tolist(), fill=_rgba(color, alpha))

    def line(self, pixels: Points, width: float, color: Color) -> None:
        """Draw an opaque line through points given in pixels; ``width`` is in face coordinates."""
        points = pixels.ravel().tolist()
        self._pen.line(points, fill=_rgba(color, 1.0), width=max(1, round(width * self.unit)), joint="curve")

    def ring(self, points: Points, width: float, color: Color, *, depth: float) -> None:
        """Draw an opaque closed line of constant width."""
        # Repeat two points, so that the joint where the line closes is round as well.
        self.line(self.place(np.concatenate((points, points[:2])), depth=depth), width, color)

    def disc(
        self, u: float, v: float, radius: float, color: Color, *, depth: float, alpha: float = 1.0, tall: float = 1.0
    ) -> None:
        """Fill an ellipse ``tall`` times as high as it is wide."""
        points = circle(16) * np.array((radius, radius * tall)) + np.array((u, v))
        self.fill(points, color, depth=depth, alpha=alpha)

    def glow(
        self,
        u: float,
        v: float,
        ru: float,
        rv: float,
        color: Color,
        *,
        depth: float,
        alpha: float,
        plateau: bool = False,
    ) -> None:
        """Draw a soft patch of colour with radii ``ru`` and ``rv`` that fades from its middle to its rim.

        The opacity ``alpha`` is that of the middle; with ``plateau`` it is constant there.
        """
        level = round(255 * clip(alpha, 0.0, 1.0))
        if level < 2:
            return
        x, y = self.place(np.array(((u, v),)), depth=depth)[0].tolist()
        w, h = max(2, round(2 * ru * self.unit)), max(2, round(2 * rv * self.unit))
        mask = _soft_mask(level, plateau).resize((w, h), Image.Resampling.BILINEAR)
        self.image.paste(_rgba(color, 1.0)[:3], (round(x - w / 2), round(y - h / 2)), mask)
