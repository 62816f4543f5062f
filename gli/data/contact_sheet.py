"""A contact sheet: a few images of each set with their labels. It shows people, so only its owner may read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gli.data.faces import Faces
from gli.errors import SettingError
from gli.system.files import atomic_write

Rows = npt.NDArray[np.int64]
#: Formats by the suffix of the file.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
#: Images of a set, in a row of the sheet; side of an image and height of a line of text, in pixels.
IMAGES, SIDE, LINE = 12, 96, 14


def check_format(path: Path) -> None:
    """Refuse a file that is no PNG or JPEG.

    Raises:
        SettingError: Naming the formats.
    """
    if path.suffix.lower() not in FORMATS:
        raise SettingError(f"{path}: a contact sheet is a picture. End its name in one of {', '.join(FORMATS)}.")


def choose_rows(identities: npt.NDArray[np.str_], rows: Rows, count: int = IMAGES, seed: int = 0) -> Rows:
    """Return up to ``count`` random rows of a set, of as many different people as there are."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    _, first = np.unique(identities[shuffled], return_index=True)
    one_each = np.sort(first)
    others = np.setdiff1d(np.arange(len(shuffled)), one_each)
    return np.asarray(shuffled[np.concatenate([one_each, others])[:count]], dtype=np.int64)


def draw_contact_sheet(
    pixels: Mapping[str, npt.NDArray[np.uint8]], captions: Mapping[str, list[str]], headings: Mapping[str, str]
) -> Image.Image:
    """Return the sheet: a heading and a row of captioned images for each set.

    Args:
        pixels: Images of each set, shape ``(n, size, size, 3)``.
        captions: Text under each image.
        headings: Text above each row.
    """
    font = ImageFont.load_default(LINE - 3)
    height = SIDE + 3 * LINE
    sheet = Image.new("RGB", (IMAGES * SIDE, height * len(pixels)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, images) in enumerate(pixels.items()):
        top = number * height
        draw.text((2, top), headings[name], "black", font)
        for place, (image, caption) in enumerate(zip(images, captions[name], strict=True)):
            sheet.paste(Image.fromarray(image).resize((SIDE, SIDE)), (place * SIDE, top + LINE))
            draw.text((place * SIDE + 2, top + LINE + SIDE), _fit(caption, font), "black", font)
    return sheet


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a text, shortened to the width of an image."""
    while font.getlength(text) > SIDE - 4:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
    return text


def caption(faces: Faces, row: int) -> str:
    """Return the class of an image, or its labels that are true."""
    labels, names = faces.labels[row], faces.task.names
    if labels.ndim == 0:
        return names[int(labels)]
    return ", ".join(name for name, given in zip(names, labels, strict=True) if given) or "none"


def write_private_image(path: Path, image: Image.Image) -> None:
    """Write a picture that only the owner of the file can read (file mode 600), whole or not at all."""
    check_format(path)
    with atomic_write(path) as temporary:
        # The mode is given when the file is created: there is no moment at which others could read it.
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "wb") as stream:
            image.save(stream, FORMATS[path.suffix.lower()])
