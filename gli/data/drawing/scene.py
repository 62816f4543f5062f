"""Draw whole pictures: background, clothes, head, light and sensor noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from gli.data.drawing.blend import WHITE, mix, scale
from gli.data.drawing.canvas import Canvas, Depth, circle, open_curve
from gli.data.drawing.features import (
    draw_brows,
    draw_ears,
    draw_eyes,
    draw_glasses,
    draw_marks,
    draw_mouth,
    draw_nose,
    draw_skin,
    draw_wrinkles,
)
from gli.data.drawing.hair import draw_back_hair, draw_beard, draw_hair
from gli.data.drawing.look import Look, compute_look
from gli.data.drawing.people import COVERS_EARS, Background, Collar, Person, Picture

# The canvas is at least this many pixels wide, and at least three times as wide as the picture.
_MIN_CANVAS = 224
# How far the neckline dips, in face coordinates.
_NECKLINE_DIP = {Collar.CREW_NECK: 0.1, Collar.V_NECK: 0.34, Collar.SHIRT: 0.25}


def _background(picture: Picture, size: int, canvas_size: int) -> Image.Image:
    """Return a background of ``canvas_size`` pixels, enlarged from ``size`` pixels because it is out of focus."""
    first, second = (np.asarray(c) for c in picture.background_colors)
    rng = np.random.default_rng(picture.background_seed)
    axis = (np.arange(size) + 0.5) / size
    x, y = axis[None, :], axis[:, None]
    angle, phase, period = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.0, 1.0), rng.uniform(0.12, 0.35)
    along = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    kind = Background(picture.background)
    if kind == Background.PLAIN:
        t = 0.06 * along
    elif kind == Background.GRADIENT:
        t = np.clip(along * 0.9 + 0.5, 0.0, 1.0)
    elif kind == Background.STRIPES:
        t = np.clip(0.5 + 1.6 * np.sin((along / period + phase) * 2.0 * math.pi), 0.0, 1.0) * 0.6
    else:
        t = np.zeros((size, size))
        for cx, cy, r in rng.uniform((-0.1, -0.1, 0.1), (1.1, 1.1, 0.3), (5, 3)).tolist():
            t = np.maximum(t, np.exp(-((((x - cx) ** 2 + (y - cy) ** 2) / (r * r)) ** 2)))
    field = first + (second - first) * t[:, :, None]
    small = Image.fromarray(np.clip(field * 255.0, 0.0, 255.0).astype(np.uint8))
    return small.resize((canvas_size, canvas_size), Image.Resampling.BILINEAR)


def _draw_clothes(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    grown = 1.0 - look.child
    neck = 0.30 + 0.08 * grown + (0.035 * grown if person.male else -0.01)
    shoulder = 1.02 + 0.22 * grown + (0.16 * grown if person.male else 0.0)
    cloth = picture.clothing_color
    collar = Collar(picture.clothing)
    right = open_curve(
        np.array(
            ((neck * 1.08, 1.19), (0.62, 1.27), (shoulder * 0.92, 1.39), (shoulder * 1.12, 1.7), (shoulder * 1.2, 2.4))
        ),
        5,
    )
    left = right[::-1] * np.array((-1.0, 1.0))
    canvas.fill(np.concatenate((right, left)), cloth, depth=Depth.BODY)
    throat = np.array(
        ((-neck, 0.4), (neck, 0.4), (neck * 0.98, 1.15), (neck * 1.5, 1.42), (-neck * 1.5, 1.42), (-neck * 0.98, 1.15))
    )
    canvas.fill(throat, mix(look.skin, look.shade, 0.45), depth=Depth.BODY)
    # The head casts its shadow on the neck.
    shadow = circle(16) * np.array((neck * 1.02, 0.2)) + np.array((0.0, look.chin_v))
    canvas.fill(shadow, look.shade, depth=Depth.BODY, alpha=0.75)
    u = np.linspace(-1.0, 1.0, 13)
    drop = 1.0 - np.abs(u) ** (2.0 if collar == Collar.CREW_NECK else 1.0)
    neckline = np.stack((u * neck * 1.12, 1.19 + _NECKLINE_DIP[collar] * drop), axis=1)
    chest = ((0.85, 1.45), (0.85, 2.0), (-0.85, 2.0), (-0.85, 1.45))
    canvas.fill(np.concatenate((neckline, chest)), cloth, depth=Depth.BODY)
    canvas.stroke(neckline, 0.07, scale(cloth, 0.68), depth=Depth.BODY, taper=0.2)
    if collar == Collar.SHIRT:
        flap = np.array(((neck, 1.08), (neck * 1.35, 1.22), (0.3, 1.5), (0.02, 1.4)))
        for side in (-1.0, 1.0):
            canvas.fill(flap * np.array((side, 1.0)), mix(cloth, WHITE, 0.35), depth=Depth.BODY)
    for side in (-1.0, 1.0):
        sleeve = np.array(((side * shoulder * 0.72, 1.6), (side * shoulder * 0.68, 2.2)))
        canvas.stroke(sleeve, 0.05, scale(cloth, 0.7), depth=Depth.BODY, alpha=0.6)


def _expose(picture: Picture, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Apply the light to the whole image, then add the sensor noise."""
    pixels = np.asarray(image, dtype=np.float32)
    size = pixels.shape[0]
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = math.cos(picture.light_angle) * axis[None, :] + math.sin(picture.light_angle) * axis[:, None]
    gain = picture.brightness * (1.0 + picture.light_strength * slope)
    tint = np.array((1.0 + 0.09 * picture.warmth, 1.0, 1.0 - 0.11 * picture.warmth), dtype=np.float32)
    rng = np.random.default_rng(picture.noise_seed)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(255.0 * picture.noise)
    lit = pixels * gain[:, :, None].astype(np.float32) * tint + noise
    return np.clip(np.rint(lit), 0.0, 255.0).astype(np.uint8)


def draw(person: Person, picture: Picture, size: int = 64) -> npt.NDArray[np.uint8]:
    """Draw one picture of one person.

    The same arguments always give the same pixels.

    Args:
        person: The person shown.
        picture: Age, pose, light and everything else that differs between pictures.
        size: Width and height of the result in pixels; designed for 32..128.

    Returns:
        RGB picture of shape ``(size, size, 3)``, uint8.
    """
    factor = max(3, math.ceil(_MIN_CANVAS / size))
    image = _background(picture, size, size * factor)
    look = compute_look(person, picture)
    canvas = Canvas(image, picture)
    # From back to front.
    draw_back_hair(canvas, person, look)
    # The body turns less than the head.
    canvas.turn(0.3 * picture.roll, 0.3 * picture.yaw, 0.0)
    _draw_clothes(canvas, person, picture, look)
    canvas.turn(picture.roll, picture.yaw, picture.pitch)
    if look.style not in COVERS_EARS:
        draw_ears(canvas, person, look)
    draw_skin(canvas, person, picture, look)
    draw_marks(canvas, person, look)
    draw_wrinkles(canvas, person, picture, look)
    draw_beard(canvas, person, look)
    draw_mouth(canvas, person, picture, look)
    draw_nose(canvas, person, picture, look)
    draw_eyes(canvas, person, picture, look)
    draw_brows(canvas, person, picture, look)
    draw_hair(canvas, person, look)
    draw_glasses(canvas, person, look)
    return _expose(picture, image.reduce(factor))
