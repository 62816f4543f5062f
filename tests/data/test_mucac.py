from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from gli.data import MUCAC
from gli.data.augment import Augmentation
from gli.data.split_plan import SPLITS
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import CheckpointError, DataError, SettingError
from gli.models.backbones import build_classifier
from gli.models.checkpoints import load_weights

Maker = Callable[..., Path]
IMAGES = "CelebAMask-HQ/CelebA-HQ-img"

#: First identity number of each published set, its last plus 1, and the number of images.
PUBLISHED = {
    "test": (0, 190, 2065),
    "retain": (190, 1970, 15385),
    "forget": (1970, 4855, 10548),
    "unseen": (4855, 6217, 2002),
}


def _module(root: Path, **kwargs: object) -> MUCAC:
    return MUCAC(root=str(root), cache_dir=str(root.parent / "cache"), image_size=8, **kwargs)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, make_mucac: Maker) -> tuple[Path, np.ndarray]:
    """As many images and people as the real data set has in each range of identity numbers, in random order."""
    numbers = np.concatenate([np.resize(np.arange(low, high), count) for low, high, count in PUBLISHED.values()])
    identities = np.random.default_rng(0).permutation(numbers)
    return make_mucac(tmp_path_factory.mktemp("full") / "mucac", identities, decodable=False), identities


def test_published_sizes_of_the_full_data_set(full: tuple[Path, np.ndarray]) -> None:
    root, identities = full
    data = _module(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup()
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "test": 2065,
        "retain": 15385,
        "forget": 10548,
        "unseen": 2002,
    }
    assert len(data.rows("train")) == 25933
    assert len(set(data.identities.tolist())) == 6217
    for name, (low, high, _) in PUBLISHED.items():
        numbers = data.identities[data.splits[name]].astype(int)
        assert numbers.min() == low
        assert numbers.max() == high - 1
    np.testing.assert_array_equal(data.identities.astype(int), identities)


def test_forget_from_is_the_first_identity_of_the_forget_set(full: tuple[Path, np.ndarray]) -> None:
    root, identities = full
    published = _module(root, forget_from=1250).table().published
    assert published["retain"].tolist() == np.flatnonzero((identities >= 190) & (identities < 1250)).tolist()
    assert published["forget"].tolist() == np.flatnonzero((identities >= 1250) & (identities < 4855)).tolist()
    assert (len(published["test"]), len(published["unseen"])) == (2065, 2002)


def test_identity_split_is_disjoint(tmp_path: Path, make_mucac: Maker) -> None:
    identities = np.random.default_rng(1).integers(0, 6217, 60).repeat(3)
    data = _module(make_mucac(tmp_path / "mucac", identities, decodable=False), split="identity")
    data.setup()
    people = {name: set(data.identities[rows].tolist()) for name, rows in data.splits.items()}
    for first, second in combinations(SPLITS, 2):
        assert not people[first] & people[second]
    assert sum(len(rows) for rows in data.splits.values()) == 180


@pytest.mark.parametrize(
    ("number", "split"), [(0, "test"), (189, "test"), (190, "retain"), (1969, "retain"), (1970, "forget")]
)
def test_identity_ranges_of_test_retain_and_forget(tmp_path: Path, make_mucac: Maker, number: int, split: str) -> None:
    faces = _module(make_mucac(tmp_path / "mucac", [number])).table()
    assert {name: rows.tolist() for name, rows in faces.published.items()} == {
        name: [0] if name == split else [] for name in SPLITS
    }


@pytest.mark.parametrize(("number", "split"), [(4854, "forget"), (4855, "unseen"), (6216, "unseen")])
def test_identity_ranges_of_forget_and_unseen(tmp_path: Path, make_mucac: Maker, number: int, split: str) -> None:
    faces = _module(make_mucac(tmp_path / "mucac", [number])).table()
    assert [name for name, rows in faces.published.items() if len(rows)] == [split]


@pytest.mark.parametrize("layout", ["text in root", "text in CelebAMask-HQ", "root is CelebAMask-HQ", "side by side"])
def test_layouts(tmp_path: Path, make_mucac: Maker, layout: str) -> None:
    data = _module(make_mucac(tmp_path / "mucac", layout=layout))
    data.prepare_data()
    assert {name: len(rows) for name, rows in data.splits.items()} == dict.fromkeys(SPLITS, 3)
    np.testing.assert_array_equal(data.pixels[np.array([5])][0], data.faces.images.pixels(5, 8))


@pytest.mark.parametrize(("task", "column"), [("male", 21), ("smiling", 32), ("young", 40)])
def test_a_binary_task_is_one_column_of_the_attributes(
    tmp_path: Path, make_mucac: Maker, task: str, column: int
) -> None:
    # Each row has a single attribute, so that the test detects a wrong column.
    attributes = np.where(np.eye(40, dtype=bool), 1, -1)
    root = make_mucac(tmp_path / "mucac", list(range(40)), attributes=attributes)
    faces = _module(root, task=task).table()
    assert faces.task == MultiClass((f"not {task}", task))
    assert faces.labels.shape == (40,)
    assert np.flatnonzero(faces.labels).tolist() == [column - 1]
    single = _module(root, task=f"{task}_label").table()
    assert single.task == MultiLabel((task,))
    assert single.labels.shape == (40, 1)
    assert single.labels[:, 0].tolist() == faces.labels.tolist()


