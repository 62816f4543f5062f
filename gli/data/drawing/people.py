"""Drawn people: what stays the same in all pictures of a person, and what differs between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gli.data.drawing.blend import Color, clip, mix, ramp, scale

AGE_CLASSES: tuple[tuple[int, int], ...] = ((0, 6), (7, 12), (13, 19), (20, 30), (31, 45), (46, 55), (56, 66), (67, 80))
"""First and last whole year of each age class; :func:`sample_person` samples every class equally often."""
_MAX_AGE = float(AGE_CLASSES[-1][1])


#: Values of :attr:`Person.hair_style`.
HairStyle = IntEnum("HairStyle", "CROP SHORT QUIFF CURLY AFRO BOB LONG WAVY BUN TAIL PIGTAILS BALD", start=0)
#: Values of :attr:`Person.fringe`.
Fringe = IntEnum("Fringe", "NONE STRAIGHT SWEPT CENTRE JAGGED", start=0)
#: Values of :attr:`Person.beard`.
Beard = IntEnum("Beard", "NONE STUBBLE MOUSTACHE GOATEE FULL", start=0)
#: Values of :attr:`Person.glasses`.
Glasses = IntEnum("Glasses", "NONE ROUND SQUARE HALF_RIM", start=0)
#: Values of :attr:`Picture.background`.
Background = IntEnum("Background", "PLAIN GRADIENT BLOBS STRIPES", start=0)
#: Values of :attr:`Picture.clothing`.
Collar = IntEnum("Collar", "CREW_NECK V_NECK SHIRT", start=0)
COVERS_EARS = frozenset({HairStyle.BOB, HairStyle.LONG, HairStyle.WAVY})
"""Hair styles that hang over the ears."""
TIED = frozenset({HairStyle.BUN, HairStyle.TAIL, HairStyle.PIGTAILS})
"""Hair styles that are tied behind the head."""

# Weights of the hair styles, in their order.
_MALE_STYLE_WEIGHTS = (0.22, 0.28, 0.17, 0.12, 0.05, 0.03, 0.03, 0.03, 0.01, 0.02, 0.00, 0.04)
_FEMALE_STYLE_WEIGHTS = (0.03, 0.08, 0.02, 0.10, 0.06, 0.19, 0.17, 0.15, 0.08, 0.08, 0.04, 0.00)

_HAIR_COLORS: tuple[Color, ...] = (
    (0.10, 0.09, 0.10),  # black
    (0.22, 0.15, 0.11),
    (0.36, 0.23, 0.14),
    (0.54, 0.38, 0.23),
    (0.86, 0.70, 0.42),  # blonde
    (0.70, 0.33, 0.15),  # ginger
    (0.43, 0.17, 0.12),  # auburn
)
_FIRST_RED = 5
_EYE_COLORS: tuple[Color, ...] = (
    (0.34, 0.20, 0.10),
    (0.18, 0.11, 0.08),
    (0.25, 0.47, 0.76),
    (0.27, 0.50, 0.28),
    (0.45, 0.54, 0.60),
    (0.52, 0.38, 0.16),
)
_FRAME_COLORS: tuple[Color, ...] = (
    (0.08, 0.08, 0.09),
    (0.34, 0.18, 0.09),
    (0.60, 0.12, 0.15),
    (0.12, 0.22, 0.50),
    (0.72, 0.60, 0.30),
    (0.10, 0.42, 0.38),
)
# (u, v) of scars on the right half of the face, away from the eyes and the mouth.
_SCAR_PLACES = ((0.3, -0.45), (0.42, 0.3), (0.25, 0.78))


@dataclass(frozen=True)
class Person:
    """What stays the same in all pictures of one drawn person.

    Fields with the range "-1..1" and no unit are deviations from the average person. Positions are in the face
    coordinates of :mod:`gli.data.drawing.canvas`.
    """

    male: bool  # whether the proportions are male (male and female proportions overlap)
    base_age: float  # age in years, 0..80, near which the ages in the person's pictures are
    looks_older: float  # years by which an adult of this look seems older (or, if negative, younger) than they are
    grey_onset: float  # apparent age in years at which half of the hair is grey
    wrinkle_strength: float  # factor on wrinkles, 0.4..1.7
    hair_loss: float  # share of the hair lost in old age, 0..1
    skin_tone: float  # 0 (light) to 1 (dark)
    skin_warmth: float  # -1 (pink) to 1 (golden)
    rosiness: float  # redness of the cheeks, 0..1
    face_width: float  # factor on the width of the face, about 0.88..1.12
    jaw: float  # width of the jaw, -1..1
    chin: float  # width and length of the chin, -1..1
    cheeks: float  # width of the cheeks, -1..1
    hair_style: int  # a HairStyle as a plain int, 0..11
    hair_color: Color  # red, green and blue of the hair before it turns grey, 0..1
    hair_volume: float  # distance of the hair from the skull, 0..1
    hair_phase: float  # radians; shifts curls and strands
    hairline: float  # height of the hairline, -1 (low) to 1 (high)
    fringe: int  # a Fringe as a plain int, 0..4
    parting: int  # side of the parting, -1 or 1
    eye_color: Color  # red, green and blue of the iris, 0..1
    eye_spacing: float  # -1 (close) to 1 (wide)
    eye_size: float  # -1..1
    eye_height: float  # -1 (high) to 1 (low)
    eye_roundness: float  # -1 (narrow) to 1 (round)
    eye_tilt: float  # -1 (outer corners low) to 1 (high)
    lashes: float  # strength of the lashes, 0..1
    brow_thickness: float  # -1..1
    brow_arch: float  # -1 (flat) to 1 (arched)
    brow_tilt: float  # -1 (outer ends low) to 1 (high)
    nose_length: float  # -1..1
    nose_width: float  # -1..1
    nose_bridge: float  # strength of the shadow beside the bridge of the nose, 0..1
    mouth_width: float  # -1..1
    mouth_height: float  # -1 (high) to 1 (low)
    lip_fullness: float  # -1..1
    lip_redness: float  # 0 (bare) to 1 (lipstick); visible from the teens on
    ear_size: float  # -1..1
    beard: int  # a Beard as a plain int, 0..4; visible on adults only
    glasses: int  # a Glasses as a plain int, 0..3
    glasses_color: Color  # red, green and blue of the frame, 0..1
    earrings: bool  # whether the person wears earrings
    freckles: tuple[tuple[float, float], ...]  # ``(u, v)`` of each freckle
    moles: tuple[tuple[float, float, float], ...]  # ``(u, v, radius)`` of each mole
    scar: tuple[float, ...]  # ``(u, v, angle, length)`` of a scar, or an empty tuple
    pimples: tuple[tuple[float, float], ...]  # ``(u, v)`` of each pimple, visible in the teens


@dataclass(frozen=True)
class Picture:
    """What differs between the pictures of one drawn person."""

    age: float  # age in whole years, 0..80
    smiling: bool  # whether the person smiles
    smile: float  # curve of the mouth, -0.1 (slightly down) to 1 (broad smile)
    mouth_open: float  # 0 (closed) to 1 (wide open)
    squint: float  # how much the eyes are narrowed, 0..1
    gaze: tuple[float, float]  # shift of the irises to the right and down, each -1..1
    shift_x: float  # shift of the head to the right, as a share of the picture's width
    shift_y: float  # shift of the head down, as a share of the picture's height
    roll: float  # tilt of the head in radians, clockwise
    yaw: float  # turn of the head in radians, positive to the right of the picture
    pitch: float  # nod of the head in radians, positive downwards
    scale: float  # factor on the size of the head
    tiredness: float  # strength of the shadows under the eyes, 0..1
    brightness: float  # factor on all light
    light_angle: float  # direction in radians in which the picture gets brighter
    light_strength: float  # relative gain from the centre to the edge in that direction, 0..0.4
    warmth: float  # colour of the light, -1 (blue) to 1 (orange)
    background: int  # a Background as a plain int, 0..3
    background_colors: tuple[Color, Color]  # its two colours, each red, green and blue 0..1
    background_seed: int  # seed of the positions of its gradient, blobs or stripes
    clothing: int  # a Collar as a plain int, 0..2
    clothing_color: Color  # red, green and blue, 0..1
    noise: float  # standard deviation of the sensor noise, as a share of full white
    noise_seed: int  # seed of the sensor noise


# Random values are plain Python numbers, whose ``repr`` does not depend on the version of NumPy.


def _sample_bool(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _sample_index(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    return int(rng.choice(len(weights), p=np.asarray(weights) / math.fsum(weights)))


def _sample_normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Sample from a normal distribution and clip the value to ``low..high``."""
    return float(np.clip(rng.normal(mean, sd), low, high))


