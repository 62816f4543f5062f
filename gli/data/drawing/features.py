"""Draw the parts of a face: ears, skin, marks, wrinkles, eyes, brows, nose, mouth and glasses."""

from __future__ import annotations

import math

import numpy as np

from gli.data.drawing.blend import BLACK, WHITE, clip, mix, ramp, scale
from gli.data.drawing.canvas import Canvas, Depth, Points, circle, closed_curve, mirrored, open_curve
from gli.data.drawing.look import Look
from gli.data.drawing.people import Glasses, Person, Picture


def draw_ears(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw both ears and the earrings."""
    size = 1.0 + 0.22 * person.ear_size + 0.14 * look.old
    v = look.eye_v + 0.1
    ear = np.array(((-0.07, -0.15), (0.03, -0.18), (0.095, -0.09), (0.07, 0.06), (0.015, 0.17), (-0.06, 0.15)))
    for side in (-1.0, 1.0):
        center = np.array((side * look.ear_u, v))
        curve = closed_curve(ear * np.array((side * size, size)), 4)
        canvas.fill(curve + center, mix(look.skin, look.shade, 0.7), depth=Depth.EARS)
        canvas.fill(curve * 0.6 + center, mix(look.skin, look.line, 0.55), depth=Depth.EARS, alpha=0.7)
        if person.earrings and look.age > 8.0:
            u = side * (look.ear_u + 0.05)
            canvas.disc(u, v + 0.2 * size, 0.045, (0.95, 0.82, 0.35), depth=Depth.EARS)


def _face_outline(person: Person, look: Look) -> Points:
    """Return the outline of the face: round cheeks and a small chin in children, a heavy jaw in the old."""
    w, child = look.width, look.child
    cheek = 0.945 + 0.03 * person.cheeks + 0.03 * child
    jaw = 0.735 + 0.085 * person.jaw * (1.0 - 0.6 * child) + 0.03 * child + 0.07 * look.old
    chin = 0.37 + 0.06 * person.chin + 0.05 * person.jaw - 0.01 * child + 0.03 * look.old
    bottom = look.chin_v
    half = np.array((
        (0.0, -1.0), (0.60 * w, -0.86), (0.93 * w, -0.46), (w, -0.05), (cheek * w, 0.34 + 0.04 * child),
        (jaw * w, 0.69 * bottom), (chin * w, 0.94 * bottom), (0.0, bottom),
    ))  # fmt: skip
    return closed_curve(mirrored(half))


def draw_skin(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw the surface of the face with its light, its shade and its red cheeks."""
    outline = _face_outline(person, look)
    # A thin dark edge separates the face from the ears and the neck.
    canvas.fill(outline * np.array((1.022, 1.012)), mix(look.shade, look.line, 0.45), depth=Depth.RIM)
    canvas.fill(outline, mix(look.skin, look.shade, 0.62), depth=Depth.RIM)
    # The lit area is shifted towards the light and fades before the rim, which makes the head look round.
    lean_u = 0.09 * math.cos(picture.light_angle - picture.roll)
    lean_v = 0.05 * math.sin(picture.light_angle - picture.roll)
    canvas.glow(lean_u, -0.05 + lean_v, look.width * 1.06, 1.02, look.skin, depth=Depth.RIM, alpha=1.0, plateau=True)
    light = mix(look.skin, WHITE, 0.4)
    canvas.glow(2.0 * lean_u, -0.42 + lean_v, 0.42, 0.30, light, depth=Depth.OUTER_SKIN, alpha=0.40)
    smile = max(picture.smile, 0.0)
    cheek_v = look.nose_v - 0.03 - 0.03 * smile + 0.05 * look.old
    red = mix(look.skin, (0.93, 0.32, 0.28), 0.5)
    rosy = (0.15 + 0.35 * person.rosiness + 0.25 * look.child + 0.15 * smile) * (1.0 - 0.35 * look.old)
    socket = 0.28 + 0.3 * look.old
    for side in (-1.0, 1.0):
        canvas.glow(side * look.width * 0.60, cheek_v, 0.24, 0.2, red, depth=Depth.OUTER_SKIN, alpha=rosy)
        canvas.glow(side * look.eye_u, look.eye_v - 0.07, 0.25, 0.2, look.shade, depth=Depth.INNER_SKIN, alpha=socket)
    canvas.glow(0.0, look.chin_v - 0.13, 0.2, 0.11, light, depth=Depth.INNER_SKIN, alpha=0.22)


def draw_marks(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw freckles, moles, the scar, the pimples of the teens and age spots."""
    dark = mix(look.skin, look.line, 0.75)
    freckle = mix(look.skin, (0.60, 0.30, 0.14), 0.6)
    freckle_alpha = 0.65 * (1.0 - 0.5 * look.old)
    for u, v in person.freckles:
        canvas.disc(u, v + 0.12 * look.child, 0.024, freckle, depth=Depth.INNER_SKIN, alpha=freckle_alpha)
    for u, v, radius in person.moles:
        canvas.disc(u, v, radius, scale(dark, 0.75), depth=Depth.INNER_SKIN, alpha=0.95)
    if person.scar:
        u, v, angle, length = person.scar
        t = np.linspace(-0.5, 0.5, 6)[:, None] * length
        scar = np.array((u, v)) + t * np.array((math.cos(angle), math.sin(angle)))
        canvas.stroke(scar, 0.055, (0.86, 0.50, 0.48), depth=Depth.INNER_SKIN, alpha=0.9)
    teen = ramp(look.age, 11.5, 14.5) * (1.0 - ramp(look.age, 18.0, 22.0))
    for u, v in person.pimples:
        canvas.disc(u, v, 0.03, mix(look.skin, (0.85, 0.2, 0.2), 0.6), depth=Depth.INNER_SKIN, alpha=0.75 * teen)
    spots = ramp(look.age, 58.0, 80.0) * person.wrinkle_strength
    if spots > 0.02:
        for k in range(6):
            u, v = 0.55 * math.cos(2.4 * k + person.hair_phase), -0.55 + 0.16 * ((3 * k) % 5)
            canvas.disc(u, v, 0.035, (0.50, 0.33, 0.22), depth=Depth.OUTER_SKIN, alpha=0.4 * spots)


def draw_wrinkles(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw the folds beside the mouth, bags under the eyes, crow's feet, jowls and lines on the forehead."""
    w, line = look.wrinkles, look.line
    smile = max(picture.smile, 0.0)
    t = np.linspace(-1.0, 1.0, 9)
    # From the side of the nose around the corner of the mouth.
    fold = np.array((
        (0.15, look.nose_v - 0.03), (0.25, look.nose_v + 0.1), (look.mouth_w + 0.08, look.mouth_v - 0.03),
        (look.mouth_w + 0.06, look.mouth_v + 0.02 + 0.13 * look.old),
    ))  # fmt: skip
    fold_alpha = clip(0.55 * w + 0.22 * smile * (1.0 - look.child), 0.0, 0.75)
    bag = np.stack((look.eye_u + 0.8 * look.eye_w * t, look.eye_v + look.eye_h + 0.055 + 0.05 * (1 - t * t)), axis=1)
    bag_alpha = clip(0.5 * w * w + 0.3 * picture.tiredness * (1.0 - look.child), 0.0, 0.6)
    foot_alpha = clip(0.55 * w * (0.6 + 0.6 * smile), 0.0, 0.7)
    for side in (-1.0, 1.0):
        flip = np.array((side, 1.0))
        canvas.stroke(open_curve(fold * flip, 4), 0.045, line, depth=Depth.INNER_SKIN, alpha=fold_alpha)
        canvas.stroke(bag * flip, 0.045, line, depth=Depth.EYE_BAGS, alpha=bag_alpha)
        for k in (-1, 0, 1):
            corner = look.eye_u + look.eye_w
            foot = np.array(((corner + 0.05, look.eye_v + 0.035 * k), (corner + 0.15, look.eye_v + 0.09 * k)))
            canvas.stroke(foot * flip, 0.03, line, depth=Depth.OUTER_SKIN, alpha=foot_alpha, taper=0.6)
        if look.old > 0.45:
            jowl = np.array(((0.62, 0.52), (0.60, 0.66), (0.50, 0.78))) * np.array((side * look.width, 1.0))
            jowl_alpha = clip(1.1 * (w - 0.3), 0.0, 0.8)
            canvas.stroke(open_curve(jowl, 4), 0.06, look.shade, depth=Depth.JOWLS, alpha=jowl_alpha)
    for k in range(3):
        v = look.brow_v - 0.17 - 0.115 * k
        arc = np.stack((0.38 * t, v - 0.02 * np.cos(2.2 * t + person.hair_phase)), axis=1)
        canvas.stroke(arc, 0.035, line, depth=Depth.INNER_SKIN, alpha=clip(0.62 * w - 0.12 * k, 0.0, 0.6))


def draw_eyes(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw both eyes with their lids and lashes."""
    w = look.eye_w
    h = look.eye_h * (1.0 - 0.5 * picture.squint)
    t = np.linspace(-1.0, 1.0, 13)
    radius = look.eye_h * 0.84 + 0.012
    gaze = np.array((0.22 * (w - radius) * picture.gaze[0], 0.15 * look.eye_h * picture.gaze[1]))
    white = mix(mix((0.98, 0.97, 0.96), look.skin, 0.08), (0.92, 0.86, 0.74), 0.5 * look.old)
    lash = mix(look.line, BLACK, 0.55 + 0.35 * person.lashes)
    # Curves of the right eye around its centre; `flip` mirrors them, and the tilt with them, to the left.
    center = np.array((look.eye_u, look.eye_v))
    slope = -0.16 * person.eye_tilt + 0.14 * look.old
    upper = -h * (1.0 - np.abs(t) ** 2.4) + slope * t * w
    lower = 0.80 * h * (1.0 - t * t) + slope * t * w
    for side in (-1.0, 1.0):
        flip = np.array((side, 1.0))
        top = (np.stack((t * w, upper), axis=1) + center) * flip
        bottom = (np.stack((t * w, lower), axis=1) + center) * flip
        canvas.fill(np.concatenate((top, bottom[::-1])), white, depth=Depth.EYES)
        rim = scale(person.eye_color, 0.62)
        for r, color in ((radius, rim), (0.80 * radius, person.eye_color), (0.45 * radius, BLACK)):
            disc = circle(20) * r + gaze * flip
            # The lids cover the top and the bottom of the iris.
            s = np.clip(disc[:, 0] / w, -1.0, 1.0)
            low, high = slope * s * w - h * (1.0 - np.abs(s) ** 2.4), slope * s * w + 0.80 * h * (1.0 - s * s)
            disc[:, 1] = np.clip(disc[:, 1], low, high)
            canvas.fill((disc + center) * flip, color, depth=Depth.EYES)
        # The reflection is on the same side in both eyes, because there is one light.
        iris_u, iris_v = ((center + gaze * flip) * flip).tolist()
        reflection = 0.25 * radius + 0.006
        canvas.disc(iris_u - 0.32 * radius, iris_v - 0.36 * h, reflection, WHITE, depth=Depth.EYES, alpha=0.95)
        canvas.stroke(top, 0.05 + 0.035 * person.lashes, lash, depth=Depth.EYES, alpha=0.95, taper=0.55)
        canvas.stroke(bottom, 0.028, look.line, depth=Depth.EYES, alpha=0.55, taper=0.8)
        if person.lashes > 0.5 and look.age > 3.0:
            tip = np.array(((0.92 * w, upper[-1] - 0.015), (1.12 * w, upper[-1] - 0.045), (1.25 * w, upper[-1] - 0.1)))
            canvas.stroke((tip + center) * flip, 0.05, lash, depth=Depth.EYES, alpha=0.9, taper=0.9)
        # The fold of an old lid is lower and wider.
        crease = (np.stack((t * w * 1.02, upper - 0.055 + 0.03 * look.old * (1 + t)), axis=1) + center) * flip
        crease_color = mix(look.shade, look.line, 0.45)
        canvas.stroke(crease, 0.03 + 0.03 * look.old, crease_color, depth=Depth.EYES, alpha=0.6, taper=0.8)


def draw_brows(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw both eyebrows."""
    t = np.linspace(-1.0, 1.0, 9)
    reach = look.eye_w * 1.18
    arch = 0.035 + 0.035 * person.brow_arch
    lift = 0.02 * max(picture.smile, 0.0) + 0.025 * picture.mouth_open * (not picture.smiling)
    thickness = (0.088 + 0.04 * person.brow_thickness) * (1.0 - 0.42 * look.child) * (1.0 - 0.15 * look.old)
    v = look.brow_v - lift - arch * (1.0 - (t - 0.25) ** 2)
    v = v - 0.035 * (1.0 - 0.6 * look.child) * person.brow_tilt * t + 0.045 * look.old * np.maximum(t, 0)
    for side in (-1.0, 1.0):
        curve = np.stack((side * (look.eye_u + 0.01 + reach * t), v), axis=1)
        canvas.stroke(curve, thickness, look.brow, depth=Depth.BROWS, alpha=0.9 - 0.4 * look.child, taper=0.75)


def draw_nose(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw the nose, shaded on the side away from the light."""
    wide = (0.118 - 0.022 * look.child) * (1.0 + 0.24 * person.nose_width) * (1.0 + 0.12 * look.old)
    v, top = look.nose_v, look.eye_v - 0.02
    grown = 1.0 - 0.75 * look.child
    light = mix(look.skin, WHITE, 0.5)
    dark_side = -1.0 if math.cos(picture.light_angle) > 0 else 1.0
    shadow = np.array((
        (0.055, top), (0.06, top + 0.5 * (v - top)), (wide, v - 0.02), (0.03, v - 0.01),
        (0.015, top + 0.4 * (v - top)),
    )) * np.array((dark_side, 1.0))  # fmt: skip
    shadow_alpha = (0.25 + 0.5 * person.nose_bridge) * grown
    canvas.fill(closed_curve(shadow, 4), look.shade, depth=Depth.NOSE_SIDE, alpha=shadow_alpha)
    canvas.glow(0.0, v + 0.01, wide * 1.5, 0.11, look.shade, depth=Depth.NOSE_WINGS, alpha=0.75)
    light_u = -0.02 * dark_side
    canvas.glow(light_u, v - 0.05, wide * 0.85, 0.09, light, depth=Depth.NOSE_TIP, alpha=0.55)
    canvas.glow(light_u, v - 0.18 * grown - 0.05, 0.05, 0.2, light, depth=Depth.NOSE, alpha=0.4 * grown)
    u = np.linspace(-1.0, 1.0, 11)
    base = np.stack((u * wide, v + 0.035 - 0.05 * np.abs(u) ** 3 + 0.012 * np.cos(2 * math.pi * u)), axis=1)
    canvas.stroke(base, 0.04, look.line, depth=Depth.NOSE, alpha=0.62, taper=0.6)
    for side in (-1.0, 1.0):
        nostril = scale(look.line, 0.72)
        canvas.disc(side * wide * 0.52, v + 0.02, 0.034, nostril, depth=Depth.NOSE, alpha=0.8, tall=0.7)


def draw_mouth(canvas: Canvas, person: Person, picture: Picture, look: Look) -> None:
    """Draw the lips and, in an open mouth, teeth and tongue."""
    smile, gap = picture.smile, picture.mouth_open
    w = look.mouth_w * (1.0 + 0.17 * max(smile, 0.0) - 0.08 * gap * (not picture.smiling))
    t = np.linspace(-1.0, 1.0, 17)
    bow = 1.0 - t * t
    middle = look.mouth_v + 0.075 * smile * bow - 0.035 * smile - 0.02 * gap
    opening = gap * (0.15 if picture.smiling else 0.19) * (1.0 - 0.25 * look.child) * np.sqrt(bow)
    plump = (0.055 + 0.022 * person.lip_fullness) * (1.0 - 0.42 * look.old) * (1.0 - 0.12 * max(smile, 0.0))
    lipstick = person.lip_redness * ramp(look.age, 13.0, 19.0)
    lip = mix(mix(look.skin, (0.72, 0.25, 0.26), 0.45), (0.78, 0.09, 0.17), 0.75 * lipstick * (not person.male))
    lip = mix(lip, look.shade, 0.35 * look.old * (1.0 - lipstick))
    # Edges from the left to the right corner: of the lips outside, and of the opening between them.
    upper = np.stack((w * t, middle), axis=1)
    lower = np.stack((w * t, middle + opening), axis=1)
    top = np.stack((w * t, middle - plump * bow * (1.0 - 0.45 * np.exp(-((t / 0.2) ** 2)))), axis=1)
    bottom = np.stack((w * 0.94 * t, middle + opening + 1.45 * plump * np.sqrt(bow) * (0.6 + 0.4 * bow)), axis=1)
    bottom_v = float(bottom[8, 1])
    canvas.glow(0.0, bottom_v + 0.05, 0.6 * w, 0.07, look.shade, depth=Depth.MOUTH, alpha=0.6)
    canvas.fill(np.concatenate((top, bottom[::-1])), lip, depth=Depth.MOUTH)
    if gap > 0.0:
        canvas.fill(np.concatenate((upper, lower[::-1])), (0.33, 0.07, 0.09), depth=Depth.MOUTH)
        if look.age > 1.5:
            teeth = np.minimum(opening * (0.75 if picture.smiling else 0.4), 0.1)
            edge = upper + np.stack((np.zeros_like(t), teeth), axis=1)
            enamel = mix((0.98, 0.97, 0.95), (0.88, 0.80, 0.62), 0.6 * look.old)
            canvas.fill(np.concatenate((upper, edge[::-1])), enamel, depth=Depth.MOUTH)
        tongue, tongue_v = (0.80, 0.36, 0.38), float(lower[8, 1]) - 0.02
        canvas.disc(0.0, tongue_v, 0.4 * w, tongue, depth=Depth.MOUTH, alpha=0.5 * gap - 0.2, tall=0.3)
    else:
        seam = mix(look.line, (0.35, 0.05, 0.08), 0.4)
        canvas.stroke(upper, 0.045, seam, depth=Depth.MOUTH, alpha=0.9, taper=0.7)
    shine = mix(lip, WHITE, 0.5)
    canvas.glow(0.0, bottom_v - 0.5 * plump, 0.4 * w, 0.04, shine, depth=Depth.LIP_SHINE, alpha=0.5)
    for u, v in upper[[0, -1]].tolist():
        canvas.disc(u, v, 0.03, look.line, depth=Depth.MOUTH, alpha=0.6)


def draw_glasses(canvas: Canvas, person: Person, look: Look) -> None:
    """Draw the glasses; children under three wear none."""
    glasses = Glasses(person.glasses)
    if glasses == Glasses.NONE or look.age < 3.0:
        return
    frame = person.glasses_color
    r = min(look.eye_w + 0.085, look.eye_u - 0.05)
    if glasses == Glasses.ROUND:
        rim = circle(24) * np.array((r, r * 1.02))
    else:
        unit = circle(24)
        rim = np.sign(unit) * np.abs(unit) ** 0.55 * np.array((r * 1.03, r * 0.78))
    v = look.eye_v + 0.015
    for side in (-1.0, 1.0):
        lens = rim + np.array((side * (look.eye_u + 0.01), v))
        canvas.fill(lens, WHITE, depth=Depth.LENSES, alpha=0.13)
        if glasses == Glasses.HALF_RIM:
            canvas.stroke(lens[np.r_[12:24, 0:1]], 0.06, frame, depth=Depth.LENSES, taper=0.0)
        else:
            canvas.ring(lens, 0.045, frame, depth=Depth.LENSES)
        hinge = canvas.place(np.array(((side * (look.eye_u + r), v - 0.06),)), depth=Depth.LENSES)
        ear = canvas.place(np.array(((side * look.ear_u, v - 0.06),)), depth=Depth.RIM)
        # The arm is hidden on the side to which the head is turned.
        if side * ((ear - hinge) @ np.array((canvas.cos, canvas.sin))).item() > 0.0:
            canvas.line(np.concatenate((hinge, ear)), 0.045, frame)
        reflection = np.array(((side * look.eye_u - 0.09, v + 0.02), (side * look.eye_u + 0.02, v - 0.12)))
        canvas.stroke(reflection, 0.03, WHITE, depth=Depth.LENSES, alpha=0.45)
    gap = look.eye_u + 0.01 - r
    bridge = np.array(((-gap, v - 0.02), (0.0, v - 0.06), (gap, v - 0.02)))
    canvas.stroke(bridge, 0.045, frame, depth=Depth.GLASSES_BRIDGE, taper=0.0)
