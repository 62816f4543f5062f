"""MUCAC: 30,000 CelebA-HQ faces with three yes/no labels and identities.

On disk, as published::

    root/
      CelebA-HQ-identity.txt      # <n>.jpg <identity number>
      CelebA-HQ-attribute.txt     # number of images; 40 names; then <n>.jpg and 40 values of 1 or -1 per line
      CelebAMask-HQ/CelebA-HQ-img/<n>.jpg

The text files may also be in ``CelebAMask-HQ/``, and the images in ``CelebA-HQ-img/`` or directly in ``root``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gli.data.augment import Augmentation
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, ImageFiles
from gli.data.recipe import Recipe
from gli.data.split_plan import Split
from gli.data.tasks import MultiClass, MultiLabel, Task
from gli.errors import DataError, did_you_mean
from gli.system.files import inside, read_text, require_folder

MUCACTask = Literal["all", "male", "smiling", "young", "male_label", "smiling_label", "young_label"]
LABELS = {"male": "Male", "smiling": "Smiling", "young": "Young"}
IDENTITY_FILE, ATTRIBUTE_FILE = "CelebA-HQ-identity.txt", "CelebA-HQ-attribute.txt"
TEXT_FOLDERS = (".", "CelebAMask-HQ")
IMAGE_FOLDERS = ("CelebAMask-HQ/CelebA-HQ-img", "CelebA-HQ-img", ".")
HINT = (
    "CelebAMask-HQ is published at https://github.com/switchablenorms/CelebAMask-HQ, the identities with MUCAC at "
    "https://github.com/ndb796/MachineUnlearning; unpack both and point --data.root to the folder."
)


class MUCAC(FaceDataModule):
    """Attributes of CelebA-HQ faces (Choi and Na, 2023), the paper's multi-label benchmark; or one attribute alone.

    Args:
        root: Folder with the two text files and the images.
        split: ``published`` or ``identity``.
        task: ``all`` for male, smiling and young together, three yes/no labels; ``male``, ``smiling`` or ``young`` for
            two classes with cross-entropy, as in the released code; ``male_label``, ``smiling_label`` or
            ``young_label`` for the same question as one yes/no label: one logit with binary cross-entropy.
        forget_from: Lowest identity number in the forget set of the published split; the retain set has the numbers
            from 190 to one below it. The GLI paper's code uses 1970, the benchmark's code 1250.
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.
    """

    label = "mucac"

    def __init__(
        self,
        root: str = "data/mucac",
        split: Split = "published",
        task: MUCACTask = "all",
        forget_from: int = 1970,
        augmentation: Augmentation = Augmentation(),
        recipe: Recipe = Recipe(momentum=0.0, epochs=8, retrained_epochs=7),
        **kwargs: Any,
    ) -> None:
        super().__init__(split=split, augmentation=augmentation, recipe=recipe, **kwargs)
        self.root, self.labels, self.forget_from = Path(root), task, forget_from

    def table(self) -> Faces:
        """Read the two text files and return the face table.

        Raises:
            DataError: If a folder or a file does not exist, a line of a text file violates its format, or an image has
                no identity.
        """
        require_folder(self.root, "MUCAC", HINT)
        identities = self._identities()
        names, attributes, lines = self._attributes()
        folder = self._image_folder(next(iter(attributes)))
        identity_file, attribute_file = self._text_file(IDENTITY_FILE), self._text_file(ATTRIBUTE_FILE)
        for name in attributes:
            inside(self.root / folder, name, f"{attribute_file}, line {lines[name]}")
            if name not in identities:
                raise DataError(
                    f"{identity_file}: {name} of {ATTRIBUTE_FILE} has no identity here. Add a line '{name} <number>'."
                )
        label_names = list(LABELS) if self.labels == "all" else [self.labels.removesuffix("_label")]
        columns = [names.index(LABELS[label]) for label in label_names]
        numbers = np.array([identities[name] for name in attributes])
        bounds = {"test": (0, 190), "retain": (190, self.forget_from), "forget": (self.forget_from, 4855)}
        published = {
            split: np.flatnonzero((low <= numbers) & (numbers < high)) for split, (low, high) in bounds.items()
        }
        labels = (np.array([[row[column] for column in columns] for row in attributes.values()]) > 0).astype(np.int64)
        task: Task = MultiLabel(tuple(label_names))
        if self.labels in LABELS:  # Class 1 is yes.
            task, labels = MultiClass((f"not {self.labels}", self.labels)), labels[:, 0]
        return Faces(
            images=ImageFiles(self.root, [f"{folder}/{name}" for name in attributes]),
            labels=labels,
            identities=numbers.astype(str),
            task=task,
            published={**published, "unseen": np.flatnonzero(numbers >= 4855)},
        )

    def _text_file(self, name: str) -> Path:
        """Return the path of a text file in the first folder that has it."""
        paths = [self.root / folder / name for folder in TEXT_FOLDERS]
        for path in paths:
            if os.path.isfile(path):
                return path
        raise DataError(f"{paths[0]}: no such file (nor {paths[1]}). {HINT}")

    def _image_folder(self, first: str) -> str:
        """Return the folder of the images, relative to ``root``; ``first`` is the file name of an image."""
        for folder in IMAGE_FOLDERS:
            if os.path.isfile(self.root / folder / first):
                return folder
        for folder in IMAGE_FOLDERS[:-1]:
            if (self.root / folder).is_dir():
                return folder  # Only this image is missing; ImageFiles.digests names missing images.
        raise DataError(f"{self.root / IMAGE_FOLDERS[0]}: no images found here (nor directly in {self.root}). {HINT}")

    def _identities(self) -> dict[str, int]:
        path = self._text_file(IDENTITY_FILE)
        identities: dict[str, int] = {}
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 2 or not re.fullmatch(r"[0-9]{1,18}", fields[1]):
                raise DataError(
                    f"{path}, line {number}: expected '<n>.jpg <identity number>', found {line.strip()[:60]!r}."
                )
            if fields[0] in identities:
                raise DataError(f"{path}, line {number}: {fields[0]} is listed a second time. Keep one of the lines.")
            identities[fields[0]] = int(fields[1])
        return identities

    def _attributes(self) -> tuple[list[str], dict[str, list[int]], dict[str, int]]:
        """Return the attribute names, and for each file name its attributes (1 or -1) and its line number."""
        path = self._text_file(ATTRIBUTE_FILE)
        lines = read_text(path).split("\n")
        names = lines[1].split() if len(lines) > 1 else []
        for attribute in LABELS.values():
            if attribute not in names:
                raise DataError(
                    f"{path}, line 2: the attribute {attribute!r} is missing.{did_you_mean(attribute, names)} "
                    "Line 1 is the count, line 2 the 40 attribute names."
                )
            if names.count(attribute) > 1:
                raise DataError(f"{path}, line 2: the attribute {attribute!r} is listed twice. Keep one.")
        attributes: dict[str, list[int]] = {}
        line_numbers: dict[str, int] = {}
        for number, line in enumerate(lines[2:], start=3):
            fields = line.split()
            if not fields:
                continue
            where = f"{path}, line {number}"
            if len(fields) != len(names) + 1:
                raise DataError(f"{where}: {len(fields) - 1} values, but line 2 names {len(names)} attributes.")
            for name, value in zip(names, fields[1:], strict=True):
                if value not in ("1", "-1"):
                    raise DataError(f"{where}: {name} is {value!r}; an attribute is 1 or -1.")
            if fields[0] in attributes:
                raise DataError(f"{where}: {fields[0]} is listed a second time. Keep one of the lines.")
            attributes[fields[0]] = [int(value) for value in fields[1:]]
            line_numbers[fields[0]] = number
        count = lines[0].strip()
        if attributes and count != str(len(attributes)):
            raise DataError(
                f"{path}, line 1: the count is {count[:20]!r}, but {len(attributes)} images follow. The file may be "
                "truncated: copy it again."
            )
        if not attributes:
            raise DataError(f"{path}: lists no images below its two header lines.")
        return names, attributes, line_numbers