def _sample_shift(rng: np.random.Generator, mean: float = 0.0, sd: float = 0.5) -> float:
    """Sample a deviation from the average: normal, clipped to -1..1."""
    return _sample_normal(rng, mean, sd, -1.0, 1.0)


def _sample_hair_color(tone: float, rng: np.random.Generator) -> Color:
    """Sample a hair colour; fair hair is rare with dark skin."""
    dark = ramp(tone, 0.35, 0.7)
    fair = 1.0 - dark
    weights = (0.15 + 0.6 * dark, 0.25, 0.2 * fair + 0.1, 0.17 * fair, 0.2 * fair + 0.01, 0.1 * fair, 0.08)
    index = _sample_index(rng, weights)
    # Blend with the next darker colour; the reds are not part of that scale.
    darker = _HAIR_COLORS[max(index - 1, 0)] if index < _FIRST_RED else _HAIR_COLORS[index]
    return scale(mix(_HAIR_COLORS[index], darker, float(rng.uniform(0.0, 0.5))), float(rng.uniform(0.9, 1.1)))


def _sample_side(rng: np.random.Generator) -> float:
    """Sample a side of the face: 1 (right) or -1 (left)."""
    return 1.0 if _sample_bool(rng, 0.5) else -1.0


def _sample_freckles(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Sample ``(u, v)`` of each freckle; most people have none."""
    freckles = []
    if _sample_bool(rng, 0.2):
        for _ in range(int(rng.integers(12, 26))):
            side = _sample_side(rng)
            freckles.append((side * abs(float(rng.normal(0.27, 0.13))), float(rng.normal(0.27, 0.07))))
    return tuple(freckles)


def _sample_moles(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Sample ``(u, v, radius)`` of each mole, on the cheeks, where nothing hides it."""
    moles = []
    for _ in range(_sample_index(rng, (0.52, 0.29, 0.13, 0.06))):
        side = _sample_side(rng)
        u, v = side * float(rng.uniform(0.3, 0.52)), float(rng.uniform(0.2, 0.72))
        moles.append((u, v, float(rng.uniform(0.025, 0.043))))
    return tuple(moles)


def _sample_scar(rng: np.random.Generator) -> tuple[float, ...]:
    """Sample ``(u, v, angle, length)`` of a scar, or an empty tuple."""
    if not _sample_bool(rng, 0.12):
        return ()
    side = _sample_side(rng)
    u, v = _SCAR_PLACES[int(rng.integers(len(_SCAR_PLACES)))]
    return (side * u, v, float(rng.uniform(0.0, math.pi)), float(rng.uniform(0.16, 0.3)))


def sample_person(rng: np.random.Generator) -> Person:
    """Sample the traits of one artificial person.

    The base age is uniform over :data:`AGE_CLASSES`, and uniform over the years of its class.
    """
    # The order of the calls to `rng` fixes which person a seed gives, the arguments of `Person` included.
    male = _sample_bool(rng, 0.5)
    sign = 1.0 if male else -1.0
    first, last = AGE_CLASSES[int(rng.integers(len(AGE_CLASSES)))]
    base_age = float(rng.integers(first, last + 1))
    tone = float(rng.random()) ** 1.25
    style = _sample_index(rng, _MALE_STYLE_WEIGHTS if male else _FEMALE_STYLE_WEIGHTS)
    if style == HairStyle.PIGTAILS and base_age > 14:
        style = HairStyle.TAIL.value
    if style == HairStyle.BALD and base_age < 30:
        style = HairStyle.CROP.value
    fringe_weights = (0.45, 0.12, 0.27, 0.04, 0.12) if male else (0.2, 0.24, 0.28, 0.22, 0.06)
    dark_eyes = ramp(tone, 0.3, 0.6)
    light_eyes = 1.0 - dark_eyes
    eye_weights = (0.3, 0.1 + 0.6 * dark_eyes, 0.25 * light_eyes, 0.15 * light_eyes, 0.12 * light_eyes, 0.1)
    freckles, moles, scar = _sample_freckles(rng), _sample_moles(rng), _sample_scar(rng)
    pimples_u = rng.uniform(-0.5, 0.5, 7)
    pimples_v = rng.choice((-0.45, 0.3, 0.75), 7) + rng.normal(0, 0.07, 7)
    pimples = tuple((float(u), float(v)) for u, v in zip(pimples_u, pimples_v, strict=True))
    return Person(
        male=male,
        base_age=base_age,
        looks_older=_sample_normal(rng, 0.0, 8.0, -16.0, 16.0),
        grey_onset=_sample_normal(rng, 55.0, 8.0, 35.0, 78.0),
        wrinkle_strength=_sample_normal(rng, 1.0, 0.3, 0.4, 1.7),
        hair_loss=float(rng.random() ** 0.9) if male else float(0.35 * rng.random() ** 2),
        skin_tone=tone,
        skin_warmth=_sample_shift(rng),
        rosiness=float(rng.random()),
        face_width=_sample_normal(rng, 1.0, 0.06, 0.88, 1.12),
        jaw=_sample_shift(rng, 0.35 * sign, 0.45),
        chin=_sample_shift(rng, 0.15 * sign, 0.5),
        cheeks=_sample_shift(rng),
        hair_style=style,
        hair_color=_sample_hair_color(tone, rng),
        hair_volume=float(rng.random()),
        hair_phase=float(rng.uniform(0.0, 2.0 * math.pi)),
        hairline=_sample_shift(rng),
        fringe=_sample_index(rng, fringe_weights),
        parting=1 if _sample_bool(rng, 0.5) else -1,
        eye_color=_EYE_COLORS[_sample_index(rng, eye_weights)],
        eye_spacing=_sample_shift(rng),
        eye_size=_sample_shift(rng, -0.2 * sign),
        eye_height=_sample_shift(rng),
        eye_roundness=_sample_shift(rng, -0.15 * sign),
        eye_tilt=_sample_shift(rng),
        lashes=_sample_normal(rng, 0.2 if male else 0.7, 0.2, 0.0, 1.0),
        brow_thickness=_sample_shift(rng, 0.4 * sign, 0.45),
        brow_arch=_sample_shift(rng, -0.25 * sign),
        brow_tilt=_sample_shift(rng, -0.15, 0.45),
        nose_length=_sample_shift(rng, 0.1 * sign),
        nose_width=_sample_shift(rng, 0.2 * sign + 0.35 * (tone - 0.45)),
        nose_bridge=float(rng.random()),
        mouth_width=_sample_shift(rng),
        mouth_height=_sample_shift(rng),
        lip_fullness=_sample_shift(rng, -0.25 * sign + 0.4 * (tone - 0.45)),
        lip_redness=float(rng.random() * 0.3) if male else float(rng.random()),
        ear_size=_sample_shift(rng, 0.15 * sign),
        beard=_sample_index(rng, (0.42, 0.18, 0.12, 0.10, 0.18)) if male else Beard.NONE.value,
        glasses=_sample_index(rng, (0.76, 0.09, 0.09, 0.06)),
        glasses_color=_FRAME_COLORS[int(rng.integers(len(_FRAME_COLORS)))],
        earrings=_sample_bool(rng, 0.05 if male else 0.4),
        freckles=freckles,
        moles=moles,
        scar=scar,
        pimples=pimples[: int(rng.integers(0, 8))],
    )


def _sample_color(rng: np.random.Generator, low: float, high: float, fade: float) -> Color:
    """Sample a colour of any hue and mix it with its own grey, so that it does not dominate the face."""
    r, g, b = rng.uniform(low, high, 3).tolist()
    grey = (r + g + b) / 3.0
    return mix((r, g, b), (grey, grey, grey), fade)


def sample_picture(person: Person, rng: np.random.Generator) -> Picture:
    """Sample the conditions of one picture of a person.

    The age is normal around the person's base age, in whole years. Its spread is smaller for children, because they
    change faster.
    """
    # The order of the calls to `rng` fixes which picture a seed gives, the arguments of `Picture` included.
    spread = 1.2 + 2.3 * ramp(person.base_age, 0.0, 30.0)
    age = clip(float(round(person.base_age + float(rng.normal(0.0, spread)))), 0.0, _MAX_AGE)
    smiling = _sample_bool(rng, 0.5)
    first, second = _sample_color(rng, 0.25, 0.95, 0.5), _sample_color(rng, 0.25, 0.95, 0.4)
    return Picture(
        age=age,
        smiling=smiling,
        smile=float(rng.uniform(0.6, 1.0) if smiling else rng.uniform(-0.1, 0.28)),
        mouth_open=float(rng.uniform(0.25, 1.0)) if _sample_bool(rng, 0.6 if smiling else 0.15) else 0.0,
        squint=float(rng.uniform(0.0, 0.6) ** 1.5 + (0.15 if smiling else 0.0)),
        gaze=(float(rng.uniform(-1.0, 1.0)), float(rng.uniform(-0.6, 0.6))),
        shift_x=float(rng.uniform(-0.04, 0.04)),
        shift_y=float(rng.uniform(-0.03, 0.03)),
        roll=_sample_normal(rng, 0.0, 0.08, -0.2, 0.2),
        yaw=_sample_normal(rng, 0.0, 0.14, -0.28, 0.28),
        pitch=_sample_normal(rng, 0.0, 0.05, -0.12, 0.12),
        scale=float(rng.uniform(0.92, 1.08)),
        tiredness=float(rng.random() ** 2),
        brightness=float(rng.uniform(0.78, 1.1)),
        light_angle=float(rng.uniform(0.0, 2.0 * math.pi)),
        light_strength=float(rng.uniform(0.02, 0.28)),
        warmth=_sample_shift(rng, 0.0, 0.5),
        background=int(rng.integers(len(Background))),
        background_colors=(first, mix(first, second, float(rng.uniform(0.3, 0.9)))),
        background_seed=int(rng.integers(2**31)),
        clothing=int(rng.integers(len(Collar))),
        clothing_color=_sample_color(rng, 0.1, 0.92, 0.3),
        noise=float(rng.uniform(0.004, 0.022)),
        noise_seed=int(rng.integers(2**31)),
    )
