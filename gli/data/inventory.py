"""What a face table and its split hold: images, people, labels, identical files, people in two sets. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from gli.data.faces import Faces
from gli.data.split_plan import find_overlaps

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SetContents:
    """The contents of one set."""

    images: int  # Number of images.
    people: int  # Number of identities.
    labels: Mapping[str, int]  # Images of each class, or images for which each label is true, by its name.


@dataclass(frozen=True)
class Crossing:
    """What two sets have in common."""

    sets: tuple[str, str]  # Names of both.
    people: tuple[str, ...]  # Identities in both.
    files: int  # Number of files with identical contents in both.


@dataclass(frozen=True)
class Inventory:
    """The contents of a face table and of its split."""

    images: int  # Images in the table.
    people: int  # Identities in the table.
    households: int  # Groups that a random split does not divide, by name; see :class:`~gli.data.faces.Faces`.
    unused: int  # Images in no set.
    sets: Mapping[str, SetContents]  # The contents of each set.
    duplicate_files: int  # Different files that the table has more than once, byte by byte.
    duplicate_images: int  # Images that are copies of an earlier one.
    shared_files: int  # Different files under the names of several people.
    crossings: tuple[Crossing, ...]  # Pairs of sets with common people or files.


def take_inventory(faces: Faces, splits: Mapping[str, Rows], digests: npt.NDArray[np.bytes_]) -> Inventory:
    """Return the contents of a face table and of its split."""
    _, files, counts = np.unique(digests, return_inverse=True, return_counts=True)
    _, people = np.unique(faces.identities, return_inverse=True)
    owners = np.unique(np.stack([files.ravel(), people.ravel()]), axis=1)[0]
    people_of_pair, files_of_pair = find_overlaps(splits, faces.identities), find_overlaps(splits, digests)
    return Inventory(
        images=len(faces),
        people=len(np.unique(faces.identities)),
        households=len(np.unique(faces.households)),
        unused=len(faces) - len(np.unique(np.concatenate(list(splits.values())))),
        sets={name: _contents(faces, rows) for name, rows in splits.items()},
        duplicate_files=int((counts > 1).sum()),
        duplicate_images=len(faces) - len(counts),
        shared_files=int((np.bincount(owners) > 1).sum()),
        crossings=tuple(
            Crossing(pair, tuple(people_of_pair.get(pair, ())), len(files_of_pair.get(pair, ())))
            for pair in combinations(splits, 2)
            if pair in people_of_pair or pair in files_of_pair
        ),
    )


def _contents(faces: Faces, rows: Rows) -> SetContents:
    labels, names = faces.labels[rows], faces.task.names
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(names))
    by_name = {name: int(count) for name, count in zip(names, counts, strict=True)}
    return SetContents(len(rows), len(np.unique(faces.identities[rows])), by_name)


def label_distance(first: SetContents, second: SetContents) -> float:
    """Return how far the labels of two sets differ, in [0, 1]: the largest difference of a label's share of images."""
    sizes = max(1, first.images), max(1, second.images)
    return max(abs(first.labels[name] / sizes[0] - second.labels[name] / sizes[1]) for name in first.labels)