def test_an_original_of_the_released_binary_code_loads_and_one_logit_does_not(
    tmp_path: Path, make_mucac: Maker
) -> None:
    """It has two outputs, under the doubled name of the benchmark's head; its loss is the cross-entropy."""
    data = _module(make_mucac(tmp_path / "mucac"), task="male")
    released = build_classifier("resnet18_slim", 2)
    state = {key.replace("fc.", "fc.fc.", 1): value for key, value in released.backbone.state_dict().items()}
    torch.save(state, tmp_path / "original.pth")
    classifier = build_classifier("resnet18_slim", data.task.num_outputs)
    load_weights(classifier, tmp_path / "original.pth", "resnet18_slim")
    images, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 1])
    logits = classifier.eval()(images)
    torch.testing.assert_close(logits, released.eval()(images))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(data.task.loss(logits, labels), expected)
    one = _module(data.root, task="male_label").task
    with pytest.raises(CheckpointError, match="has 2 outputs, but the data has 1"):
        load_weights(build_classifier("resnet18_slim", one.num_outputs), tmp_path / "original.pth", "resnet18_slim")


def test_all_labels_in_the_order_male_smiling_young(tmp_path: Path, make_mucac: Maker) -> None:
    attributes = np.where(np.eye(40, dtype=bool), 1, -1)
    faces = _module(make_mucac(tmp_path / "mucac", list(range(40)), attributes=attributes)).table()
    assert faces.task.names == ("male", "smiling", "young")
    assert faces.labels.dtype == np.int64
    assert [np.flatnonzero(column).tolist() for column in faces.labels.T] == [[20], [31], [39]]


def test_people_are_matched_by_file_name_in_any_order_of_the_identity_file(tmp_path: Path, make_mucac: Maker) -> None:
    root = make_mucac(tmp_path / "mucac", [5, 300, 5, 2000, 5000])
    path = root / "CelebA-HQ-identity.txt"
    path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().splitlines())))
    assert _module(root).identities.tolist() == ["5", "300", "5", "2000", "5000"]


def test_people_can_be_named_by_number(tmp_path: Path, make_mucac: Maker) -> None:
    data = _module(make_mucac(tmp_path / "mucac"), forget_identities=["190"])
    data.setup()
    assert data.splits["forget"].tolist() == [3]
    assert data.splits["retain"].tolist() == [4, 5, 6, 7, 8]


def test_defaults_are_the_recipe_of_the_benchmark() -> None:
    data = MUCAC()
    assert data.augmentation == Augmentation(flip=0.5, shear=10, scale=(0.8, 1.2), jitter=0.2)
    recipe = data.recipe
    assert (recipe.lr, recipe.momentum, recipe.weight_decay) == (0.01, 0.0, 0.0)
    assert (recipe.epochs, recipe.retrained_epochs, recipe.milestones) == (8, 7, (10, 20))
    assert (data.split, data.forget_from, data.labels, data.batch_size) == ("published", 1970, "all", 64)


@pytest.mark.parametrize(
    ("forget_from", "empty"), [(100, "retain"), (190, "retain"), (4855, "forget"), (5000, "forget")]
)
def test_forget_from_that_leaves_a_set_empty_is_refused(
    tmp_path: Path, make_mucac: Maker, forget_from: int, empty: str
) -> None:
    with pytest.raises(SettingError, match=f"The {empty} set is empty"):
        _module(make_mucac(tmp_path / "mucac"), forget_from=forget_from).setup()


# Bad input. Each entry damages a valid folder; the error message must contain the fragments.

IDENTITY, ATTRIBUTE = "CelebA-HQ-identity.txt", "CelebA-HQ-attribute.txt"


def _edit_line(root: Path, name: str, number: int, edit: Callable[[str], str]) -> None:
    lines = (root / name).read_text().splitlines(keepends=True)
    lines[number - 1] = edit(lines[number - 1])
    (root / name).write_text("".join(lines))


def _rewritten(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def _cut_after_the_header(root: Path) -> None:
    path = root / ATTRIBUTE
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))


def _linked_image(root: Path) -> None:
    image = root / IMAGES / "2.jpg"
    image.symlink_to(image.rename(root.parent / "secret.jpg"))


