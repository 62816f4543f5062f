"""Fake data sets on disk, in the formats in which the real ones are published."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

#: One row of a MUFAC table: family, person, age class, number of the picture (the same number gives the same bytes).
MufacRow = tuple[str, str, str, int]
MUFAC_HEADER = ("family_id", "person_id", "age_class", "image_path")
MUFAC_FAMILIES = {"train": 1, "val": 801, "test": 851}

#: The 40 names of CelebA, in its order.
# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on
#: First and last identity numbers of the published sets, and one between.
MUCAC_IDENTITIES = (0, 100, 189, 190, 1000, 1969, 1970, 3000, 4854, 4855, 6000, 6216)
MUCAC_IMAGES = "CelebAMask-HQ/CelebA-HQ-img"
#: For each layout: the folder of the text files and the folder of the images.
MUCAC_LAYOUTS = {
    "text in root": (".", MUCAC_IMAGES),
    "text in CelebAMask-HQ": ("CelebAMask-HQ", MUCAC_IMAGES),
    "root is CelebAMask-HQ": (".", "CelebA-HQ-img"),
    "side by side": (".", "."),
}


@lru_cache
def _plain_jpeg(shade: int, size: int) -> bytes:
    pixels = np.random.default_rng(shade).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR).save(file, "JPEG", quality=95)
    return file.getvalue()


def jpeg(number: int, size: int = 16) -> bytes:
    """A small JPEG whose bytes are different for each number; the pixels repeat after 16 numbers."""
    return _plain_jpeg(number % 16, size) + b"#%d" % number  # decoders stop before the trailer


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def mufac_rows(part: str, count: int, *, first_number: int = 0, per_person: int = 3) -> list[MufacRow]:
    """Made-up rows: families of two people (``A`` and ``D``) with ``per_person`` pictures each, all ages in turn."""
    rows = []
    for row in range(count):
        person, family = "AD"[row // per_person % 2], MUFAC_FAMILIES[part] + row // (2 * per_person)
        rows.append((f"F{family:04d}", person, "abcdefgh"[row % 8], first_number + row))
    return rows


def make_mufac(
    root: Path,
    train: int | Sequence[MufacRow] = 48,
    val: int | Sequence[MufacRow] = 12,
    test: int | Sequence[MufacRow] = 12,
) -> Path:
    """Write three CSV files and three image folders.

    Args:
        root: Folder to make.
        train: Rows of this part, or their number (all pictures different, nobody in two parts).
        val: The same.
        test: The same.
    """
    first_number = 0
    for part, given in (("train", train), ("val", val), ("test", test)):
        rows = mufac_rows(part, given, first_number=first_number) if isinstance(given, int) else given
        first_number += 100_000
        folder = root / f"{part}_images"
        folder.mkdir(parents=True)
        lines = []
        for place, (family, person, age, number) in enumerate(rows):
            name = f"{family}_{person}_{age}_{place}{'.JPG' if place % 5 == 0 else '.jpg'}"
            (folder / name).write_bytes(jpeg(number))
            lines.append((family, person, age, name))
        _write_csv(root / f"custom_{part}_dataset.csv", MUFAC_HEADER, lines)
    return root


def make_mucac(
    root: Path,
    identities: Sequence[int] | npt.NDArray[np.int64] = MUCAC_IDENTITIES,
    *,
    layout: str = "text in root",
    attributes: npt.NDArray[np.int64] | None = None,
    decodable: bool = True,
) -> Path:
    """Write the identity and the attribute file and the images ``0.jpg``, ``1.jpg`` and so on.

    Args:
        root: Folder to make.
        identities: Identity number of each image.
        layout: One of ``MUCAC_LAYOUTS``.
        attributes: 1 and -1 of shape ``(images, 40)``; None for made-up ones.
        decodable: Whether the images are JPEGs, or a few bytes only, different for each.
    """
    count = len(identities)
    if attributes is None:
        attributes = np.random.default_rng(7).choice((-1, 1), (count, len(ATTRIBUTES)))
    text, images = (root / folder for folder in MUCAC_LAYOUTS[layout])
    text.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (images / f"{number}.jpg").write_bytes(jpeg(number) if decodable else b"%d" % number)
    lines = [f"{number}.jpg {identity}\n" for number, identity in enumerate(identities)]
    (text / "CelebA-HQ-identity.txt").write_text("".join(lines))
    lines = [f"{number}.jpg  {' '.join(map(str, values))}\n" for number, values in enumerate(attributes.tolist())]
    (text / "CelebA-HQ-attribute.txt").write_text(f"{count}\n{' '.join(ATTRIBUTES)} \n{''.join(lines)}")
    return root


def make_table(
    root: Path,
    rows: Sequence[Sequence[object]],
    header: Sequence[str] = ("file", "identity", "age"),
    *,
    csv_name: str = "faces.csv",
    pictures: Mapping[str, int] | None = None,
) -> Path:
    """Write a CSV and an image for every name in its first column that stays in the folder.

    Args:
        root: Folder to make.
        rows: Rows below the header; the first field is the file.
        header: Column names.
        csv_name: Name of the CSV file.
        pictures: Number of the picture behind a name, where two files are to be identical; else all are different.
    """
    root.mkdir(parents=True, exist_ok=True)
    _write_csv(root / csv_name, header, rows)
    for place, row in enumerate(rows):
        name = str(row[0])
        if not name or name.startswith(("/", "..")):
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg((pictures or {}).get(name, place)))
    return root
