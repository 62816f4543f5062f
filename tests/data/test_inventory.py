"""The contents of a table, counted on one small enough to count by hand."""

from __future__ import annotations

import numpy as np

from gli.data.faces import Faces, Images
from gli.data.inventory import label_distance, take_inventory
from gli.data.tasks import MultiClass, MultiLabel


class Nothing(Images):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def digests(self, cache_dir):
        raise AssertionError

    def pixels(self, row, size):
        raise AssertionError


FACES = Faces(
    Nothing(8),
    np.array([0, 1, 0, 0, 1, 1, 1, 0]),
    np.array(["a", "a", "b", "b", "c", "c", "d", "e"]),
    MultiClass(("young", "old")),
)
#: Row 1 is a copy of row 0; rows 2 and 4 are one file under two names; row 7 is in no set.
DIGESTS = np.array([b"x", b"x", b"y", b"z", b"y", b"u", b"v", b"w"])
SPLITS = {"retain": np.array([0, 1, 2]), "forget": np.array([3]), "test": np.array([4, 5]), "unseen": np.array([6])}


def test_every_count_is_that_by_hand():
    found = take_inventory(FACES, SPLITS, DIGESTS)
    assert (found.images, found.people, found.households, found.unused) == (8, 5, 5, 1)
    assert (found.duplicate_files, found.duplicate_images, found.shared_files) == (2, 2, 1)
    assert {name: (each.images, each.people) for name, each in found.sets.items()} == {
        "retain": (3, 2),
        "forget": (1, 1),
        "test": (2, 1),
        "unseen": (1, 1),
    }
    assert found.sets["retain"].labels == {"young": 2, "old": 1}
    assert [(each.sets, each.people, each.files) for each in found.crossings] == [
        (("retain", "forget"), ("b",), 0),
        (("retain", "test"), (), 1),
    ]


def test_labels_of_a_multi_label_task_are_counted_one_by_one():
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    faces = Faces(Nothing(3), labels, np.array(["a", "b", "c"]), MultiLabel(("male", "smiling")))
    found = take_inventory(faces, {"retain": np.array([0, 1]), "forget": np.array([2])}, np.array([b"1", b"2", b"3"]))
    assert found.sets["retain"].labels == {"male": 2, "smiling": 1}
    assert label_distance(found.sets["retain"], found.sets["forget"]) == 1.0
