"""MUFAC: 13,068 faces of Korean families in eight age classes.

On disk, as published::

    root/
      custom_train_dataset.csv  custom_val_dataset.csv  custom_test_dataset.csv
      train_images/  val_images/  test_images/          # .jpg and .JPG, 128 x 128

The CSV files have the columns ``family_id,person_id,age_class,image_path``. The benchmark's **test** set is the file
called *val*, its **unseen** set is the file called *test*, and its **forget** set is the first 1,500 rows of *train*.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gli.data.augment import Augmentation
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, ImageFiles
from gli.data.recipe import Recipe
from gli.data.split_plan import Split
from gli.data.tasks import MultiClass
from gli.errors import DataError
from gli.system.files import Row, inside, read_csv, require_folder

AGE_CLASSES = ("0-6", "7-12", "13-19", "20-30", "31-45", "46-55", "56-66", "67-80")
AGE_LETTERS = "abcdefgh"
COLUMNS = ("family_id", "person_id", "age_class", "image_path")
FORGET_ROWS = 1500
HINT = "MUFAC is published at https://github.com/ndb796/MachineUnlearning; unpack it and point --data.root to it."


class MUFAC(FaceDataModule):
    """Age classes of Korean families (Choi and Na, 2023), the paper's multi-class benchmark.

    People are named ``<family>/<person>``, such as ``F0046/D``; ``forget_identities`` also takes whole families. The
    published split divides person F0046/D and has identical files in several sets. With ``split="identity"``, families
    that share a file are one group, and no group is divided.

    Args:
        root: Folder with the three CSV files and the three image folders.
        split: ``published`` or ``identity``.
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.
    """

    label = "mufac"

    def __init__(
        self,
        root: str = "data/mufac",
        split: Split = "published",
        augmentation: Augmentation = Augmentation(),
        recipe: Recipe = Recipe(),
        **kwargs: Any,
    ) -> None:
        super().__init__(split=split, augmentation=augmentation, recipe=recipe, **kwargs)
        self.root = Path(root)

    def table(self) -> Faces:
        """Read the three CSV files and return the face table.

        Raises:
            DataError: If a folder, a file or a column does not exist, a family or person is empty, or an age class is
                unknown.
        """
        require_folder(self.root, "MUFAC", HINT)
        rows: list[Row] = []
        paths: list[str] = []
        ends = [0]
        for subset in ("train", "val", "test"):
            folder = f"{subset}_images"
            require_folder(self.root / folder, f"MUFAC's {subset} images", HINT)
            csv = self.root / f"custom_{subset}_dataset.csv"
            subset_rows = read_csv(csv, COLUMNS, exact=True)
            for row in subset_rows:
                where = f"{csv}, line {row.line}"
                for name in COLUMNS[:2]:
                    if not row[name]:
                        raise DataError(f"{where}: {name} is empty. Name the person on the image, or remove the row.")
                if row["age_class"] not in AGE_LETTERS or len(row["age_class"]) != 1:
                    raise DataError(
                        f"{where}: unknown age class {row['age_class']!r}; it is one of the letters a to h."
                    )
                paths.append(f"{folder}/{inside(self.root / folder, row['image_path'], where)}")
            rows += subset_rows
            ends.append(len(rows))
        forget = min(FORGET_ROWS, ends[1])
        return Faces(
            images=ImageFiles(self.root, paths),
            labels=np.array([AGE_LETTERS.index(row["age_class"]) for row in rows], dtype=np.int64),
            identities=np.array([f"{row['family_id']}/{row['person_id']}" for row in rows]),
            households=np.array([row["family_id"] for row in rows]),
            task=MultiClass(AGE_CLASSES),
            published={
                "forget": np.arange(forget),
                "retain": np.arange(forget, ends[1]),
                "test": np.arange(ends[1], ends[2]),
                "unseen": np.arange(ends[2], ends[3]),
            },
        )
