"""Drawn faces as JPEG files, 128 x 128 as the benchmarks' photographs are, and tables of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gli.data import FaceTable, SyntheticFaces
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.system.console import progress

#: Sizes of MUFAC's evaluation sets.
MUFAC = {"test": 1539, "forget": 1500, "unseen": 1504}
FOLDER = Path("data/benchmark")


def drawn(size: int, people: int = 360, pictures: int = 6) -> SyntheticFaces:
    """Drawn faces, cached in the ordinary place."""
    faces = SyntheticFaces(people=people, pictures=pictures, image_size=size, cache_dir="data/cache")
    faces.prepare_data()
    return faces


def files() -> Path:
    """A folder of JPEG files with a table, ``faces.csv``, that says which set each is of; made on first use."""
    counts = {"retain": 128, **MUFAC}
    folder = FOLDER / "-".join(str(count) for count in counts.values())
    if (folder / "faces.csv").exists():
        return folder
    total = sum(counts.values())
    faces = drawn(128, people=-(-total // 6))
    labels, splits = faces.faces.labels, np.repeat(list(counts), list(counts.values()))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["file,identity,age,split"]
    with progress(f"Writing {total:,} files", total) as advance:
        for row, pixels in enumerate(faces.pixels[np.arange(total)]):
            Image.fromarray(pixels).save(folder / f"images/{row}.jpg", quality=95)
            lines.append(f"images/{row}.jpg,{splits[row]}-{row // 6},{labels[row]},{splits[row]}")
            advance(1)
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


def table(size: int, augmentation: Augmentation = NO_AUGMENTATION) -> FaceTable:
    """The faces of :func:`files`, their pixels in the ordinary cache."""
    faces = FaceTable(
        str(files()), split="given", image_size=size, augmentation=augmentation, cache_dir="data/cache", labels=["age"]
    )
    faces.prepare_data()
    return faces
