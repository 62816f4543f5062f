"""Faces drawn by the program: a benchmark that needs no download and shows no real person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gli.data import drawing
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, Images
from gli.data.mufac import AGE_CLASSES
from gli.data.recipe import Recipe
from gli.data.split_plan import Split
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import SettingError
from gli.system.digest import digest

#: Part of the content hash; increment it whenever the drawing program changes its pictures.
DRAWING = 1
#: Lowest age of each age class, in years.
AGE_STARTS = tuple(first for first, _ in drawing.AGE_CLASSES)
#: People below this age, in years, have the label ``young``.
YOUNG_BELOW = 31


@dataclass(frozen=True)
class DrawnFaces(Images):
    """Pictures that are drawn when their pixels are read."""

    people: Sequence[tuple[drawing.Person, drawing.Picture]]  # The person and the picture of each image.
    verb = "Drawing"

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.people)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Return one hash per picture, of all that the drawing depends on; ``cache_dir`` is not used."""
        return np.array([digest(DRAWING, repr(person), repr(picture)) for person, picture in self.people], dtype="S32")

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Draw one face as uint8 RGB of shape ``(size, size, 3)``."""
        person, picture = self.people[row]
        return drawing.draw(person, picture, size)


class SyntheticFaces(FaceDataModule):
    """Drawn people; the pictures of a person differ in pose, light, background, expression and age.

    Args:
        people: Number of people.
        pictures: Number of pictures of each person.
        seed: Seed of the people and their pictures.
        task: ``age`` for the eight age classes (multi-class), ``attributes`` for male, smiling and young (multi-label).
        split: Must be ``identity``; there is no published split.
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.

    Raises:
        SettingError: If there are fewer than 4 people, or no pictures.
    """

    label = "synthetic"

    def __init__(
        self,
        people: int = 360,
        pictures: int = 6,
        seed: int = 0,
        task: Literal["age", "attributes"] = "age",
        split: Split = "identity",
        image_size: int = 64,
        test_share: float = 0.16,
        unseen_share: float = 0.11,
        augmentation: Augmentation = NO_AUGMENTATION,
        recipe: Recipe = Recipe(lr=0.05, momentum=0.9, epochs=13, milestones=(11,)),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            split=split,
            image_size=image_size,
            test_share=test_share,
            unseen_share=unseen_share,
            augmentation=augmentation,
            recipe=recipe,
            **kwargs,
        )
        if people < 4 or pictures < 1:
            raise SettingError(
                f"data.people is {people} and data.pictures {pictures}; there must be 4 people or more, with at least "
                "1 picture each."
            )
        self.people, self.pictures, self.seed, self.kind = people, pictures, seed, task

    def table(self) -> Faces:
        """Sample the people and their pictures and return the face table, without pixels."""
        pictures, names = [], []
        for number in range(self.people):
            generator = np.random.default_rng([self.seed, number])
            person = drawing.sample_person(generator)
            pictures += [(person, drawing.sample_picture(person, generator)) for _ in range(self.pictures)]
            names += [f"person{number:04d}"] * self.pictures
        if self.kind == "age":
            labels = np.searchsorted(AGE_STARTS, [picture.age for _, picture in pictures], side="right") - 1
        else:
            labels = np.array(
                [(person.male, picture.smiling, picture.age < YOUNG_BELOW) for person, picture in pictures]
            )
        task = MultiClass(AGE_CLASSES) if self.kind == "age" else MultiLabel(("male", "smiling", "young"))
        return Faces(DrawnFaces(pictures), labels.astype(np.int64), np.array(names), task)
