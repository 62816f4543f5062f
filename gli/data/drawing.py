"""Drawn faces: made-up people whose pictures need no real data.

A :class:`Person` holds what stays the same over all pictures of somebody, a :class:`Picture` what differs between them,
and :func:`draw_face` turns the pair into pixels.  Everything random is fixed by these two objects, so a face can be
drawn again at any time, at any size.

Shapes live in face coordinates: ``u`` to the right and ``v`` down, with the top of the skull at ``v = -1``, the chin
near ``v = 1`` and an adult face about 0.75 wide to each side.  They are drawn on a canvas several times larger than the
picture and averaged down, which is what softens the edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Color = tuple[float, float, float]
Points = npt.NDArray[np.float64]

AGE_CLASSES: tuple[tuple[int, int], ...] = (
    (0, 6),
    (7, 12),
    (13, 19),
    (20, 30),
    (31, 45),
    (46, 55),
    (56, 66),
    (67, 80),
)
"""First and last whole year of each age class that :func:`sample_person` draws from evenly."""

_OLDEST = 80

# Hair styles.
_CROP, _SHORT, _QUIFF, _CURLY, _AFRO, _BOB, _LONG, _WAVY, _BUN, _TAIL, _PIGTAILS, _BALD = range(12)
_STYLE_ODDS_MALE = (0.22, 0.28, 0.17, 0.12, 0.05, 0.03, 0.03, 0.03, 0.01, 0.02, 0.00, 0.04)
_STYLE_ODDS_FEMALE = (0.03, 0.08, 0.02, 0.10, 0.06, 0.19, 0.17, 0.15, 0.08, 0.08, 0.04, 0.00)
_COVERS_EARS = frozenset({_BOB, _LONG, _WAVY})
_TIED = frozenset({_BUN, _TAIL, _PIGTAILS})

# Fringes, beards, glasses, backgrounds, clothes.
_FRINGE_NONE, _FRINGE_STRAIGHT, _FRINGE_SWEPT, _FRINGE_CENTRE, _FRINGE_JAGGED = range(5)
_SHAVEN, _STUBBLE, _MOUSTACHE, _GOATEE, _FULL_BEARD = range(5)
_NO_GLASSES, _ROUND_GLASSES, _SQUARE_GLASSES, _HALF_RIM_GLASSES = range(4)
_PLAIN, _GRADIENT, _BLOBS, _STRIPES = range(4)
_CREW_NECK, _V_NECK, _COLLAR = range(3)

_SKIN: tuple[Color, ...] = (
    (0.98, 0.85, 0.77),
    (0.96, 0.79, 0.68),
    (0.91, 0.71, 0.57),
    (0.81, 0.60, 0.45),
    (0.66, 0.46, 0.33),
    (0.50, 0.34, 0.25),
    (0.39, 0.26, 0.20),
)
# From black to blonde, then the reds.
_HAIR: tuple[Color, ...] = (
    (0.10, 0.09, 0.10),
    (0.22, 0.15, 0.11),
    (0.36, 0.23, 0.14),
    (0.54, 0.38, 0.23),
    (0.86, 0.70, 0.42),
    (0.70, 0.33, 0.15),
    (0.43, 0.17, 0.12),
)
_EYES: tuple[Color, ...] = (
    (0.34, 0.20, 0.10),
    (0.18, 0.11, 0.08),
    (0.25, 0.47, 0.76),
    (0.27, 0.50, 0.28),
    (0.45, 0.54, 0.60),
    (0.52, 0.38, 0.16),
)
_FRAMES: tuple[Color, ...] = (
    (0.08, 0.08, 0.09),
    (0.34, 0.18, 0.09),
    (0.60, 0.12, 0.15),
    (0.12, 0.22, 0.50),
    (0.72, 0.60, 0.30),
    (0.10, 0.42, 0.38),
)
_GREY: Color = (0.83, 0.83, 0.84)
# How far the rim of the face lies before the axis that the head turns on.
_RIM = 0.22

_BLACK: Color = (0.05, 0.03, 0.04)
_WHITE: Color = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Person:
    """What stays the same over all pictures of one drawn person.

    Fields without a unit are relative: those described as "-1..1" are shifts around the average person.

    Attributes:
        male: Drawn with male proportions (they overlap with the female ones).
        base_age: Age in years, 0..80, around which the person's pictures lie.
        looks_older: Years that an adult of this look seems older (or, negative, younger) than they are.
        grey_onset: Apparent age in years at which half of the hair is grey.
        wrinkle_strength: Factor on wrinkles, 0.4..1.7.
        hair_loss: Share of the hair lost in old age, 0..1.
        skin_tone: 0 (light) to 1 (dark).
        skin_warmth: -1 (pink) to 1 (golden).
        rosiness: How red the cheeks are, 0..1.
        face_width: Factor on the width of the face, about 0.88..1.12.
        jaw: Width of the jaw, -1..1.
        chin: Width and length of the chin, -1..1.
        cheeks: Width of the cheeks, -1..1.
        hair_style: Index of the hair style, 0..11.
        hair_color: Red, green and blue of the hair before it turns grey, 0..1.
        hair_volume: How far the hair stands off the skull, 0..1.
        hair_phase: Radians; where curls and strands lie.
        hairline: Height of the hairline, -1 (low) to 1 (high).
        fringe: Index of the fringe, 0..4.
        parting: Side of the parting, -1 or 1.
        eye_color: Red, green and blue of the iris, 0..1.
        eye_spacing: -1 (close) to 1 (wide).
        eye_size: -1..1.
        eye_height: -1 (high) to 1 (low).
        eye_roundness: -1 (narrow) to 1 (round).
        eye_tilt: -1 (outer corners low) to 1 (high).
        lashes: Strength of the lashes, 0..1.
        brow_thickness: -1..1.
        brow_arch: -1 (flat) to 1 (arched).
        brow_tilt: -1 (outer ends low) to 1 (high).
        nose_length: -1..1.
        nose_width: -1..1.
        nose_bridge: How strongly the bridge shades, 0..1.
        mouth_width: -1..1.
        mouth_height: -1 (high) to 1 (low).
        lip_fullness: -1..1.
        lip_redness: 0 (bare) to 1 (lipstick); seen from the teens on.
        ear_size: -1..1.
        beard: Index of the beard, 0..4; seen on grown-ups only.
        glasses: Index of the glasses, 0..3.
        glasses_color: Red, green and blue of the frame, 0..1.
        earrings: Whether the person wears earrings.
        freckles: ``(u, v)`` of each freckle.
        moles: ``(u, v, radius)`` of each mole.
        scar: ``(u, v, angle, length)`` of a scar, or nothing.
        pimples: ``(u, v)`` of each pimple, seen in the teens.
    """

    male: bool
    base_age: float
    looks_older: float
    grey_onset: float
    wrinkle_strength: float
    hair_loss: float
    skin_tone: float
    skin_warmth: float
    rosiness: float
    face_width: float
    jaw: float
    chin: float
    cheeks: float
    hair_style: int
    hair_color: Color
    hair_volume: float
    hair_phase: float
    hairline: float
    fringe: int
    parting: int
    eye_color: Color
    eye_spacing: float
    eye_size: float
    eye_height: float
    eye_roundness: float
    eye_tilt: float
    lashes: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    mouth_width: float
    mouth_height: float
    lip_fullness: float
    lip_redness: float
    ear_size: float
    beard: int
    glasses: int
    glasses_color: Color
    earrings: bool
    freckles: tuple[tuple[float, float], ...]
    moles: tuple[tuple[float, float, float], ...]
    scar: tuple[float, ...]
    pimples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """What differs between the pictures of one drawn person.

    Attributes:
        age: Age in whole years, 0..80.
        smiling: Whether the person smiles.
        smile: Curve of the mouth, -0.1 (slightly down) to 1 (broad smile).
        mouth_open: 0 (closed) to 1.
        squint: How far the eyes are narrowed, 0..1.
        gaze: Shift of the irises to the right and down, each -1..1.
        shift_x: Shift of the head to the right, as a share of the picture's width.
        shift_y: Shift of the head down, as a share of the picture's height.
        roll: Tilt of the head in radians, clockwise.
        yaw: Turn of the head in radians, positive to the right of the picture.
        pitch: Nod of the head in radians, positive downwards.
        scale: Factor on the size of the head.
        tiredness: Shadows under the eyes, 0..1.
        brightness: Factor on all light.
        light_angle: Direction in radians towards which the picture gets brighter.
        light_strength: How much brighter it gets, 0..0.4.
        warmth: Colour of the light, -1 (blue) to 1 (orange).
        background: Index of the kind of background, 0..3.
        background_colors: Its two colours, each red, green and blue 0..1.
        background_seed: Fixes where its gradient, blobs or stripes lie.
        clothing: Index of the kind of clothing, 0..2.
        clothing_color: Red, green and blue, 0..1.
        noise: Standard deviation of the sensor noise, as a share of full white.
        noise_seed: Fixes the sensor noise.
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


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _ramp(value: float, low: float, high: float) -> float:
    # 0 below low, 1 above high, smooth between.
    t = _clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _mix(a: Color, b: Color, t: float) -> Color:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def _times(a: Color, factor: float) -> Color:
    return (_clip(a[0] * factor, 0.0, 1.0), _clip(a[1] * factor, 0.0, 1.0), _clip(a[2] * factor, 0.0, 1.0))


