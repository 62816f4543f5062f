"""Proportions and colours of a face, computed from the person's traits and age."""

from __future__ import annotations

from dataclasses import dataclass

from gli.data.drawing.blend import BLACK, Color, clip, mix, palette_color, ramp, scale
from gli.data.drawing.people import COVERS_EARS, TIED, HairStyle, Person, Picture

_SKIN: tuple[Color, ...] = (
    (0.98, 0.85, 0.77),
    (0.96, 0.79, 0.68),
    (0.91, 0.71, 0.57),
    (0.81, 0.60, 0.45),
    (0.66, 0.46, 0.33),
    (0.50, 0.34, 0.25),
    (0.39, 0.26, 0.20),
)
_OLD_SKIN: Color = (0.80, 0.74, 0.68)
_GREY_HAIR: Color = (0.83, 0.83, 0.84)
_GREY_BROWS: Color = (0.6, 0.6, 0.6)
_CHILD_HAIR: Color = (0.92, 0.76, 0.50)
# Below this apparent age, hair is short and thin.
_BABY_AGE = 2.5


@dataclass(frozen=True)
class Look:
    """How a person looks at one age. Lengths and positions are in face coordinates."""

    age: float  # apparent age in years
    child: float  # 1 (baby) to 0 (adult)
    old: float  # 0 (young adult) to 1.1 (very old)
    baby: bool  # whether hair is short and thin
    wrinkles: float  # strength of wrinkles, 0 or more
    recession: float  # share of the hair lost, 0..1
    style: HairStyle  # hair style at this age
    skin: Color  # colour of lit skin
    shade: Color  # colour of skin in the shade
    line: Color  # colour of dark lines on skin
    hair: Color  # colour of the hair
    brow: Color  # colour of the eyebrows
    width: float  # half the width of the face
    chin_v: float  # vertical position of the chin
    eye_u: float  # horizontal position of the right eye
    eye_v: float  # vertical position of the eyes
    eye_w: float  # half the width of an eye
    eye_h: float  # half the height of an eye
    brow_v: float  # vertical position of the eyebrows
    nose_v: float  # vertical position of the tip of the nose
    mouth_v: float  # vertical position of the mouth
    mouth_w: float  # half the width of the mouth
    ear_u: float  # horizontal position of the right ear
    hair_gap: float  # distance of the hair from the skull


def _style_at(age: float, recession: float, style: HairStyle) -> HairStyle:
    """Return the hair style at an age: cropped for babies, bald where most of the hair is lost."""
    if age < _BABY_AGE:
        return HairStyle.CROP
    if (recession > 0.72 and style not in COVERS_EARS | TIED) or (style == HairStyle.BALD and age >= 26.0):
        return HairStyle.BALD
    return HairStyle.CROP if style == HairStyle.BALD else style


def compute_look(person: Person, picture: Picture) -> Look:
    """Compute the proportions and colours of a face."""
    # Children's ages are easier to see than adults', so the offset grows with age.
    age = max(0.0, picture.age + person.looks_older * (0.2 + 0.8 * ramp(picture.age, 0.0, 40.0)))
    child = 1.0 - 0.45 * ramp(age, 0.0, 9.0) - 0.55 * ramp(age, 6.0, 19.0)
    old = clip((age - 28.0) / 50.0, 0.0, 1.1)
    recession = person.hair_loss * ramp(age, 24.0, 66.0)
    skin = palette_color(_SKIN, person.skin_tone)
    warm = 0.02 * person.skin_warmth
    skin = (skin[0], skin[1] + warm, skin[2] - 1.5 * warm)
    # Old skin is a little paler and greyer.
    skin = mix(skin, _OLD_SKIN, 0.12 * old * (1.0 - person.skin_tone))
    shade = (skin[0] * 0.80, skin[1] * 0.70, skin[2] * 0.66)
    line = (skin[0] * 0.50, skin[1] * 0.40, skin[2] * 0.38)
    grey = ramp(age, person.grey_onset - 16.0, person.grey_onset + 16.0)
    hair = mix(person.hair_color, _GREY_HAIR, 0.92 * grey)
    # Children's hair is lighter.
    if child > 0.4:
        hair = mix(hair, _CHILD_HAIR, 0.25 * child * (1.0 - person.skin_tone))
    brow = scale(mix(mix(person.hair_color, BLACK, 0.15), _GREY_BROWS, 0.7 * grey), 0.85)
    width = (0.735 + 0.075 * child) * person.face_width
    eye_w = (0.172 + 0.045 * child) * (1.0 + 0.13 * person.eye_size) * (1.0 - 0.08 * old)
    eye_h = (0.098 + 0.055 * child) * (1.0 + 0.13 * person.eye_size + 0.2 * person.eye_roundness) * (1.0 - 0.28 * old)
    eye_v = 0.02 + 0.17 * child + 0.035 * person.eye_height
    return Look(
        age=age,
        child=child,
        old=old,
        baby=age < _BABY_AGE,
        wrinkles=clip((age - 30.0) / 42.0, 0.0, 1.2) * person.wrinkle_strength,
        recession=recession,
        style=_style_at(age, recession, HairStyle(person.hair_style)),
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
        mouth_v=0.60 + 0.055 * child + 0.03 * person.mouth_height,
        mouth_w=(0.275 - 0.06 * child) * (1.0 + 0.15 * person.mouth_width),
        ear_u=width + 0.015,
        hair_gap=0.03 + 0.07 * person.hair_volume * (1.0 - 0.6 * recession) * (1.0 - 0.25 * old),
    )