#: A function; or a file, a line and the edit of the line.
Damage = Callable[[Path], object] | tuple[str, int, Callable[[str], str]]
DAMAGES: list[tuple[Damage, list[str]]] = [
    (lambda root: root.rename(root.with_name("elsewhere")), ["mucac: no such folder", "--data.root"]),
    (lambda root: (root / IDENTITY).unlink(), [f"{IDENTITY}: no such file", "--data.root"]),
    (lambda root: (root / ATTRIBUTE).unlink(), [f"{ATTRIBUTE}: no such file", "--data.root"]),
    (lambda root: (root / IMAGES).rename(root / "images"), [f"{IMAGES}: no images found", "--data.root"]),
    (lambda root: (root / IMAGES / "0.jpg").unlink(), ["CelebA-HQ-img/0.jpg", "not there", "remove its row"]),
    (lambda root: (root / IMAGES / "7.jpg").unlink(), ["CelebA-HQ-img/7.jpg", "not there", "remove its row"]),
    ((IDENTITY, 4, lambda line: ""), [f"{IDENTITY}: 3.jpg", "no identity", "Add a line '3.jpg <number>'"]),
    ((IDENTITY, 4, lambda line: "3.jpg anna\n"), [f"{IDENTITY}, line 4", "'3.jpg anna'", "<identity number>"]),
    ((IDENTITY, 4, lambda line: "3.jpg -3\n"), [f"{IDENTITY}, line 4", "'3.jpg -3'", "<identity number>"]),
    ((IDENTITY, 4, lambda line: "3.jpg 5 5\n"), [f"{IDENTITY}, line 4", "'3.jpg 5 5'", "<identity number>"]),
    ((IDENTITY, 4, lambda line: line + "3.jpg 4000\n"), [f"{IDENTITY}, line 5", "3.jpg is listed a second time"]),
    (
        (ATTRIBUTE, 5, lambda line: line.rsplit(maxsplit=1)[0] + " 0\n"),
        [f"{ATTRIBUTE}, line 5", "Young is '0'", "1 or -1"],
    ),
    (
        (ATTRIBUTE, 5, lambda line: line.rsplit(maxsplit=1)[0] + "\n"),
        [f"{ATTRIBUTE}, line 5", "39 values", "40 attributes"],
    ),
    (
        (ATTRIBUTE, 5, lambda line: line.replace("2.jpg", "1.jpg")),
        [f"{ATTRIBUTE}, line 5", "1.jpg is listed a second time"],
    ),
    ((ATTRIBUTE, 2, lambda line: ""), [f"{ATTRIBUTE}, line 2", "'Male' is missing", "line 2 the 40 attribute names"]),
    ((ATTRIBUTE, 1, lambda line: ""), [f"{ATTRIBUTE}, line 2", "'Male' is missing", "Line 1 is the count"]),
    ((ATTRIBUTE, 1, lambda line: "30000\n"), [f"{ATTRIBUTE}, line 1", "30000", "12 images follow", "copy it again"]),
    (
        (ATTRIBUTE, 2, lambda line: line.replace("Smiling", "Smilling")),
        [f"{ATTRIBUTE}, line 2", "'Smiling' is missing", "Did you mean 'Smilling'?"],
    ),
    (_cut_after_the_header, [ATTRIBUTE, "lists no images"]),
    (_rewritten(IDENTITY, bytes(range(256))), [f"{IDENTITY}: is not UTF-8 text", "Save it as UTF-8"]),
    (_rewritten(ATTRIBUTE, bytes(range(256))), [f"{ATTRIBUTE}: is not UTF-8 text", "Save it as UTF-8"]),
    (
        (ATTRIBUTE, 5, lambda line: line.replace("2.jpg", "../secret.jpg")),
        [f"{ATTRIBUTE}, line 5", "'../secret.jpg' is outside", "stay in it"],
    ),
    (_linked_image, [f"{ATTRIBUTE}, line 5", "'2.jpg' is outside", "stay in it"]),
]


@pytest.mark.parametrize(("damage", "fragments"), DAMAGES)
def test_error_for_a_damaged_folder_names_the_place(tmp_path: Path, make_mucac: Maker, damage, fragments) -> None:
    root = make_mucac(tmp_path / "mucac")
    _edit_line(root, *damage) if isinstance(damage, tuple) else damage(root)
    with pytest.raises(DataError) as caught:
        _module(root).setup()
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)


def test_a_missing_image_is_named_if_images_are_directly_in_root(tmp_path: Path, make_mucac: Maker) -> None:
    root = make_mucac(tmp_path / "mucac", layout="side by side")
    (root / "3.jpg").unlink()
    with pytest.raises(DataError, match=r"3.jpg.*not there.*remove its row"):
        _module(root).setup()


def test_an_unreadable_image_is_named_when_its_pixels_are_read(tmp_path: Path, make_mucac: Maker) -> None:
    root = make_mucac(tmp_path / "mucac")
    (root / IMAGES / "4.jpg").write_bytes(b"not an image")
    data = _module(root)
    data.setup()
    with pytest.raises(DataError, match=r"CelebA-HQ-img/4.jpg: this image cannot be read"):
        _ = data.pixels