def _palette(colors: tuple[Color, ...], position: float) -> Color:
    # A colour on the line through the palette, position 0..1.
    x = _clip(position, 0.0, 1.0) * (len(colors) - 1)
    i = min(int(x), len(colors) - 2)
    return _mix(colors[i], colors[i + 1], x - i)


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


def _any_color(rng: np.random.Generator, low: float, high: float, fade: float) -> Color:
    # Any hue, mixed with its own grey so that it does not outshine the face.
    r, g, b = rng.uniform(low, high, 3).tolist()
    grey = (r + g + b) / 3.0
    return _mix((r, g, b), (grey, grey, grey), fade)


def _shift(rng: np.random.Generator, mean: float = 0.0, sd: float = 0.5) -> float:
    return _clip(float(rng.normal(mean, sd)), -1.0, 1.0)


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _pick(rng: np.random.Generator, odds: tuple[float, ...]) -> int:
    return int(rng.choice(len(odds), p=np.asarray(odds) / math.fsum(odds)))


def _sample_hair_color(tone: float, rng: np.random.Generator) -> Color:
    # Fair hair comes mostly with fair skin.
    dark = _ramp(tone, 0.35, 0.7)
    fair = 1.0 - dark
    kind = _pick(rng, (0.15 + 0.6 * dark, 0.25, 0.2 * fair + 0.1, 0.17 * fair, 0.2 * fair + 0.01, 0.1 * fair, 0.08))
    other = _HAIR[max(kind - 1, 0)] if kind < 5 else _HAIR[kind]
    return _times(_mix(_HAIR[kind], other, float(rng.uniform(0.0, 0.5))), float(rng.uniform(0.9, 1.1)))


def _sample_marks(
    rng: np.random.Generator,
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float, float], ...], tuple[float, ...]]:
    # Freckles, moles and a scar, kept clear of the eyes and the mouth so that they show.
    freckles: list[tuple[float, float]] = []
    if _chance(rng, 0.2):
        for _ in range(int(rng.integers(12, 26))):
            side = 1.0 if _chance(rng, 0.5) else -1.0
            freckles.append((side * abs(float(rng.normal(0.27, 0.13))), float(rng.normal(0.27, 0.07))))
    moles: list[tuple[float, float, float]] = []
    for _ in range(_pick(rng, (0.52, 0.29, 0.13, 0.06))):
        side = 1.0 if _chance(rng, 0.5) else -1.0
        moles.append(
            (side * float(rng.uniform(0.3, 0.52)), float(rng.uniform(0.2, 0.72)), float(rng.uniform(0.025, 0.043)))
        )
    scar: tuple[float, ...] = ()
    if _chance(rng, 0.12):
        side = 1.0 if _chance(rng, 0.5) else -1.0
        place = ((0.3, -0.45), (0.42, 0.3), (0.25, 0.78))[int(rng.integers(3))]
        scar = (side * place[0], place[1], float(rng.uniform(0.0, math.pi)), float(rng.uniform(0.16, 0.3)))
    return tuple(freckles), tuple(moles), scar


def sample_person(rng: np.random.Generator) -> Person:
    """Draw the traits of one made-up person.

    The base age is drawn by class (each of :data:`AGE_CLASSES` equally often) and evenly inside its class.

    Args:
        rng: Source of all randomness.

    Returns:
        The person.
    """
    male = _chance(rng, 0.5)
    sign = 1.0 if male else -1.0
    first, last = AGE_CLASSES[int(rng.integers(len(AGE_CLASSES)))]
    base_age = float(rng.integers(first, last + 1))
    tone = float(rng.random()) ** 1.25
    style = _pick(rng, _STYLE_ODDS_MALE if male else _STYLE_ODDS_FEMALE)
    if style == _PIGTAILS and base_age > 14:
        style = _TAIL
    if style == _BALD and base_age < 30:
        style = _CROP
    fringe_odds = (0.45, 0.12, 0.27, 0.04, 0.12) if male else (0.2, 0.24, 0.28, 0.22, 0.06)
    dark_eyes = _ramp(tone, 0.3, 0.6)
    light_eyes = 1.0 - dark_eyes
    eye_odds = (0.3, 0.1 + 0.6 * dark_eyes, 0.25 * light_eyes, 0.15 * light_eyes, 0.12 * light_eyes, 0.1)
    freckles, moles, scar = _sample_marks(rng)
    pimples = tuple(
        (float(u), float(v))
        for u, v in zip(
            rng.uniform(-0.5, 0.5, 7), rng.choice((-0.45, 0.3, 0.75), 7) + rng.normal(0, 0.07, 7), strict=True
        )
    )
    return Person(
        male=male,
        base_age=base_age,
        looks_older=float(np.clip(rng.normal(0.0, 8.0), -16.0, 16.0)),
        grey_onset=float(np.clip(rng.normal(55.0, 8.0), 35.0, 78.0)),
        wrinkle_strength=float(np.clip(rng.normal(1.0, 0.3), 0.4, 1.7)),
        hair_loss=float(rng.random() ** 0.9) if male else float(0.35 * rng.random() ** 2),
        skin_tone=tone,
        skin_warmth=_shift(rng),
        rosiness=float(rng.random()),
        face_width=float(np.clip(rng.normal(1.0, 0.06), 0.88, 1.12)),
        jaw=_shift(rng, 0.35 * sign, 0.45),
        chin=_shift(rng, 0.15 * sign, 0.5),
        cheeks=_shift(rng),
        hair_style=style,
        hair_color=_sample_hair_color(tone, rng),
        hair_volume=float(rng.random()),
        hair_phase=float(rng.uniform(0.0, 2.0 * math.pi)),
        hairline=_shift(rng),
        fringe=_pick(rng, fringe_odds),
        parting=1 if _chance(rng, 0.5) else -1,
        eye_color=_EYES[_pick(rng, eye_odds)],
        eye_spacing=_shift(rng),
        eye_size=_shift(rng, -0.2 * sign),
        eye_height=_shift(rng),
        eye_roundness=_shift(rng, -0.15 * sign),
        eye_tilt=_shift(rng),
        lashes=float(np.clip(rng.normal(0.2 if male else 0.7, 0.2), 0.0, 1.0)),
        brow_thickness=_shift(rng, 0.4 * sign, 0.45),
        brow_arch=_shift(rng, -0.25 * sign),
        brow_tilt=_shift(rng, -0.15, 0.45),
        nose_length=_shift(rng, 0.1 * sign),
        nose_width=_shift(rng, 0.2 * sign + 0.35 * (tone - 0.45)),
        nose_bridge=float(rng.random()),
        mouth_width=_shift(rng),
        mouth_height=_shift(rng),
        lip_fullness=_shift(rng, -0.25 * sign + 0.4 * (tone - 0.45)),
        lip_redness=float(rng.random() * 0.3) if male else float(rng.random()),
        ear_size=_shift(rng, 0.15 * sign),
        beard=_pick(rng, (0.42, 0.18, 0.12, 0.10, 0.18)) if male else _SHAVEN,
        glasses=_pick(rng, (0.76, 0.09, 0.09, 0.06)),
        glasses_color=_FRAMES[int(rng.integers(len(_FRAMES)))],
        earrings=_chance(rng, 0.05 if male else 0.4),
        freckles=freckles,
        moles=moles,
        scar=scar,
        pimples=pimples[: int(rng.integers(0, 8))],
    )


