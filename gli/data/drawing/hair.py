"""Draw the hair on the head and the beard."""

from __future__ import annotations

import math

import numpy as np

from gli.data.drawing.blend import WHITE, clip, mix, ramp, scale
from gli.data.drawing.canvas import Canvas, Depth, Points, closed_curve, mirrored, open_curve
from gli.data.drawing.look import Look
from gli.data.drawing.people import COVERS_EARS, Beard, Fringe, HairStyle, Person

# Where the hair over the skull ends beside the face (v), in the order of the styles; a bald head has none.
_SIDE_END = dict(zip(HairStyle, (-0.12, 0.02, -0.02, 0.05, -0.05, 0.1, 0.1, 0.1, -0.1, -0.1, -0.1), strict=False))
# Where loose hair ends (v), behind the head and in front of the ears.
_BACK_END = {HairStyle.BOB: 0.82, HairStyle.LONG: 1.62, HairStyle.WAVY: 1.5}
_LOCK_END = {HairStyle.BOB: 0.72, HairStyle.LONG: 1.5, HairStyle.WAVY: 1.4}


def _skull_curve(person: Person, look: Look, end: float, gap: float) -> Points:
    """Return the outer edge of the hair over the skull, from the right side to the left, at ``v = end`` on both."""
    v0, ru, rv = -0.20, look.width + 0.05 + gap, 0.83 + 1.1 * gap
    limit = math.acos(clip((v0 - end) / rv, -1.0, 1.0))
    a = np.linspace(limit, -limit, 41)
    r = np.ones_like(a)
    if look.style in (HairStyle.CURLY, HairStyle.AFRO):
        r += 0.055 * np.abs(np.sin(a * (5.5 if look.style == HairStyle.AFRO else 4.5) + person.hair_phase))
    elif look.style == HairStyle.QUIFF:
        tuft = 0.13 * np.exp(-(((a - 0.35 * person.parting) / 0.5) ** 2))
        r += tuft + 0.03 * np.abs(np.sin(7 * a + person.hair_phase))
    elif look.style == HairStyle.SHORT:
        r += 0.018 * np.sin(9 * a + person.hair_phase)
    return np.stack((ru * r * np.sin(a), v0 - rv * r * np.cos(a)), axis=1)


def _visible_fringe(person: Person, look: Look) -> Fringe:
    """Return the fringe that the hair style leaves visible."""
    fringe = Fringe(person.fringe)
    if look.baby or look.style in (HairStyle.CROP, HairStyle.QUIFF, HairStyle.AFRO):
        return Fringe.NONE
    if look.style == HairStyle.CURLY and fringe == Fringe.STRAIGHT:
        return Fringe.JAGGED
    return fringe


def _fringe_points(person: Person, look: Look) -> Points:
    """Return the lower edge of the hair from the left to the right temple, in units of half the face's width."""
    high = -0.66 - 0.07 * person.hairline + 0.05 * look.child
    brow = min(look.brow_v - 0.09, -0.16)
    fringe = _visible_fringe(person, look)
    if fringe == Fringe.STRAIGHT:
        return np.array(
            ((-0.82, brow + 0.05), (-0.6, brow), (-0.2, brow), (0.2, brow), (0.6, brow), (0.82, brow + 0.05))
        )
    if fringe == Fringe.JAGGED:
        u = np.linspace(-0.8, 0.8, 9)
        return np.stack((u, brow - 0.06 + 0.07 * np.cos(np.arange(9) * math.pi)), axis=1)
    if fringe == Fringe.SWEPT:
        swept = np.array((
            (-0.86, brow + 0.08), (-0.66, brow - 0.04), (-0.3, brow - 0.12), (0.12, high + 0.1), (0.36, high - 0.12),
            (0.62, high + 0.14), (0.86, -0.3),
        ))  # fmt: skip
        return swept if person.parting > 0 else swept[::-1] * np.array((-1.0, 1.0))
    if fringe == Fringe.CENTRE:
        return np.array((
            (-0.88, -0.05), (-0.72, -0.38), (-0.36, -0.66), (0.0, high - 0.17), (0.36, -0.66), (0.72, -0.38),
            (0.88, -0.05),
        ))  # fmt: skip
    return np.array((
        (-0.87, -0.28), (-0.76, high + 0.16), (-0.45, high), (0.0, high + 0.03), (0.45, high), (0.76, high + 0.16),
        (0.87, -0.28),
    ))  # fmt: skip


