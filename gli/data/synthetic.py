"""Faces drawn by the program: a face benchmark that needs no download and shows nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gli.data import drawing
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.datamodule import FaceDataModule, Split
from gli.data.drawing import Person, Picture, draw_face, sample_person, sample_picture
from gli.data.faces import Faces, Images
from gli.data.mufac import AGE_CLASSES
from gli.data.recipe import Recipe
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import SettingError
from gli.system.digest import digest

#: Part of the content hash: raised whenever the drawing changes.
DRAWING = 1
AGE_STARTS = tuple(first for first, _ in drawing.AGE_CLASSES)
YOUNG_BELOW = 31


@dataclass(frozen=True)
class DrawnFaces(Images):
    """Pictures that are drawn when their pixels are asked for."""

    people: Sequence[tuple[Person, Picture]]
    verb = "Drawing"

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.people)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Hashes of everything that a drawing depends on."""
        return np.array([digest(DRAWING, repr(person), repr(picture)) for person, picture in self.people], dtype="S32")

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Draw one face."""
        person, picture = self.people[row]
        return draw_face(person, picture, size)


class SyntheticFaces(FaceDataModule):
    """Drawn people, each in several pictures that differ in pose, light, background, expression and age.

    Args:
        people: Number of people.
        pictures: Pictures of each.
        seed: Seed of the people and their pictures.
        task: ``age`` for the eight age classes (multi-class), ``attributes`` for male, smiling and young (multi-label).
        split: Only ``identity`` makes sense here.
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.
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
        recipe: Recipe = Recipe(lr=0.05, momentum=0.9, epochs=13, milestones=(11,)),  # noqa: B008 - frozen
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
            raise SettingError(f"data.people is {people} and data.pictures {pictures}; there must be 4 people or more.")
        self.people, self.pictures, self.seed, self.kind = people, pictures, seed, task

    def table(self) -> Faces:
        """Make the people up; nothing is drawn yet."""
        drawn, names = [], []
        for number in range(self.people):
            generator = np.random.default_rng([self.seed, number])
            person = sample_person(generator)
            drawn += [(person, sample_picture(person, generator)) for _ in range(self.pictures)]
            names += [f"person{number:04d}"] * self.pictures
        if self.kind == "age":
            labels = np.searchsorted(AGE_STARTS, [picture.age for _, picture in drawn], side="right") - 1
        else:
            traits = [(person.male, picture.smiling, picture.age < YOUNG_BELOW) for person, picture in drawn]
            labels = np.array(traits)
        task = MultiClass(AGE_CLASSES) if self.kind == "age" else MultiLabel(("male", "smiling", "young"))
        return Faces(DrawnFaces(drawn), labels.astype(np.int64), np.array(names), task)