def sample_picture(person: Person, rng: np.random.Generator) -> Picture:
    """Draw the conditions of one picture of a person.

    The age lies a few years around the person's base age (less for children, who change faster), in whole years.

    Args:
        person: Whose picture it is; only ``base_age`` matters.
        rng: Source of all randomness.

    Returns:
        The picture's conditions.
    """
    spread = 1.2 + 2.3 * _ramp(person.base_age, 0.0, 30.0)
    age = _clip(float(round(person.base_age + float(rng.normal(0.0, spread)))), 0.0, float(_OLDEST))
    smiling = _chance(rng, 0.5)
    first, second = _any_color(rng, 0.25, 0.95, 0.5), _any_color(rng, 0.25, 0.95, 0.4)
    return Picture(
        age=age,
        smiling=smiling,
        smile=float(rng.uniform(0.6, 1.0) if smiling else rng.uniform(-0.1, 0.28)),
        mouth_open=float(rng.uniform(0.25, 1.0)) if _chance(rng, 0.6 if smiling else 0.15) else 0.0,
        squint=float(rng.uniform(0.0, 0.6) ** 1.5 + (0.15 if smiling else 0.0)),
        gaze=(float(rng.uniform(-1.0, 1.0)), float(rng.uniform(-0.6, 0.6))),
        shift_x=float(rng.uniform(-0.04, 0.04)),
        shift_y=float(rng.uniform(-0.03, 0.03)),
        roll=float(np.clip(rng.normal(0.0, 0.08), -0.2, 0.2)),
        yaw=float(np.clip(rng.normal(0.0, 0.14), -0.28, 0.28)),
        pitch=float(np.clip(rng.normal(0.0, 0.05), -0.12, 0.12)),
        scale=float(rng.uniform(0.92, 1.08)),
        tiredness=float(rng.random() ** 2),
        brightness=float(rng.uniform(0.78, 1.1)),
        light_angle=float(rng.uniform(0.0, 2.0 * math.pi)),
        light_strength=float(rng.uniform(0.02, 0.28)),
        warmth=_shift(rng, 0.0, 0.5),
        background=int(rng.integers(4)),
        background_colors=(first, _mix(first, second, float(rng.uniform(0.3, 0.9)))),
        background_seed=int(rng.integers(2**31)),
        clothing=int(rng.integers(3)),
        clothing_color=_any_color(rng, 0.1, 0.92, 0.3),
        noise=float(rng.uniform(0.004, 0.022)),
        noise_seed=int(rng.integers(2**31)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Canvas


@lru_cache(maxsize=8)
def _spline_basis(steps: int) -> Points:
    # Catmull-Rom weights of four neighbouring points at `steps` places between the middle two.
    t = np.arange(steps) / steps
    weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    return np.asarray(np.stack(weights, axis=1) / 2.0, dtype=np.float64)


def _closed_curve(points: Points, steps: int = 6) -> Points:
    four = np.stack((np.roll(points, 1, 0), points, np.roll(points, -1, 0), np.roll(points, -2, 0)))
    return np.asarray(np.tensordot(_spline_basis(steps), four, (1, 0)).transpose(1, 0, 2).reshape(-1, 2))


def _open_curve(points: Points, steps: int = 6) -> Points:
    padded = np.concatenate((points[:1], points, points[-1:]))
    four = np.stack((padded[:-3], padded[1:-2], padded[2:-1], padded[3:]))
    inner = np.tensordot(_spline_basis(steps), four, (1, 0)).transpose(1, 0, 2).reshape(-1, 2)
    return np.concatenate((inner, points[-1:]))


def _mirrored(right: Points) -> Points:
    # Right half from top to bottom (both ends on the middle line) to a closed loop.
    left = right[-2:0:-1] * np.array((-1.0, 1.0))
    return np.concatenate((right, left))


@lru_cache(maxsize=4)
def _circle(n: int) -> Points:
    t = np.arange(n) * (2.0 * math.pi / n)
    return np.stack((np.cos(t), np.sin(t)), axis=1)


@lru_cache(maxsize=64)
def _parabola(n: int) -> Points:
    return np.asarray(np.linspace(-1.0, 1.0, n) ** 2)


@lru_cache(maxsize=512)
def _soft_mask(level: int, plateau: bool) -> Image.Image:
    # Round brush that fades to nothing at its rim; `plateau` keeps the middle full.
    axis = np.linspace(-1.0, 1.0, 48)
    r = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    t = np.clip((1.0 - r) / (0.6 if plateau else 1.0), 0.0, 1.0)
    return Image.fromarray(np.rint(level * t * t * (3 - 2 * t)).astype(np.uint8))


class _Canvas:
    # A large image with a movable face coordinate system on it.

    def __init__(self, image: Image.Image, picture: Picture) -> None:
        self.image = image
        # Drawing in RGBA on an RGB image is Pillow's way to blend translucent shapes.
        self.pen: Any = ImageDraw.Draw(image, "RGBA")
        self.unit = 0.335 * image.width * picture.scale
        self.center = (image.width * (0.5 + picture.shift_x), image.height * (0.52 + picture.shift_y))
        self.turn(picture.roll, picture.yaw, picture.pitch)

    def turn(self, roll: float, yaw: float, pitch: float) -> None:
        self.cos, self.sin = math.cos(roll) * self.unit, math.sin(roll) * self.unit
        self.yaw_cos, self.yaw_sin, self.pitch = math.cos(yaw), math.sin(yaw), pitch

    def place(self, points: Points, depth: float) -> Points:
        # Things nearer to the viewer (larger depth) move further when the head turns, those at the rim less.
        u, v = points[:, 0], points[:, 1]
        x = u * self.yaw_cos + (self.yaw_sin * depth) * (1.0 - 0.6 * u * u)
        y = v + self.pitch * depth
        out = np.empty_like(points)
        out[:, 0] = self.center[0] + self.cos * x - self.sin * y
        out[:, 1] = self.center[1] + self.sin * x + self.cos * y
        return out

    def fill(self, points: Points, color: Color, alpha: float = 1.0, depth: float = 0.0) -> None:
        if alpha > 0.01:
            self.pen.polygon(self.place(points, depth).ravel().tolist(), fill=_ink(color, alpha))

    def stroke(
        self, points: Points, width: float, color: Color, alpha: float = 1.0, depth: float = 0.0, taper: float = 1.0
    ) -> None:
        # A brush stroke: one polygon, so that translucent ones do not darken where segments meet.
        if alpha <= 0.01:
            return
        p = self.place(points, depth)
        along = np.empty_like(p)
        along[1:-1] = p[2:] - p[:-2]
        along[0], along[-1] = p[1] - p[0], p[-1] - p[-2]
        along /= np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9
        profile = 1.0 - taper * _parabola(len(p))
        offset = np.stack((-along[:, 1], along[:, 0]), axis=1) * (0.5 * width * self.unit * profile)[:, None]
        outline = np.concatenate((p + offset, (p - offset)[::-1]))
        self.pen.polygon(outline.ravel().tolist(), fill=_ink(color, alpha))

    def ring(self, points: Points, width: float, color: Color, depth: float) -> None:
        p = self.place(np.concatenate((points, points[:2])), depth)
        self.pen.line(p.ravel().tolist(), fill=_ink(color, 1.0), width=max(1, round(width * self.unit)), joint="curve")

    def disc(
        self, u: float, v: float, radius: float, color: Color, alpha: float = 1.0, depth: float = 0.0, tall: float = 1.0
    ) -> None:
        self.fill(_circle(16) * np.array((radius, radius * tall)) + np.array((u, v)), color, alpha, depth)

    def glow(
        self,
        u: float,
        v: float,
        ru: float,
        rv: float,
        color: Color,
        alpha: float,
        depth: float = 0.0,
        plateau: bool = False,
    ) -> None:
        # A soft patch of colour that is strongest in its middle.
        level = round(255 * _clip(alpha, 0.0, 1.0))
        if level < 2:
            return
        x, y = self.place(np.array(((u, v),)), depth)[0].tolist()
        w, h = max(2, round(2 * ru * self.unit)), max(2, round(2 * rv * self.unit))
        mask = _soft_mask(level, plateau).resize((w, h), Image.Resampling.BILINEAR)
        self.image.paste(_ink(color, 1.0)[:3], (round(x - w / 2), round(y - h / 2)), mask)


def _ink(color: Color, alpha: float) -> tuple[int, int, int, int]:
    r, g, b = color
    return (
        int(255 * _clip(r, 0.0, 1.0)),
        int(255 * _clip(g, 0.0, 1.0)),
        int(255 * _clip(b, 0.0, 1.0)),
        int(255 * _clip(alpha, 0.0, 1.0)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Looks: what the traits and the age come to


@dataclass(frozen=True)
class _Look:
    age: float  # apparent
    child: float  # 1 for a baby, 0 for a grown-up
    old: float  # 0 for a young adult, 1 for the very old
    wrinkles: float
    recession: float
    style: int
    skin: Color
    shade: Color
    line: Color
    hair: Color
    brow: Color
    width: float  # half the width of the face
    chin_v: float
    eye_u: float
    eye_v: float
    eye_w: float
    eye_h: float
    brow_v: float
    nose_v: float
    mouth_v: float
    mouth_w: float
    ear_u: float
    hair_gap: float  # how far the hair stands off the skull


def _look(person: Person, picture: Picture) -> _Look:
    # Children's ages are easier to see than grown-ups', so the offset grows with age.
    age = max(0.0, picture.age + person.looks_older * (0.2 + 0.8 * _ramp(picture.age, 0.0, 40.0)))
    child = 1.0 - 0.45 * _ramp(age, 0.0, 9.0) - 0.55 * _ramp(age, 6.0, 19.0)
    old = _clip((age - 28.0) / 50.0, 0.0, 1.1)
    recession = person.hair_loss * _ramp(age, 24.0, 66.0)
    style = person.hair_style
    if age < 2.5:
        style = _CROP  # babies have but little hair
    elif (recession > 0.72 and style not in _COVERS_EARS | _TIED) or (style == _BALD and age >= 26.0):
        style = _BALD
    elif style == _BALD:
        style = _CROP
    skin = _palette(_SKIN, person.skin_tone)
    warm = 0.02 * person.skin_warmth
    skin = (skin[0], skin[1] + warm, skin[2] - 1.5 * warm)
    # Old skin is a little paler and greyer.
    skin = _mix(skin, (0.80, 0.74, 0.68), 0.12 * old * (1.0 - person.skin_tone))
    shade = (skin[0] * 0.80, skin[1] * 0.70, skin[2] * 0.66)
    line = (skin[0] * 0.50, skin[1] * 0.40, skin[2] * 0.38)
    grey = _ramp(age, person.grey_onset - 16.0, person.grey_onset + 16.0)
    hair = _mix(person.hair_color, _GREY, 0.92 * grey)
    if child > 0.4:  # hair darkens with the years
        hair = _mix(hair, (0.92, 0.76, 0.50), 0.25 * child * (1.0 - person.skin_tone))
    brow = _times(_mix(_mix(person.hair_color, _BLACK, 0.15), (0.6, 0.6, 0.6), 0.7 * grey), 0.85)
    width = (0.735 + 0.075 * child) * person.face_width
    eye_w = (0.172 + 0.045 * child) * (1.0 + 0.13 * person.eye_size) * (1.0 - 0.08 * old)
    eye_h = (0.098 + 0.055 * child) * (1.0 + 0.13 * person.eye_size + 0.2 * person.eye_roundness) * (1.0 - 0.28 * old)
    eye_v = 0.02 + 0.17 * child + 0.035 * person.eye_height
    mouth_v = 0.60 + 0.055 * child + 0.03 * person.mouth_height
    return _Look(
        age=age,
        child=child,
        old=old,
        wrinkles=_clip((age - 30.0) / 42.0, 0.0, 1.2) * person.wrinkle_strength,
        recession=recession,
        style=style,
        skin=skin,
        shade=shade,
        line=line,
        hair=hair,
        brow=brow,
        width=width,
        chin_v=1.0 - 0.06 * child + 0.04 * person.chin,
        eye_u=(0.335 + 0.01 * child + 0.035 * person.eye_spacing) * (0.6 + 0.4 * person.face_width),
        eye_v=eye_v,
        eye_w=eye_w,
        eye_h=eye_h,
        brow_v=eye_v - (0.235 - 0.01 * child + 0.02 * person.brow_arch - 0.03 * old),
        nose_v=eye_v + (0.36 - 0.14 * child + 0.05 * person.nose_length * (1.0 - 0.6 * child) + 0.02 * old),
        mouth_v=mouth_v,
        mouth_w=(0.275 - 0.06 * child) * (1.0 + 0.15 * person.mouth_width),
        ear_u=width + 0.015,
        hair_gap=0.03 + 0.07 * person.hair_volume * (1.0 - 0.6 * recession) * (1.0 - 0.25 * old),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def _background(picture: Picture, size: int, canvas: int) -> Image.Image:
    # Made at the picture's own size and enlarged: it is out of focus anyway.
    first, second = (np.asarray(c) for c in picture.background_colors)
    rng = np.random.default_rng(picture.background_seed)
    axis = (np.arange(size) + 0.5) / size
    x, y = axis[None, :], axis[:, None]
    angle, phase, period = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.0, 1.0), rng.uniform(0.12, 0.35)
    along = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    if picture.background == _PLAIN:
        t = 0.06 * along + np.zeros((size, size))
    elif picture.background == _GRADIENT:
        t = np.clip(along * 0.9 + 0.5, 0.0, 1.0)
    elif picture.background == _STRIPES:
        t = np.clip(0.5 + 1.6 * np.sin((along / period + phase) * 2.0 * math.pi), 0.0, 1.0) * 0.6
    else:
        t = np.zeros((size, size))
        for cx, cy, r in rng.uniform((-0.1, -0.1, 0.1), (1.1, 1.1, 0.3), (5, 3)).tolist():
            t = np.maximum(t, np.exp(-((((x - cx) ** 2 + (y - cy) ** 2) / (r * r)) ** 2)))
    field = first + (second - first) * t[:, :, None]
    small = Image.fromarray(np.clip(field * 255.0, 0.0, 255.0).astype(np.uint8))
    return small.resize((canvas, canvas), Image.Resampling.BILINEAR)


def _outline(person: Person, look: _Look) -> Points:
    # Children have round cheeks and small chins, the old heavier jaws.
    w, child = look.width, look.child
    cheek = 0.945 + 0.03 * person.cheeks + 0.03 * child
    jaw = 0.735 + 0.085 * person.jaw * (1.0 - 0.6 * child) + 0.03 * child + 0.07 * look.old
    chin = 0.37 + 0.06 * person.chin + 0.05 * person.jaw - 0.01 * child + 0.03 * look.old
    bottom = look.chin_v
    half = np.array(
        (
            (0.0, -1.0),
            (0.60 * w, -0.86),
            (0.93 * w, -0.46),
            (w, -0.05),
            (cheek * w, 0.34 + 0.04 * child),
            (jaw * w, 0.69 * bottom),
            (chin * w, 0.94 * bottom),
            (0.0, bottom),
        )
    )
    return _closed_curve(_mirrored(half))


def _clothes(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    grown = 1.0 - look.child
    neck = 0.30 + 0.08 * grown + (0.035 * grown if person.male else -0.01)
    shoulder = 1.02 + 0.22 * grown + (0.16 * grown if person.male else 0.0)
    skin = _mix(look.skin, look.shade, 0.45)
    throat = np.array(
        ((-neck, 0.4), (neck, 0.4), (neck * 0.98, 1.15), (neck * 1.5, 1.42), (-neck * 1.5, 1.42), (-neck * 0.98, 1.15))
    )
    cloth = picture.clothing_color
    body = np.array(
        ((neck * 1.08, 1.19), (0.62, 1.27), (shoulder * 0.92, 1.39), (shoulder * 1.12, 1.7), (shoulder * 1.2, 2.4))
    )
    right = _open_curve(body, 5)
    left = right[::-1] * np.array((-1.0, 1.0))
    c.fill(np.concatenate((right, left)), cloth)
    c.fill(throat, skin)
    # The head throws its shadow on the neck.
    c.fill(_circle(16) * np.array((neck * 1.02, 0.2)) + np.array((0.0, look.chin_v + 0.0)), look.shade, 0.75)
    dip = {_CREW_NECK: 0.1, _V_NECK: 0.34, _COLLAR: 0.25}[picture.clothing]
    u = np.linspace(-1.0, 1.0, 13)
    drop = 1.0 - np.abs(u) ** (2.0 if picture.clothing == _CREW_NECK else 1.0)
    neckline = np.stack((u * neck * 1.12, 1.19 + dip * drop), axis=1)
    c.fill(np.concatenate((neckline, ((0.85, 1.45), (0.85, 2.0), (-0.85, 2.0), (-0.85, 1.45)))), cloth)
    c.stroke(neckline, 0.07, _times(cloth, 0.68), taper=0.2)
    if picture.clothing == _COLLAR:
        for side in (-1.0, 1.0):
            flap = np.array(((neck * 1.0, 1.08), (neck * 1.35, 1.22), (0.3, 1.5), (0.02, 1.4))) * np.array((side, 1.0))
            c.fill(flap, _mix(cloth, _WHITE, 0.35))
    for side in (-1.0, 1.0):
        c.stroke(
            np.array(((side * shoulder * 0.72, 1.6), (side * shoulder * 0.68, 2.2))), 0.05, _times(cloth, 0.7), 0.6
        )


def _ears(c: _Canvas, person: Person, look: _Look) -> None:
    size = 1.0 + 0.22 * person.ear_size + 0.14 * look.old
    v = look.eye_v + 0.1
    for side in (-1.0, 1.0):
        ear = np.array(((-0.07, -0.15), (0.03, -0.18), (0.095, -0.09), (0.07, 0.06), (0.015, 0.17), (-0.06, 0.15)))
        at = np.array((side * look.ear_u, v))
        curve = _closed_curve(ear * np.array((side * size, size)), 4)
        c.fill(curve + at, _mix(look.skin, look.shade, 0.7), depth=-0.15)
        c.fill(curve * np.array((0.6, 0.6)) + at, _mix(look.skin, look.line, 0.55), 0.7, depth=-0.15)
        if person.earrings and look.age > 8.0:
            c.disc(side * (look.ear_u + 0.05), v + 0.2 * size, 0.045, (0.95, 0.82, 0.35), depth=-0.15)


def _face(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    outline = _outline(person, look)
    # A thin dark edge sets the face off from the ears and the neck.
    c.fill(outline * np.array((1.022, 1.012)), _mix(look.shade, look.line, 0.45), depth=_RIM)
    c.fill(outline, _mix(look.skin, look.shade, 0.62), depth=_RIM)
    # The lit part of the face leans towards the light and fades before the rim, which makes the head look round.
    lean_u = 0.09 * math.cos(picture.light_angle - picture.roll)
    lean_v = 0.05 * math.sin(picture.light_angle - picture.roll)
    reach = look.width * 1.06
    c.glow(lean_u, -0.05 + lean_v, reach, 1.02, look.skin, 1.0, _RIM, plateau=True)
    light = _mix(look.skin, _WHITE, 0.4)
    c.glow(2.0 * lean_u, -0.42 + lean_v, 0.42, 0.30, light, 0.40, 0.6)
    smile = max(picture.smile, 0.0)
    cheek_v = look.nose_v - 0.03 - 0.03 * smile + 0.05 * look.old
    red = _mix(look.skin, (0.93, 0.32, 0.28), 0.5)
    rosy = (0.15 + 0.35 * person.rosiness + 0.25 * look.child + 0.15 * smile) * (1.0 - 0.35 * look.old)
    for side in (-1.0, 1.0):
        c.glow(side * look.width * 0.60, cheek_v, 0.24, 0.2, red, rosy, 0.6)
        # Eye sockets, deeper with age.
        c.glow(side * look.eye_u, look.eye_v - 0.07, 0.25, 0.2, look.shade, 0.28 + 0.3 * look.old, 0.7)
    c.glow(0.0, look.chin_v - 0.13, 0.2, 0.11, light, 0.22, 0.7)


def _marks(c: _Canvas, person: Person, look: _Look) -> None:
    dark = _mix(look.skin, look.line, 0.75)
    fresh = _mix(look.skin, (0.60, 0.30, 0.14), 0.6)
    freckling = 1.0 - 0.5 * look.old
    for u, v in person.freckles:
        c.disc(u, v + 0.12 * look.child, 0.024, fresh, 0.65 * freckling, 0.7)
    for u, v, radius in person.moles:
        c.disc(u, v, radius, _times(dark, 0.75), 0.95, 0.7)
    if person.scar:
        u, v, angle, length = person.scar
        t = np.linspace(-0.5, 0.5, 6)[:, None] * length
        c.stroke(
            np.array((u, v)) + t * np.array((math.cos(angle), math.sin(angle))), 0.055, (0.86, 0.50, 0.48), 0.9, 0.7
        )
    teen = _ramp(look.age, 11.5, 14.5) * (1.0 - _ramp(look.age, 18.0, 22.0))
    for u, v in person.pimples:
        c.disc(u, v, 0.03, _mix(look.skin, (0.85, 0.2, 0.2), 0.6), 0.75 * teen, 0.7)
    spots = _ramp(look.age, 58.0, 80.0) * person.wrinkle_strength
    if spots > 0.02:
        for k in range(6):
            u, v = 0.55 * math.cos(2.4 * k + person.hair_phase), -0.55 + 0.16 * ((3 * k) % 5)
            c.disc(u, v, 0.035, (0.50, 0.33, 0.22), 0.4 * spots, 0.6)


def _wrinkles(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    w, line = look.wrinkles, look.line
    smile = max(picture.smile, 0.0)
    t = np.linspace(-1.0, 1.0, 9)
    fold = _clip(0.55 * w + 0.22 * smile * (1.0 - look.child), 0.0, 0.75)
    for side in (-1.0, 1.0):
        # From the side of the nose around the corner of the mouth.
        reach = np.array(
            (
                (0.15, look.nose_v - 0.03),
                (0.25, look.nose_v + 0.1),
                (look.mouth_w + 0.08, look.mouth_v - 0.03),
                (look.mouth_w + 0.06, look.mouth_v + 0.02 + 0.13 * look.old),
            )
        )
        c.stroke(_open_curve(reach * np.array((side, 1.0)), 4), 0.045, line, fold, 0.7)
        bag = np.stack(
            (look.eye_u + 0.8 * look.eye_w * t, look.eye_v + look.eye_h + 0.055 + 0.05 * (1 - t * t)), axis=1
        )
        tired = 0.3 * picture.tiredness * (1.0 - look.child)
        c.stroke(bag * np.array((side, 1.0)), 0.045, line, _clip(0.5 * w * w + tired, 0.0, 0.6), 0.75)
        for k in (-1, 0, 1):
            corner = np.array(
                (
                    (look.eye_u + look.eye_w + 0.05, look.eye_v + 0.035 * k),
                    (look.eye_u + look.eye_w + 0.15, look.eye_v + 0.09 * k),
                )
            )
            c.stroke(
                corner * np.array((side, 1.0)), 0.03, line, _clip(0.55 * w * (0.6 + 0.6 * smile), 0.0, 0.7), 0.6, 0.6
            )
        if look.old > 0.45:
            jowl = np.array(((0.62, 0.52), (0.60, 0.66), (0.50, 0.78))) * np.array((side * look.width, 1.0))
            c.stroke(_open_curve(jowl, 4), 0.06, look.shade, _clip(1.1 * (w - 0.3), 0.0, 0.8), 0.4)
    for k in range(3):
        v = look.brow_v - 0.17 - 0.115 * k
        arc = np.stack((0.38 * t, v - 0.02 * np.cos(2.2 * t + person.hair_phase)), axis=1)
        c.stroke(arc, 0.035, line, _clip(0.62 * w - 0.12 * k, 0.0, 0.6), 0.7)


def _eyes(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    w = look.eye_w
    h = look.eye_h * (1.0 - 0.5 * picture.squint)
    t = np.linspace(-1.0, 1.0, 13)
    radius = look.eye_h * 0.84 + 0.012
    gaze = np.array((0.22 * (w - radius) * picture.gaze[0], 0.15 * look.eye_h * picture.gaze[1]))
    white = _mix(_mix((0.98, 0.97, 0.96), look.skin, 0.08), (0.92, 0.86, 0.74), 0.5 * look.old)
    lash = _mix(look.line, _BLACK, 0.55 + 0.35 * person.lashes)
    for side in (-1.0, 1.0):
        # Outward is +: the same tilt then mirrors by itself.
        slope = -0.16 * person.eye_tilt + 0.14 * look.old
        at = np.array((look.eye_u, look.eye_v))
        upper = -h * (1.0 - np.abs(t) ** 2.4) + slope * t * w
        lower = 0.80 * h * (1.0 - t * t) + slope * t * w
        flip = np.array((side, 1.0))
        top = (np.stack((t * w, upper), axis=1) + at) * flip
        bottom = (np.stack((t * w, lower), axis=1) + at) * flip
        c.fill(np.concatenate((top, bottom[::-1])), white, depth=0.8)
        for r, color in (
            (radius, _times(person.eye_color, 0.62)),
            (0.80 * radius, person.eye_color),
            (0.45 * radius, _BLACK),
        ):
            # Cut the round shape by the lids.
            disc = _circle(20) * r + gaze * np.array((side, 1.0))
            s = np.clip(disc[:, 0] / w, -1.0, 1.0)
            low, high = slope * s * w - h * (1.0 - np.abs(s) ** 2.4), slope * s * w + 0.80 * h * (1.0 - s * s)
            disc[:, 1] = np.clip(disc[:, 1], low, high)
            c.fill((disc + at) * flip, color, depth=0.8)
        # The glint is on the same side in both eyes.
        glint = (at + gaze * flip) * flip
        c.disc(float(glint[0]) - 0.32 * radius, float(glint[1]) - 0.36 * h, 0.25 * radius + 0.006, _WHITE, 0.95, 0.8)
        c.stroke(top, 0.05 + 0.035 * person.lashes, lash, 0.95, 0.8, 0.55)
        c.stroke(bottom, 0.028, look.line, 0.55, 0.8, 0.8)
        if person.lashes > 0.5 and look.age > 3.0:
            tip = np.array(((0.92 * w, upper[-1] - 0.015), (1.12 * w, upper[-1] - 0.045), (1.25 * w, upper[-1] - 0.1)))
            c.stroke((tip + at) * flip, 0.05, lash, 0.9, 0.8, 0.9)
        # Old lids hang, so that their fold is lower and heavier.
        crease = (np.stack((t * w * 1.02, upper - 0.055 + 0.03 * look.old * (1 + t)), axis=1) + at) * flip
        c.stroke(crease, 0.03 + 0.03 * look.old, _mix(look.shade, look.line, 0.45), 0.6, 0.8, 0.8)


def _brows(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    t = np.linspace(-1.0, 1.0, 9)
    reach = look.eye_w * 1.18
    arch = 0.035 + 0.035 * person.brow_arch
    lift = 0.02 * max(picture.smile, 0.0) + 0.025 * picture.mouth_open * (not picture.smiling)
    thick = (0.088 + 0.04 * person.brow_thickness) * (1.0 - 0.42 * look.child) * (1.0 - 0.15 * look.old)
    for side in (-1.0, 1.0):
        v = (
            look.brow_v
            - lift
            - arch * (1.0 - (t - 0.25) ** 2)
            - 0.035 * (1.0 - 0.6 * look.child) * person.brow_tilt * t
            + 0.045 * look.old * np.maximum(t, 0)
        )
        curve = np.stack((side * (look.eye_u + 0.01 + reach * t), v), axis=1)
        c.stroke(curve, thick, look.brow, 0.9 - 0.4 * look.child, 0.75, 0.75)


def _nose(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    wide = (0.118 - 0.022 * look.child) * (1.0 + 0.24 * person.nose_width) * (1.0 + 0.12 * look.old)
    v, top = look.nose_v, look.eye_v - 0.02
    grown = 1.0 - 0.75 * look.child
    light = _mix(look.skin, _WHITE, 0.5)
    away = -1.0 if math.cos(picture.light_angle) > 0 else 1.0  # the side that lies in the shade
    side = np.array(
        (
            (0.055, top),
            (0.06, top + 0.5 * (v - top)),
            (wide * 1.0, v - 0.02),
            (0.03, v - 0.01),
            (0.015, top + 0.4 * (v - top)),
        )
    )
    c.fill(_closed_curve(side * np.array((away, 1.0)), 4), look.shade, (0.25 + 0.5 * person.nose_bridge) * grown, 1.0)
    c.glow(0.0, v + 0.01, wide * 1.5, 0.11, look.shade, 0.75, 1.05)
    c.glow(-0.02 * away, v - 0.05, wide * 0.85, 0.09, light, 0.55, 1.15)
    c.glow(-0.02 * away, v - 0.18 * grown - 0.05, 0.05, 0.2, light, 0.4 * grown, 1.1)
    u = np.linspace(-1.0, 1.0, 11)
    base = np.stack((u * wide, v + 0.035 - 0.05 * np.abs(u) ** 3 + 0.012 * np.cos(2 * math.pi * u)), axis=1)
    c.stroke(base, 0.04, look.line, 0.62, 1.1, 0.6)
    for s in (-1.0, 1.0):
        c.disc(s * wide * 0.52, v + 0.02, 0.034, _times(look.line, 0.72), 0.8, 1.1, 0.7)


def _mouth(c: _Canvas, person: Person, picture: Picture, look: _Look) -> None:
    smile, gap = picture.smile, picture.mouth_open
    w = look.mouth_w * (1.0 + 0.17 * max(smile, 0.0) - 0.08 * gap * (not picture.smiling))
    t = np.linspace(-1.0, 1.0, 17)
    bow = 1.0 - t * t
    middle = look.mouth_v + 0.075 * smile * bow - 0.035 * smile - 0.02 * gap
    opening = gap * (0.15 if picture.smiling else 0.19) * (1.0 - 0.25 * look.child) * np.sqrt(bow)
    plump = (0.055 + 0.022 * person.lip_fullness) * (1.0 - 0.42 * look.old) * (1.0 - 0.12 * max(smile, 0.0))
    paint = person.lip_redness * _ramp(look.age, 13.0, 19.0)
    lip = _mix(_mix(look.skin, (0.72, 0.25, 0.26), 0.45), (0.78, 0.09, 0.17), 0.75 * paint * (not person.male))
    lip = _mix(lip, look.shade, 0.35 * look.old * (1.0 - paint))
    upper = np.stack((w * t, middle), axis=1)
    lower = np.stack((w * t, middle + opening), axis=1)
    cupid = np.stack((w * t, middle - plump * bow * (1.0 - 0.45 * np.exp(-((t / 0.2) ** 2)))), axis=1)
    under = np.stack((w * 0.94 * t, middle + opening + 1.45 * plump * np.sqrt(bow) * (0.6 + 0.4 * bow)), axis=1)
    c.glow(0.0, float(under[8, 1]) + 0.05, 0.6 * w, 0.07, look.shade, 0.6, 0.9)
    c.fill(np.concatenate((cupid, under[::-1])), lip, depth=0.9)
    if gap > 0.0:
        c.fill(np.concatenate((upper, lower[::-1])), (0.33, 0.07, 0.09), depth=0.9)
        bite = np.minimum(opening * (0.75 if picture.smiling else 0.4), 0.1)
        enamel = _mix((0.98, 0.97, 0.95), (0.88, 0.80, 0.62), 0.6 * look.old)
        c.fill(
            np.concatenate((upper, (upper + np.stack((0 * t, bite), axis=1))[::-1])),
            enamel,
            1.0 if look.age > 1.5 else 0.0,
            0.9,
        )
        tongue = 0.5 * gap - 0.2
        c.disc(0.0, float(lower[8, 1]) - 0.02, 0.4 * w, (0.80, 0.36, 0.38), tongue, 0.9, 0.3)
    else:
        c.stroke(upper, 0.045, _mix(look.line, (0.35, 0.05, 0.08), 0.4), 0.9, 0.9, 0.7)
    c.glow(0.0, float(under[8, 1]) - 0.5 * plump, 0.4 * w, 0.04, _mix(lip, _WHITE, 0.5), 0.5, 0.95)
    for side in (0, -1):
        u, v = float(upper[side, 0]), float(upper[side, 1])
        c.disc(u, v, 0.03, look.line, 0.6, 0.9)


def _beard(c: _Canvas, person: Person, look: _Look) -> None:
    grown = _ramp(look.age, 15.0, 21.0)
    kind = person.beard
    if kind == _SHAVEN or grown < 0.05:
        return
    color = _mix(look.hair, _times(look.hair, 0.8), 0.5)
    w, mouth = look.width, look.mouth_v
    if kind in (_STUBBLE, _FULL_BEARD):
        full = kind == _FULL_BEARD
        reach = 0.07 if full else 0.0
        jaw = 0.735 + 0.085 * person.jaw + 0.07 * look.old
        outer = np.array(
            (
                (0.985 * w, 0.05),
                (0.95 * w + 0.4 * reach, 0.35),
                (jaw * w + reach, 0.69 * look.chin_v),
                (0.40 * w + 0.5 * reach, 0.95 * look.chin_v + reach),
                (0.0, look.chin_v + 1.4 * reach),
            )
        )
        inner = np.array(
            (
                (0.0, mouth - 0.11),
                (0.2, mouth - 0.12),
                (look.mouth_w + 0.1, mouth + 0.01),
                (0.78 * w, 0.36),
                (0.88 * w, 0.05),
            )
        )
        right = np.concatenate((_open_curve(outer, 4), _open_curve(inner, 4)))
        loop = np.concatenate(
            (right[:17], right[:17][-2::-1] * np.array((-1, 1)), right[:16:-1] * np.array((-1, 1)), right[17:])
        )
        c.fill(loop, color, (0.95 if full else 0.28) * grown, _RIM)
        if full:
            for k in range(-4, 5):
                curl = np.array(((0.09 * k, mouth + 0.18), (0.105 * k, look.chin_v - 0.02)))
                c.stroke(curl, 0.03, _mix(color, _WHITE, 0.25), 0.4, 0.5)
    if kind == _GOATEE:
        tuft = np.array(
            (
                (0.0, mouth + 0.13),
                (0.17, mouth + 0.15),
                (0.2, look.chin_v - 0.08),
                (0.1, look.chin_v + 0.06),
                (0.0, look.chin_v + 0.09),
            )
        )
        c.fill(_closed_curve(_mirrored(tuft), 4), color, 0.92 * grown, 0.6)
    if kind in (_MOUSTACHE, _GOATEE, _FULL_BEARD):
        lip = np.array(
            (
                (0.0, mouth - 0.145),
                (0.13, mouth - 0.14),
                (look.mouth_w + 0.03, mouth + 0.0),
                (0.12, mouth - 0.055),
                (0.0, mouth - 0.06),
            )
        )
        c.fill(_closed_curve(_mirrored(lip), 4), _times(color, 0.92), 0.95 * grown, 0.95)


def _cap(person: Person, look: _Look, end: float, gap: float) -> Points:
    # The outer rim of the hair over the skull, from the right side at height `end` to the left one.
    v0, ru, rv = -0.20, look.width + 0.05 + gap, 0.83 + 1.1 * gap
    limit = math.acos(_clip((v0 - end) / rv, -1.0, 1.0))
    a = np.linspace(limit, -limit, 41)
    r = np.ones_like(a)
    if look.style in (_CURLY, _AFRO):
        r += 0.055 * np.abs(np.sin(a * (5.5 if look.style == _AFRO else 4.5) + person.hair_phase))
    elif look.style == _QUIFF:
        r += 0.13 * np.exp(-(((a - 0.35 * person.parting) / 0.5) ** 2)) + 0.03 * np.abs(
            np.sin(7 * a + person.hair_phase)
        )
    elif look.style == _SHORT:
        r += 0.018 * np.sin(9 * a + person.hair_phase)
    return np.stack((ru * r * np.sin(a), v0 - rv * r * np.cos(a)), axis=1)


def _hairline(person: Person, look: _Look, end: float) -> Points:
    # The lower edge of the hair on the forehead, from the left side to the right one.
    w, side = look.width, float(person.parting)
    high = -0.66 - 0.07 * person.hairline + 0.05 * look.child
    brow = min(look.brow_v - 0.09, -0.16)
    fringe = person.fringe
    if look.age < 2.5 or look.style in (_CROP, _QUIFF) or look.style == _AFRO:
        fringe = _FRINGE_NONE
    elif look.style == _CURLY and fringe == _FRINGE_STRAIGHT:
        fringe = _FRINGE_JAGGED
    if fringe == _FRINGE_STRAIGHT:
        inner = np.array(
            (
                (-0.82, brow + 0.05),
                (-0.6, brow - 0.0),
                (-0.2, brow + 0.0),
                (0.2, brow),
                (0.6, brow),
                (0.82, brow + 0.05),
            )
        )
    elif fringe == _FRINGE_JAGGED:
        u = np.linspace(-0.8, 0.8, 9)
        inner = np.stack((u, brow - 0.06 + 0.07 * np.cos(np.arange(9) * math.pi)), axis=1)
    elif fringe == _FRINGE_SWEPT:
        inner = np.array(
            (
                (-0.86, brow + 0.08),
                (-0.66, brow - 0.04),
                (-0.3, brow - 0.12),
                (0.12, high + 0.1),
                (0.36, high - 0.12),
                (0.62, high + 0.14),
                (0.86, -0.3),
            )
        )
    elif fringe == _FRINGE_CENTRE:
        inner = np.array(
            (
                (-0.88, -0.05),
                (-0.72, -0.38),
                (-0.36, -0.66),
                (0.0, high - 0.17),
                (0.36, -0.66),
                (0.72, -0.38),
                (0.88, -0.05),
            )
        )
    else:
        inner = np.array(
            (
                (-0.87, -0.28),
                (-0.76, high + 0.16),
                (-0.45, high),
                (0.0, high + 0.03),
                (0.45, high),
                (0.76, high + 0.16),
                (0.87, -0.28),
            )
        )
    if fringe == _FRINGE_SWEPT and side < 0:
        inner = inner[::-1] * np.array((-1.0, 1.0))
    # Receding hair goes first at the temples.
    back = look.recession * (0.55 + 0.45 * np.clip(np.abs(inner[:, 0]) / 0.5, 0.0, 1.0)) * (np.abs(inner[:, 0]) < 0.85)
    inner[:, 1] += back * (-0.93 - inner[:, 1])
    inner[:, 0] *= w * (1.0 - 0.1 * look.recession)
    ends = np.array(((-w * 1.0, end), (w * 1.0, end)))
    return np.concatenate((ends[:1], _open_curve(inner, 5), ends[1:]))


def _hair_behind(c: _Canvas, person: Person, look: _Look) -> None:
    style, w, gap = look.style, look.width, look.hair_gap
    dark = _times(look.hair, 0.72)
    if style == _AFRO:
        a = np.linspace(0.0, 2.0 * math.pi, 56, endpoint=False)
        r = 1.0 + 0.05 * np.abs(np.sin(7.0 * a + person.hair_phase))
        big = 0.2 + 1.6 * gap
        c.fill(np.stack(((w + big) * r * np.sin(a), -0.28 - (0.76 + big) * r * np.cos(a)), axis=1), dark, depth=-0.2)
    elif style in _COVERS_EARS:
        bottom = {_BOB: 0.82, _LONG: 1.62, _WAVY: 1.5}[style] + 0.08 * person.hairline
        v = np.linspace(-0.2, bottom, 16)
        wave = 0.06 * np.sin(8.0 * v + person.hair_phase) if style == _WAVY else 0.0
        flare = (0.10 if style == _BOB else 0.06) * np.sin((v + 0.2) / (bottom + 0.2) * math.pi)
        u = w + 0.05 + gap + flare + wave
        right = np.stack((u, v), axis=1)
        top = _cap(person, look, -0.2, gap)[::-1]
        c.fill(np.concatenate((top, right, (right * np.array((-1.0, 1.0)))[::-1])), dark, depth=-0.2)
    elif style == _BUN:
        c.disc(0.1 * person.parting, -1.08 - gap, 0.25, dark, depth=-0.3)
        c.disc(0.1 * person.parting, -1.10 - gap, 0.18, look.hair, depth=-0.3)
    elif style == _TAIL:
        s = float(person.parting)
        tail = np.array(
            (
                (0.3, -0.9),
                (0.95, -0.9),
                (1.24, -0.4),
                (1.22, 0.25),
                (1.06, 0.68),
                (0.92, 0.3),
                (0.74, -0.1),
                (0.6, -0.5),
            )
        ) * np.array((s, 1.0))
        c.fill(_closed_curve(tail), dark, depth=-0.3)
    elif style == _PIGTAILS:
        for s in (-1.0, 1.0):
            tail = np.array(((0.86, -0.3), (1.12, -0.3), (1.24, 0.1), (1.12, 0.5), (0.98, 0.62), (0.96, 0.2)))
            c.fill(_closed_curve(tail * np.array((s * (0.2 + 0.8 * w / 0.75), 1.0))), dark, depth=-0.2)


def _hair(c: _Canvas, person: Person, look: _Look) -> None:
    style, w, hair, gap = look.style, look.width, look.hair, look.hair_gap
    light, dark = _mix(hair, _WHITE, 0.28), _times(hair, 0.7)
    depth = 0.7 * _RIM
    if style == _BALD:
        for s in (-1.0, 1.0):
            patch = np.array(((0.93, 0.1), (1.09, 0.02), (1.12, -0.25), (1.0, -0.52), (0.9, -0.45), (0.93, -0.15)))
            c.fill(_closed_curve(patch * np.array((s * w, 1.0)), 4), hair, depth=depth)
        c.glow(0.1, -0.78, 0.25, 0.13, _WHITE, 0.3, 0.5)
        return
    baby = look.age < 2.5
    if style == _CROP:
        gap = 0.012 + 0.25 * gap
    elif style in (_CURLY, _QUIFF):
        gap = gap + 0.05
    elif style == _AFRO:
        gap = gap + 0.1
    end = {_CROP: -0.12, _SHORT: 0.02, _QUIFF: -0.02, _CURLY: 0.05, _AFRO: -0.05}.get(style, -0.1)
    if style in _COVERS_EARS:
        end = 0.1
    rim, edge = _cap(person, look, end, gap), _hairline(person, look, end)
    # The skin shows through a baby's thin hair.
    c.fill(np.concatenate((rim, edge)), _mix(look.skin, hair, 0.55) if baby else hair, 1.0, depth)
    if baby:
        return
    if style in _COVERS_EARS:
        # Locks in front of the ears, down to the tips.
        bottom = {_BOB: 0.72, _LONG: 1.5, _WAVY: 1.4}[style] + 0.08 * person.hairline
        v = np.linspace(-0.35, bottom, 14)
        wave = 0.05 * np.sin(8.0 * v + person.hair_phase) if style == _WAVY else 0.0 * v
        flare = (0.09 if style == _BOB else 0.05) * np.sin(np.clip((v + 0.2) / (bottom + 0.2), 0, 1) * math.pi)
        falls = np.clip((v + 0.35) / (bottom + 0.35), 0.0, 1.0)
        outer = w + 0.045 + gap + wave + flare - 0.03 * falls
        inner = 0.86 * w + 0.1 * falls + wave - 0.5 * np.maximum(falls - 0.8, 0.0) * (style == _BOB)
        strip = np.concatenate((np.stack((outer, v), axis=1), np.stack((inner, v), axis=1)[::-1]))
        for s in (-1.0, 1.0):
            c.fill(strip * np.array((s, 1.0)), hair, depth=depth)
            strand = np.stack((s * (0.5 * inner + 0.5 * outer), v), axis=1)
            c.stroke(strand, 0.05, dark, 0.4, depth)
            c.stroke(strand + np.array((s * 0.05, 0.0)), 0.04, light, 0.35, depth)
    if style in (_CURLY, _AFRO):
        for k in range(13):
            a = -1.5 + 0.25 * k
            r = 0.90 + 0.1 * math.sin(2.9 * k + person.hair_phase)
            c.disc(
                (w + gap) * r * math.sin(a),
                -0.2 - (0.84 + gap) * r * math.cos(a),
                0.1,
                light if k % 2 else dark,
                0.22,
                depth,
            )
        return
    # Strands from the parting outwards and a band of shine.
    part = 0.3 * person.parting if person.fringe != _FRINGE_CENTRE else 0.0
    for k in range(6):
        u = -0.75 + 0.3 * k + 0.05 * math.sin(k + person.hair_phase)
        start, stop = (
            rim[20 - round(14 * part)] * 0.96,
            np.array((u * w, -0.62 - 0.12 * look.recession - 0.2 * (0.75 - abs(u)) * 0.5)),
        )
        bend = np.array((0.55 * u * w + 0.45 * float(start[0]), -0.92 - 0.5 * gap))
        c.stroke(_open_curve(np.stack((start, bend, stop)), 4), 0.035, dark, 0.4 * (1.0 - look.recession), depth)
    shine = rim[12:29] * np.array((0.80, 0.90)) + np.array((0.0, 0.02))
    c.stroke(shine, 0.09, light, 0.4 * (1.0 - look.recession), depth)


def _glasses(c: _Canvas, person: Person, look: _Look) -> None:
    if person.glasses == _NO_GLASSES or look.age < 3.0:
        return
    frame = person.glasses_color
    r = min(look.eye_w + 0.085, look.eye_u - 0.05)
    if person.glasses == _ROUND_GLASSES:
        rim = _circle(24) * np.array((r, r * 1.02))
    else:
        unit = _circle(24)
        rim = np.sign(unit) * np.abs(unit) ** 0.55 * np.array((r * 1.03, r * 0.78))
    v = look.eye_v + 0.015
    for side in (-1.0, 1.0):
        lens = rim + np.array((side * (look.eye_u + 0.01), v))
        c.fill(lens, _WHITE, 0.13, 0.95)
        if person.glasses == _HALF_RIM_GLASSES:
            c.stroke(lens[np.r_[12:24, 0:1]], 0.06, frame, 1.0, 0.95, 0.0)
        else:
            c.ring(lens, 0.045, frame, 0.95)
        # The arm to the ear is hidden on the side that the head has turned to.
        hinge, ear = (
            c.place(np.array(((side * (look.eye_u + r), v - 0.06),)), 0.95),
            np.array(((side * look.ear_u, v - 0.06),)),
        )
        far = c.place(ear, _RIM)
        if side * ((far - hinge) @ np.array((c.cos, c.sin))).item() > 0.0:
            ends = np.concatenate((hinge, far)).ravel().tolist()
            c.pen.line(ends, fill=_ink(frame, 1.0), width=max(1, round(0.045 * c.unit)))
        c.stroke(
            np.array((((side * look.eye_u) - 0.09, v + 0.02), ((side * look.eye_u) + 0.02, v - 0.12))),
            0.03,
            _WHITE,
            0.45,
            0.95,
        )
    gap = look.eye_u + 0.01 - r
    bridge = np.array(((-gap, v - 0.02), (0.0, v - 0.06), (gap, v - 0.02)))
    c.stroke(bridge, 0.045, frame, 1.0, 0.98, 0.0)


def _sensor(picture: Picture, image: Image.Image) -> npt.NDArray[np.uint8]:
    # Light falls on everything at last; then the sensor adds its noise.
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


def draw_face(person: Person, picture: Picture, size: int = 64) -> npt.NDArray[np.uint8]:
    """Draw one picture of one person.

    The same arguments always give the same pixels.

    Args:
        person: Who is drawn.
        picture: Age, pose, light and everything else that differs between pictures.
        size: Width and height of the result in pixels; made for 32..128.

    Returns:
        RGB picture of shape ``(size, size, 3)``, uint8.
    """
    factor = max(3, math.ceil(224 / size))
    large = _background(picture, size, size * factor)
    look = _look(person, picture)
    c = _Canvas(large, picture)
    _hair_behind(c, person, look)
    # The body follows the head only a little.
    c.turn(0.3 * picture.roll, 0.3 * picture.yaw, 0.0)
    _clothes(c, person, picture, look)
    c.turn(picture.roll, picture.yaw, picture.pitch)
    if look.style not in _COVERS_EARS:
        _ears(c, person, look)
    _face(c, person, picture, look)
    _marks(c, person, look)
    _wrinkles(c, person, picture, look)
    _beard(c, person, look)
    _mouth(c, person, picture, look)
    _nose(c, person, picture, look)
    _eyes(c, person, picture, look)
    _brows(c, person, picture, look)
    _hair(c, person, look)
    _glasses(c, person, look)
    return _sensor(picture, large.reduce(factor))


def contact_sheet(faces: npt.NDArray[np.uint8], columns: int, gap: int = 2) -> npt.NDArray[np.uint8]:
    """Lay pictures out in rows on a white sheet.

    Args:
        faces: Pictures of shape ``(N, H, W, 3)``, uint8.
        columns: Pictures per row; the last row may be shorter.
        gap: White pixels between pictures and around them.

    Returns:
        The sheet, uint8, of shape ``(rows * (H + gap) + gap, columns * (W + gap) + gap, 3)``.

    Raises:
        ValueError: If the shapes or numbers make no sheet.
    """
    if faces.ndim != 4 or faces.shape[3] != 3 or len(faces) == 0:
        raise ValueError(f"faces must have shape (N, H, W, 3) with N > 0, got {faces.shape}")
    if columns < 1 or gap < 0:
        raise ValueError(f"columns must be positive and gap not negative, got {columns} and {gap}")
    n, h, w, _ = faces.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), 255, dtype=np.uint8)
    for i, face in enumerate(faces):
        top, left = gap + (i // columns) * (h + gap), gap + (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = face
    return sheet
