from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from gli.data import SyntheticFaces
from gli.data.drawing import draw, sample_person, sample_picture
from gli.data.mufac import AGE_CLASSES
from gli.data.split_plan import SPLITS
from gli.errors import SettingError


def _module(tmp_path: Path, people: int = 20, pictures: int = 3, **kwargs: object) -> SyntheticFaces:
    return SyntheticFaces(people, pictures, image_size=16, cache_dir=str(tmp_path / "cache"), **kwargs)


def test_the_same_seed_gives_the_same_people_labels_and_splits(tmp_path: Path) -> None:
    first, second = _module(tmp_path), _module(tmp_path)
    np.random.seed(1)
    first.setup()
    np.random.seed(2)
    second.setup()
    assert first.digests.tolist() == second.digests.tolist()
    assert first.faces.labels.tolist() == second.faces.labels.tolist()
    for name in SPLITS:
        assert first.splits[name].tolist() == second.splits[name].tolist()
    assert first.fingerprint("train") == second.fingerprint("train")


def test_another_seed_gives_other_people(tmp_path: Path) -> None:
    first, second = _module(tmp_path), _module(tmp_path, seed=1)
    assert not set(first.digests.tolist()) & set(second.digests.tolist())


def test_more_people_do_not_change_the_first_people(tmp_path: Path) -> None:
    few, many = _module(tmp_path, people=5), _module(tmp_path, people=9)
    assert few.digests.tolist() == many.digests[:15].tolist()


def test_every_person_has_the_same_number_of_pictures_and_a_name(tmp_path: Path) -> None:
    data = _module(tmp_path)
    names, counts = np.unique(data.identities, return_counts=True)
    assert len(names) == 20
    assert counts.tolist() == [3] * 20
    assert len(set(data.digests.tolist())) == 60


def test_splits_are_disjoint_and_have_the_requested_sizes(tmp_path: Path) -> None:
    data = _module(tmp_path, people=100, pictures=2, test_share=0.2, unseen_share=0.1, forget_share=0.1)
    data.setup()
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "unseen": 20,
        "test": 40,
        "forget": 14,
        "retain": 126,
    }
    for first, second in combinations(SPLITS, 2):
        assert not set(data.identities[data.splits[first]]) & set(data.identities[data.splits[second]])


def test_age_labels_are_the_classes_of_the_ages(tmp_path: Path) -> None:
    data = _module(tmp_path, people=150, pictures=2)
    assert data.task.names == AGE_CLASSES
    bounds = [tuple(map(int, name.split("-"))) for name in AGE_CLASSES]
    for (_, picture), label in zip(data.faces.images.people, data.faces.labels.tolist(), strict=True):
        low, high = bounds[label]
        assert low <= picture.age <= high
    assert set(data.faces.labels.tolist()) == set(range(8))


def test_attribute_labels_are_the_attributes_of_person_and_picture(tmp_path: Path) -> None:
    data = _module(tmp_path, people=40, task="attributes")
    assert data.task.names == ("male", "smiling", "young")
    assert data.faces.labels.dtype == np.int64
    for (person, picture), labels in zip(data.faces.images.people, data.faces.labels.tolist(), strict=True):
        assert labels == [int(person.male), int(picture.smiling), int(picture.age <= 30)]
    assert (data.faces.labels.min(axis=0) == 0).all()
    assert (data.faces.labels.max(axis=0) == 1).all()


def test_both_tasks_have_the_same_pictures(tmp_path: Path) -> None:
    ages, attributes = _module(tmp_path), _module(tmp_path, task="attributes")
    assert ages.digests.tolist() == attributes.digests.tolist()
    assert ages.fingerprint("train") != attributes.fingerprint("train")


def test_the_cache_has_the_drawn_pictures(tmp_path: Path) -> None:
    data = _module(tmp_path, people=5, pictures=2, seed=4)
    data.prepare_data()
    assert len(list((tmp_path / "cache").glob("pixels-16-*.npy"))) == 1
    pixels = data.pixels[np.arange(10)]
    for number in range(5):
        generator = np.random.default_rng([4, number])
        person = sample_person(generator)
        for picture in range(2):
            expected = draw(person, sample_picture(person, generator), 16)
            np.testing.assert_array_equal(pixels[2 * number + picture], expected)
    assert len({image.tobytes() for image in pixels}) == 10


def test_pictures_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _module(tmp_path, people=5).prepare_data()
    monkeypatch.setattr("gli.data.drawing.draw", None)
    again = _module(tmp_path, people=5)
    again.prepare_data()
    assert again.pixels[np.arange(15)].std() > 10


def test_forget_identities_accepts_people(tmp_path: Path) -> None:
    data = _module(tmp_path, forget_identities=["person0003", "person0011"])
    data.setup()
    assert data.splits["forget"].tolist() == [9, 10, 11, 33, 34, 35]


@pytest.mark.parametrize(
    ("kwargs", "fragments"),
    [
        ({"people": 3}, ["data.people is 3", "4 people or more"]),
        ({"pictures": 0}, ["data.pictures 0", "at least 1 picture each"]),
        ({"split": "published"}, ["data.split is 'published'", "the data set comes with no split", "'identity'"]),
        ({"forget_identities": ["person11"]}, ["'person11'", "not in the table", "Identities look like 'person0000'"]),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, kwargs: dict[str, object], fragments: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        _module(tmp_path, **kwargs).setup()
    for fragment in fragments:
        assert fragment in str(caught.value)
