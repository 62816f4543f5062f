"""What differs between the pictures of one person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gli.data.drawing.blend import Color, clip, mix, ramp
from gli.data.drawing.person import AGE_CLASSES, Person
from gli.data.drawing.sampling import sample_bool, sample_normal, sample_shift

_MAX_AGE = float(AGE_CLASSES[-1][1])


class Background(IntEnum):
    """Values of :attr:`Picture.background`."""

    PLAIN = 0
    GRADIENT = 1
    BLOBS = 2
    STRIPES = 3


class Collar(IntEnum):
    """Values of :attr:`Picture.clothing`."""

    CREW_NECK = 0
    V_NECK = 1
    SHIRT = 2


@dataclass(frozen=True)
class Picture:
    """What differs between the pictures of one drawn person.

    Attributes:
        age: Age in whole years, 0..80.
        smiling: Whether the person smiles.
        smile: Curve of the mouth, -0.1 (slightly down) to 1 (broad smile).
        mouth_open: 0 (closed) to 1 (wide open).
        squint: How much the eyes are narrowed, 0..1.
        gaze: Shift of the irises to the right and down, each -1..1.
        shift_x: Shift of the head to the right, as a share of the picture's width.
        shift_y: Shift of the head down, as a share of the picture's height.
        roll: Tilt of the head in radians, clockwise.
        yaw: Turn of the head in radians, positive to the right of the picture.
        pitch: Nod of the head in radians, positive downwards.
        scale: Factor on the size of the head.
        tiredness: Strength of the shadows under the eyes, 0..1.
        brightness: Factor on all light.
        light_angle: Direction in radians in which the picture gets brighter.
        light_strength: Relative gain from the centre to the edge in that direction, 0..0.4.
        warmth: Colour of the light, -1 (blue) to 1 (orange).
        background: A :class:`Background` as a plain int, 0..3.
        background_colors: Its two colours, each red, green and blue 0..1.
        background_seed: Seed of the positions of its gradient, blobs or stripes.
        clothing: A :class:`Collar` as a plain int, 0..2.
        clothing_color: Red, green and blue, 0..1.
        noise: Standard deviation of the sensor noise, as a share of full white.
        noise_seed: Seed of the sensor noise.
    """

    age: float
    smiling: bool
    smile: float
    mouth_open: float
    squint: float
    gaze: tuple[float, float]
    shift_x: float
    shift_y: float
    roll: float
    yaw: float
    pitch: float
    scale: float
    tiredness: float
    brightness: float
    light_angle: float
    light_strength: float
    warmth: float
    background: int
    background_colors: tuple[Color, Color]
    background_seed: int
    clothing: int
    clothing_color: Color
    noise: float
    noise_seed: int


def _sample_color(rng: np.random.Generator, low: float, high: float, fade: float) -> Color:
    """Sample a colour of any hue and mix it with its own grey, so that it does not dominate the face."""
    r, g, b = rng.uniform(low, high, 3).tolist()
    grey = (r + g + b) / 3.0
    return mix((r, g, b), (grey, grey, grey), fade)


def sample_picture(person: Person, rng: np.random.Generator) -> Picture:
    """Sample the conditions of one picture of a person.

    The age is normal around the person's base age, in whole years. Its spread is smaller for children, because they
    change faster.

    Args:
        person: The person shown; only ``base_age`` is used.
        rng: Source of all randomness.

    Returns:
        The conditions of the picture.
    """
    # The order of the calls to `rng` fixes which picture a seed gives, the arguments of `Picture` included.
    spread = 1.2 + 2.3 * ramp(person.base_age, 0.0, 30.0)
    age = clip(float(round(person.base_age + float(rng.normal(0.0, spread)))), 0.0, _MAX_AGE)
    smiling = sample_bool(rng, 0.5)
    first, second = _sample_color(rng, 0.25, 0.95, 0.5), _sample_color(rng, 0.25, 0.95, 0.4)
    return Picture(
        age=age,
        smiling=smiling,
        smile=float(rng.uniform(0.6, 1.0) if smiling else rng.uniform(-0.1, 0.28)),
        mouth_open=float(rng.uniform(0.25, 1.0)) if sample_bool(rng, 0.6 if smiling else 0.15) else 0.0,
        squint=float(rng.uniform(0.0, 0.6) ** 1.5 + (0.15 if smiling else 0.0)),
        gaze=(float(rng.uniform(-1.0, 1.0)), float(rng.uniform(-0.6, 0.6))),
        shift_x=float(rng.uniform(-0.04, 0.04)),
        shift_y=float(rng.uniform(-0.03, 0.03)),
        roll=sample_normal(rng, 0.0, 0.08, -0.2, 0.2),
        yaw=sample_normal(rng, 0.0, 0.14, -0.28, 0.28),
        pitch=sample_normal(rng, 0.0, 0.05, -0.12, 0.12),
        scale=float(rng.uniform(0.92, 1.08)),
        tiredness=float(rng.random() ** 2),
        brightness=float(rng.uniform(0.78, 1.1)),
        light_angle=float(rng.uniform(0.0, 2.0 * math.pi)),
        light_strength=float(rng.uniform(0.02, 0.28)),
        warmth=sample_shift(rng, 0.0, 0.5),
        background=int(rng.integers(len(Background))),
        background_colors=(first, mix(first, second, float(rng.uniform(0.3, 0.9)))),
        background_seed=int(rng.integers(2**31)),
        clothing=int(rng.integers(len(Collar))),
        clothing_color=_sample_color(rng, 0.1, 0.92, 0.3),
        noise=float(rng.uniform(0.004, 0.022)),
        noise_seed=int(rng.integers(2**31)),
    )