def _hairline(person: Person, look: Look, end: float) -> Points:
    """Return the lower edge of the hair on the forehead, from the left side to the right, at ``v = end`` on both."""
    points = _fringe_points(person, look)
    # Hair recedes first at the temples.
    temple = 0.55 + 0.45 * np.clip(np.abs(points[:, 0]) / 0.5, 0.0, 1.0)
    back = look.recession * temple * (np.abs(points[:, 0]) < 0.85)
    points[:, 1] += back * (-0.93 - points[:, 1])
    points[:, 0] *= look.width * (1.0 - 0.1 * look.recession)
    sides = np.array(((-look.width, end), (look.width, end)))
    return np.concatenate((sides[:1], open_curve(points, 5), sides[1:]))


def _loose_back_hair(person: Person, look: Look) -> Points:
    style = look.style
    bottom = _BACK_END[style] + 0.08 * person.hairline
    v = np.linspace(-0.2, bottom, 16)
    wave = 0.06 * np.sin(8.0 * v + person.hair_phase) if style == HairStyle.WAVY else 0.0
    flare = (0.10 if style == HairStyle.BOB else 0.06) * np.sin((v + 0.2) / (bottom + 0.2) * math.pi)
    u = look.width + 0.05 + look.hair_gap + flare + wave
    right = np.stack((u, v), axis=1)
    top = _skull_curve(person, look, -0.2, look.hair_gap)[::-1]
    return np.concatenate((top, right, (right * np.array((-1.0, 1.0)))[::-1]))


