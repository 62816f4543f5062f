"""Data of the benchmarks: drawn faces, as a data module and as JPEG files of 128 x 128 with a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gli.data import FaceTable, SyntheticFaces
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.system.console import progress

#: Sizes of MUFAC's evaluation sets.
MUFAC = {"test": 1539, "forget": 1500, "unseen": 1504}
#: Number of pictures of each person.
PICTURES = 6
FOLDER = Path("data/benchmark")


def drawn_faces(size: int, people: int = 360) -> SyntheticFaces:
    """Return drawn faces, ``PICTURES`` of each person, with a filled pixel cache."""
    data = SyntheticFaces(people=people, pictures=PICTURES, image_size=size, cache_dir="data/cache")
    data.prepare_data()
    return data


def jpeg_folder() -> Path:
    """Return a folder of JPEG files with a table ``faces.csv``; create it on first use.

    The columns of the table are file, identity, age and split. The evaluation sets have the sizes of MUFAC's.
    """
    counts = {"retain": 128, **MUFAC}
    folder = FOLDER / "-".join(str(count) for count in counts.values())
    if (folder / "faces.csv").exists():
        return folder
    total = sum(counts.values())
    data = drawn_faces(128, people=-(-total // PICTURES))
    labels, splits = data.faces.labels, np.repeat(list(counts), list(counts.values()))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["file,identity,age,split"]
    with progress(f"Writing {total:,} files", total) as advance:
        for row, pixels in enumerate(data.pixels[np.arange(total)]):
            Image.fromarray(pixels).save(folder / f"images/{row}.jpg", quality=95)
            lines.append(f"images/{row}.jpg,{splits[row]}-{row // PICTURES},{labels[row]},{splits[row]}")
            advance(1)
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


def jpeg_faces(size: int, augmentation: Augmentation = NO_AUGMENTATION) -> FaceTable:
    """Return the faces of :func:`jpeg_folder` as a data module with a filled pixel cache."""
    data = FaceTable(
        str(jpeg_folder()),
        split="given",
        image_size=size,
        augmentation=augmentation,
        cache_dir="data/cache",
        labels=["age"],
    )
    data.prepare_data()
    return data