def draw_back_hair(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw the hair behind the head and the shoulders."""
    style, w, gap = look.style, look.width, look.hair_gap
    dark = scale(look.hair, 0.72)
    if style == HairStyle.AFRO:
        a = np.linspace(0.0, 2.0 * math.pi, 56, endpoint=False)
        r = 1.0 + 0.05 * np.abs(np.sin(7.0 * a + person.hair_phase))
        big = 0.2 + 1.6 * gap
        afro = np.stack(((w + big) * r * np.sin(a), -0.28 - (0.76 + big) * r * np.cos(a)), axis=1)
        canvas.fill(afro, dark, depth=Depth.BACK_HAIR)
    elif style in COVERS_EARS:
        canvas.fill(_loose_back_hair(person, look), dark, depth=Depth.BACK_HAIR)
    elif style == HairStyle.BUN:
        canvas.disc(0.1 * person.parting, -1.08 - gap, 0.25, dark, depth=Depth.TIED_HAIR)
        canvas.disc(0.1 * person.parting, -1.10 - gap, 0.18, look.hair, depth=Depth.TIED_HAIR)
    elif style == HairStyle.TAIL:
        tail = np.array((
            (0.3, -0.9), (0.95, -0.9), (1.24, -0.4), (1.22, 0.25), (1.06, 0.68), (0.92, 0.3), (0.74, -0.1),
            (0.6, -0.5),
        )) * np.array((float(person.parting), 1.0))  # fmt: skip
        canvas.fill(closed_curve(tail), dark, depth=Depth.TIED_HAIR)
    elif style == HairStyle.PIGTAILS:
        tail = np.array(((0.86, -0.3), (1.12, -0.3), (1.24, 0.1), (1.12, 0.5), (0.98, 0.62), (0.96, 0.2)))
        for side in (-1.0, 1.0):
            flip = np.array((side * (0.2 + 0.8 * w / 0.75), 1.0))
            canvas.fill(closed_curve(tail * flip), dark, depth=Depth.BACK_HAIR)


def _draw_bald(canvas: Canvas, look: Look) -> None:
    """Draw the rest of hair at the sides of a bald head, and the shine on it."""
    patch = np.array(((0.93, 0.1), (1.09, 0.02), (1.12, -0.25), (1.0, -0.52), (0.9, -0.45), (0.93, -0.15)))
    for side in (-1.0, 1.0):
        canvas.fill(closed_curve(patch * np.array((side * look.width, 1.0)), 4), look.hair, depth=Depth.HAIR)
    canvas.glow(0.1, -0.78, 0.25, 0.13, WHITE, depth=Depth.SCALP, alpha=0.3)


def _draw_locks(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw loose hair in front of the ears."""
    style, w, hair = look.style, look.width, look.hair
    bottom = _LOCK_END[style] + 0.08 * person.hairline
    v = np.linspace(-0.35, bottom, 14)
    wave = 0.05 * np.sin(8.0 * v + person.hair_phase) if style == HairStyle.WAVY else np.zeros_like(v)
    below = np.clip((v + 0.2) / (bottom + 0.2), 0, 1)
    flare = (0.09 if style == HairStyle.BOB else 0.05) * np.sin(below * math.pi)
    fall = np.clip((v + 0.35) / (bottom + 0.35), 0.0, 1.0)
    outer = w + 0.045 + look.hair_gap + wave + flare - 0.03 * fall
    inner = 0.86 * w + 0.1 * fall + wave - 0.5 * np.maximum(fall - 0.8, 0.0) * (style == HairStyle.BOB)
    lock = np.concatenate((np.stack((outer, v), axis=1), np.stack((inner, v), axis=1)[::-1]))
    for side in (-1.0, 1.0):
        canvas.fill(lock * np.array((side, 1.0)), hair, depth=Depth.HAIR)
        strand = np.stack((side * (0.5 * inner + 0.5 * outer), v), axis=1)
        canvas.stroke(strand, 0.05, scale(hair, 0.7), depth=Depth.HAIR, alpha=0.4)
        light_strand = strand + np.array((side * 0.05, 0.0))
        canvas.stroke(light_strand, 0.04, mix(hair, WHITE, 0.28), depth=Depth.HAIR, alpha=0.35)


def _draw_curls(canvas: Canvas, person: Person, look: Look, gap: float) -> None:
    light, dark = mix(look.hair, WHITE, 0.28), scale(look.hair, 0.7)
    for k in range(13):
        a = -1.5 + 0.25 * k
        r = 0.90 + 0.1 * math.sin(2.9 * k + person.hair_phase)
        u, v = (look.width + gap) * r * math.sin(a), -0.2 - (0.84 + gap) * r * math.cos(a)
        canvas.disc(u, v, 0.1, light if k % 2 else dark, depth=Depth.HAIR, alpha=0.22)


def _draw_strands(canvas: Canvas, person: Person, look: Look, gap: float, skull: Points) -> None:
    """Draw strands from the parting outwards and a band of shine, on hair whose outer edge is ``skull``."""
    w, recession = look.width, look.recession
    alpha = 0.4 * (1.0 - recession)
    part = 0.3 * person.parting if person.fringe != Fringe.CENTRE else 0.0
    start = skull[20 - round(14 * part)] * 0.96
    for k in range(6):
        u = -0.75 + 0.3 * k + 0.05 * math.sin(k + person.hair_phase)
        stop = np.array((u * w, -0.62 - 0.12 * recession - 0.2 * (0.75 - abs(u)) * 0.5))
        bend = np.array((0.55 * u * w + 0.45 * float(start[0]), -0.92 - 0.5 * gap))
        strand = open_curve(np.stack((start, bend, stop)), 4)
        canvas.stroke(strand, 0.035, scale(look.hair, 0.7), depth=Depth.HAIR, alpha=alpha)
    shine = skull[12:29] * np.array((0.80, 0.90)) + np.array((0.0, 0.02))
    canvas.stroke(shine, 0.09, mix(look.hair, WHITE, 0.28), depth=Depth.HAIR, alpha=alpha)


def draw_hair(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw the hair over the skull, with the fringe, and the hair in front of the ears."""
    style, hair, gap = look.style, look.hair, look.hair_gap
    if style == HairStyle.BALD:
        _draw_bald(canvas, look)
        return
    if style == HairStyle.CROP:
        gap = 0.012 + 0.25 * gap
    elif style in (HairStyle.CURLY, HairStyle.QUIFF):
        gap = gap + 0.05
    elif style == HairStyle.AFRO:
        gap = gap + 0.1
    end = _SIDE_END[style]
    skull = _skull_curve(person, look, end, gap)
    outline = np.concatenate((skull, _hairline(person, look, end)))
    if look.baby:
        # The skin is visible through a baby's thin hair.
        canvas.fill(outline, mix(look.skin, hair, 0.55), depth=Depth.HAIR)
        return
    canvas.fill(outline, hair, depth=Depth.HAIR)
    if style in COVERS_EARS:
        _draw_locks(canvas, person, look)
    if style in (HairStyle.CURLY, HairStyle.AFRO):
        _draw_curls(canvas, person, look, gap)
    else:
        _draw_strands(canvas, person, look, gap, skull)


def _cheek_beard(person: Person, look: Look, reach: float) -> Points:
    """Return the outline of a beard on the cheeks and the chin that extends ``reach`` beyond the face."""
    w, mouth = look.width, look.mouth_v
    jaw = 0.735 + 0.085 * person.jaw + 0.07 * look.old
    outer = np.array((
        (0.985 * w, 0.05), (0.95 * w + 0.4 * reach, 0.35), (jaw * w + reach, 0.69 * look.chin_v),
        (0.40 * w + 0.5 * reach, 0.95 * look.chin_v + reach), (0.0, look.chin_v + 1.4 * reach),
    ))  # fmt: skip
    inner = np.array((
        (0.0, mouth - 0.11), (0.2, mouth - 0.12), (look.mouth_w + 0.1, mouth + 0.01), (0.78 * w, 0.36),
        (0.88 * w, 0.05),
    ))  # fmt: skip
    right_outer, right_inner = open_curve(outer, 4), open_curve(inner, 4)
    flip = np.array((-1, 1))
    return np.concatenate((right_outer, right_outer[-2::-1] * flip, right_inner[::-1] * flip, right_inner))


def draw_beard(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw the beard; it grows between 15 and 21 years of apparent age."""
    grown = ramp(look.age, 15.0, 21.0)
    beard = Beard(person.beard)
    if beard == Beard.NONE or grown < 0.05:
        return
    color = mix(look.hair, scale(look.hair, 0.8), 0.5)
    mouth = look.mouth_v
    if beard == Beard.STUBBLE:
        canvas.fill(_cheek_beard(person, look, 0.0), color, depth=Depth.RIM, alpha=0.28 * grown)
    if beard == Beard.FULL:
        canvas.fill(_cheek_beard(person, look, 0.07), color, depth=Depth.RIM, alpha=0.95 * grown)
        for k in range(-4, 5):
            strand = np.array(((0.09 * k, mouth + 0.18), (0.105 * k, look.chin_v - 0.02)))
            canvas.stroke(strand, 0.03, mix(color, WHITE, 0.25), depth=Depth.BEARD, alpha=0.4)
    if beard == Beard.GOATEE:
        tuft = np.array((
            (0.0, mouth + 0.13), (0.17, mouth + 0.15), (0.2, look.chin_v - 0.08), (0.1, look.chin_v + 0.06),
            (0.0, look.chin_v + 0.09),
        ))  # fmt: skip
        canvas.fill(closed_curve(mirrored(tuft), 4), color, depth=Depth.GOATEE, alpha=0.92 * grown)
    if beard in (Beard.MOUSTACHE, Beard.GOATEE, Beard.FULL):
        lip = np.array((
            (0.0, mouth - 0.145), (0.13, mouth - 0.14), (look.mouth_w + 0.03, mouth), (0.12, mouth - 0.055),
            (0.0, mouth - 0.06),
        ))  # fmt: skip
        canvas.fill(closed_curve(mirrored(lip), 4), scale(color, 0.92), depth=Depth.MOUSTACHE, alpha=0.95 * grown)
