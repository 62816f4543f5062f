from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gli.data import Augmentation, Batch, FaceTable, SyntheticFaces
from gli.data.split_plan import SPLITS
from gli.errors import DataError, SettingError
from tests.helpers.fake_data import make_table

Maker = Callable[..., Path]
SIZES = {"retain": 14, "forget": 4, "test": 5, "unseen": 3}
HEADER = ("file", "identity", "age", "split")


def _rows() -> list[tuple[str, str, str, str]]:
    names = [name for name, count in SIZES.items() for _ in range(count)]
    return [(f"{row}.jpg", f"p{row}", "child" if row % 3 else "adult", name) for row, name in enumerate(names)]


@pytest.fixture
def root(tmp_path: Path, make_table: Maker) -> Path:
    return make_table(tmp_path / "faces", _rows(), HEADER)


def _module(root: Path, cache: str = "cache", **kwargs: object) -> FaceTable:
    settings: dict = {"split": "given", "image_size": 8, "batch_size": 4, "eval_batch_size": 2}
    return FaceTable(root=str(root), cache_dir=str(root.parent / cache), **(settings | kwargs))


def _index(batch: Batch) -> list[int]:
    return batch.index.tolist()


def test_train_is_the_union_of_retain_and_forget(root: Path) -> None:
    data = _module(root)
    assert data.rows("train").tolist() == list(range(18))
    assert {name: len(data.rows(name)) for name in SIZES} == SIZES


def test_reference_people_are_whole_groups_of_the_test_people_and_nobody_else_moves(
    tmp_path: Path, make_table: Maker
) -> None:
    """Three pictures of each person; the audit reads the rest of the test set only."""
    rows = [
        (f"{row}.jpg", f"{name}{row // 3}", "child" if row % 2 else "adult", name)
        for name in SIZES
        for row in range(18)
    ]
    rows = [(f"{name}-{file}", person, age, name) for file, person, age, name in rows]
    root = make_table(tmp_path / "people", rows, HEADER)
    plain, data = _module(root), _module(root, reference_share=0.5)
    data.setup()
    test, reference = data.rows("test").tolist(), data.rows("reference").tolist()
    assert sorted(test + reference) == plain.rows("test").tolist()
    assert len(test) == len(reference) == 9
    assert not set(data.identities[test]) & set(data.identities[reference])
    assert all(data.rows(name).tolist() == plain.rows(name).tolist() for name in ("retain", "forget", "unseen"))
    assert data.evaluation_sets == plain.evaluation_sets
    assert data.fingerprint("train") == plain.fingerprint("train")
    seen = [index for batch in data.batches_of("reference") for index in batch.index.tolist()]
    assert seen == reference
    with pytest.raises(SettingError, match=r"Set some of the test people aside: data\.reference_share"):
        plain.rows("reference")
    with pytest.raises(SettingError, match="must lie in"):
        _module(root, reference_share=1.0)


def test_a_training_batch_has_images_of_retain_and_of_forget(root: Path) -> None:
    loader = _module(root).train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3  # 14 rows of retain; the last batch of 2 is dropped.
    retain, forget = ([row for batch in batches for row in _index(batch[part])] for part in ("retain", "forget"))
    assert all(set(batch) == {"retain", "forget"} for batch in batches)
    assert len(retain) == len(set(retain)) == 12
    assert set(retain) <= set(range(14))
    assert sorted(forget) == sorted([*range(14, 18)] * 3)  # Each cycle has all four rows.


def test_a_batch_is_uint8_from_the_loader_and_float_after_the_transfer(root: Path) -> None:
    data = _module(root)
    raw = next(iter(data.train_dataloader()))
    ready = data.on_after_batch_transfer(raw, 0)
    for part in ("retain", "forget"):
        before, after = raw[part].images, ready[part].images
        assert (before.dtype, before.shape) == (torch.uint8, (4, 3, 8, 8))
        assert (after.dtype, after.shape) == (torch.float32, (4, 3, 8, 8))
        for images in (before, after):
            assert images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(after, before.float() / 255)
        assert after.max() > 0.5
        assert raw[part].labels.dtype == torch.int64


def test_pixels_labels_and_index_of_a_batch_are_of_the_same_rows(root: Path) -> None:
    data = _module(root)
    for batch in data.train_dataloader():
        for part in batch.values():
            for row, image, label in zip(_index(part), part.images, part.labels, strict=True):
                expected = data.faces.images.pixels(row, 8)
                np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
                assert data.task.names[label] == ("child" if row % 3 else "adult")


def test_white_is_1_and_black_is_0() -> None:
    images = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 255)]).to(torch.uint8)
    batch = FaceTable(root=".").to_float(Batch(images, torch.zeros(2), torch.arange(2)))
    assert batch.images[0].unique().tolist() == [0.0]
    assert batch.images[1].unique().tolist() == [1.0]


def test_evaluation_loaders_hold_test_forget_and_unseen_in_order(root: Path) -> None:
    data = _module(root, augmentation=Augmentation())
    for loaders in (data.val_dataloader(), data.test_dataloader()):
        rows = [[row for batch in loader for row in _index(batch)] for loader in loaders]
        assert rows == [list(range(18, 23)), list(range(14, 18)), list(range(23, 26))]
        assert [len(loader) for loader in loaders] == [3, 2, 2]
        assert all(batch.random_numbers is None for loader in loaders for batch in loader)


def test_augmentation_of_a_training_batch_depends_on_its_random_numbers_and_stays_in_0_to_1(root: Path) -> None:
    data = _module(root, augmentation=Augmentation())
    raw = next(iter(data.train_dataloader()))["retain"]
    first, second = data.to_float(raw), data.to_float(raw)
    assert raw.random_numbers is not None
    assert first.random_numbers is None
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    assert (first.images - raw.images.float() / 255).abs().mean() > 0.01
    assert first.images.min() >= 0
    assert first.images.max() <= 1
    assert first.images.shape == (4, 3, 8, 8)


def test_batches_depend_on_the_seed_and_the_epoch_alone(root: Path) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        torch.manual_seed(seed)
        loader = _module(root).train_dataloader()
        loader.sampler.set_epoch(epoch)
        torch.rand(3)
        return [_index(batch[part]) for batch in loader for part in ("retain", "forget")]

    assert order(1, 0) == order(1, 0)
    assert len({str(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_setup_twice_keeps_the_splits(root: Path) -> None:
    data = _module(root, split="identity")
    data.setup()
    before = {name: rows.tolist() for name, rows in data.splits.items()}
    data.setup("fit")
    assert {name: rows.tolist() for name, rows in data.splits.items()} == before


def test_pixels_are_decoded_once_for_all_splits_and_modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _module(root).prepare_data()
    monkeypatch.setattr("gli.data.faces.Image", None)
    data = _module(root, split="identity", batch_size=2)
    data.prepare_data()
    assert data.pixels[np.arange(26)].shape == (26, 8, 8, 3)
    assert len(list((root.parent / "cache").glob("pixels-*.npy"))) == 1


def test_a_changed_image_is_decoded_again(root: Path, jpeg: Callable[..., bytes]) -> None:
    before = _module(root).pixels[np.arange(26)]
    (root / "3.jpg").write_bytes(jpeg(1007))
    after = _module(root).pixels[np.arange(26)]
    assert np.flatnonzero((before != after).any(axis=(1, 2, 3))).tolist() == [3]


# The fingerprint, by which a trained original is found.


def _fingerprint(root: Path, name: str = "train", **kwargs: object) -> str:
    return _module(root, **kwargs).fingerprint(name)


def test_fingerprint_depends_on_content_and_not_on_paths(root: Path, tmp_path: Path) -> None:
    before = _fingerprint(root)
    moved = tmp_path / "somewhere" / "else"
    shutil.copytree(root, moved)
    assert _fingerprint(moved) == before


def test_fingerprint_does_not_depend_on_the_order_of_the_rows(root: Path) -> None:
    before = _fingerprint(root)
    header, *lines = (root / "faces.csv").read_text().splitlines()
    (root / "faces.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert _fingerprint(root) == before


def test_fingerprint_does_not_depend_on_the_order_of_identical_files_with_other_labels(
    tmp_path: Path, make_table: Maker
) -> None:
    pictures = {"0.jpg": 500, "1.jpg": 500}
    first = make_table(tmp_path / "first", _rows(), HEADER, pictures=pictures)
    second = make_table(tmp_path / "second", _rows()[::-1], HEADER, pictures={**pictures, **_numbers()})
    assert _fingerprint(second) == _fingerprint(first)


def _numbers() -> dict[str, int]:
    """Numbers of the pictures that :func:`make_table` gives to the rows in their original order."""
    return {f"{row}.jpg": row for row in range(2, len(_rows()))}


def test_fingerprint_does_not_depend_on_names_of_people_and_files(
    root: Path, tmp_path: Path, make_table: Maker
) -> None:
    rows = [(f"q{file}", f"somebody {identity}", *rest) for file, identity, *rest in _rows()]
    assert _fingerprint(make_table(tmp_path / "other", rows, HEADER)) == _fingerprint(root)


@pytest.mark.parametrize("kwargs", [{"eval_batch_size": 7}, {"num_workers": 1}, {"cache": "other"}])
def test_fingerprint_does_not_depend_on_settings_that_training_does_not_use(root: Path, kwargs: dict) -> None:
    assert _fingerprint(root, **kwargs) == _fingerprint(root)


def test_fingerprint_of_train_does_not_depend_on_which_people_are_forgotten(root: Path) -> None:
    few, many = ({"split": "identity", "forget_share": share} for share in (0.1, 0.3))
    assert _fingerprint(root, **few) == _fingerprint(root, **many)
    assert _fingerprint(root, "retain", **few) != _fingerprint(root, "retain", **many)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"image_size": 16},
        {"batch_size": 5},
        {"augmentation": Augmentation()},
        {"classes": ["child", "adult"]},
        {"classes": ["adult", "child", "teen"]},
        {"split": "identity"},
    ],
)
def test_fingerprint_depends_on_settings_that_training_uses(root: Path, kwargs: dict) -> None:
    assert _fingerprint(root, **kwargs) != _fingerprint(root)


def test_fingerprint_differs_between_augmentations(root: Path) -> None:
    fingerprints = [_fingerprint(root, augmentation=Augmentation(shear=shear)) for shear in (0.0, 10.0, 10.0)]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]


def test_fingerprint_differs_between_sets(root: Path) -> None:
    assert len({_fingerprint(root, name) for name in ("train", "retain", "forget", "test", "unseen")}) == 5


def test_fingerprint_of_train_depends_on_the_labels_of_train_only(root: Path) -> None:
    before = _fingerprint(root)
    rows = (root / "faces.csv").read_text()
    (root / "faces.csv").write_text(rows.replace("20.jpg,p20,child", "20.jpg,p20,adult"))
    assert _fingerprint(root) == before  # A row of the test set.
    (root / "faces.csv").write_text(rows.replace("4.jpg,p4,child", "4.jpg,p4,adult"))
    assert _fingerprint(root) != before


def test_fingerprint_of_train_depends_on_the_images_of_train_only(root: Path, jpeg: Callable[..., bytes]) -> None:
    before = _fingerprint(root)
    (root / "20.jpg").write_bytes(jpeg(1020))
    assert _fingerprint(root) == before  # A row of the test set.
    (root / "4.jpg").write_bytes(jpeg(1004))
    assert _fingerprint(root) != before


# -- splits ------------------------------------------------------------------------------------------------------------


def _table(root: Path, people: list[int], **settings: object) -> FaceTable:
    rows = [(f"p{person}/{picture}.jpg", f"p{person}", picture) for person in people for picture in range(2)]
    pictures = {file: 1000 * int(name[1:]) + picture for file, name, picture in rows}
    make_table(root, rows, pictures=pictures)
    return FaceTable(root=str(root), cache_dir=str(root / "cache"), image_size=8, **settings)  # type: ignore[arg-type]


def _sets_of_people(data: FaceTable) -> dict[str, str]:
    data.setup()
    return {str(name): each for each, rows in data.splits.items() for name in data.identities[rows]}


def test_removing_people_from_a_table_moves_nobody_by_default(tmp_path):
    """With a shuffle, people on whom the first model was trained became test and unseen people of the next run."""
    before = _sets_of_people(_table(tmp_path / "a", list(range(40))))
    after = _sets_of_people(_table(tmp_path / "b", [n for n in range(40) if n not in (3, 7, 11)]))
    assert after.items() <= before.items()
    assert len(after) == 37


def test_the_shuffle_has_a_name_and_gives_the_same_sets_as_ever(tmp_path):
    data = SyntheticFaces(people=20, pictures=1, cache_dir=str(tmp_path))
    data.setup()
    assert data.split == "identity"
    sets = {name: rows.tolist() for name, rows in data.splits.items()}
    retain = [0, 1, 5, 7, 8, 9, 10, 11, 12, 14, 15, 17, 18]
    assert sets == {"unseen": [4, 19], "test": [2, 6, 13], "forget": [3, 16], "retain": retain}
    table = _sets_of_people(_table(tmp_path / "a", list(range(20)), split="identity"))
    less = _sets_of_people(_table(tmp_path / "b", list(range(19)), split="identity"))
    assert not less.items() <= table.items()


@pytest.mark.parametrize("split", ["stable", "identity"])
def test_people_held_out_are_the_only_test_and_unseen_people(split, tmp_path):
    names = [f"p{number}" for number in range(0, 40, 3)]
    (tmp_path / "held_out.txt").write_text("# never trained on\n" + "\n".join(names) + "\n")
    (tmp_path / "held_out.csv").write_text("identity\n" + "\n".join(names) + "\n")
    found = [
        _sets_of_people(_table(tmp_path / "t", list(range(40)), split=split, held_out=held_out))
        for held_out in (names, str(tmp_path / "held_out.txt"), str(tmp_path / "held_out.csv"))
    ]
    assert found[0] == found[1] == found[2]
    assert {name for name, each in found[0].items() if each in ("test", "unseen")} == set(names)
    assert set(found[0].values()) == set(SPLITS)


@pytest.mark.parametrize("split", ["stable", "identity"])
def test_held_out_people_may_be_in_a_table_of_their_own(split, tmp_path):
    root = tmp_path / "t"
    held = [(f"h{person}/{n}.jpg", f"h{person}", n) for person in range(12) for n in range(2)]
    make_table(root, held, csv_name="held_out.csv", pictures={file: 10**6 + n for n, (file, _, _) in enumerate(held)})
    data = _table(root, list(range(20)), split=split, held_out=str(root / "held_out.csv"))
    sets = _sets_of_people(data)
    assert len(data.faces) == 64
    assert {name for name, each in sets.items() if each in ("test", "unseen")} == {f"h{n}" for n in range(12)}


def test_setup_warns_of_everything_that_the_plan_warns_of(tmp_path):
    with pytest.warns(UserWarning, match=r"names 1 people who are not in the table.*gone"):
        _table(tmp_path, list(range(40)), erased=["gone", "p2"]).setup()


def test_forget_identities_may_be_a_text_file_and_an_assignment_replaces_it(tmp_path):
    (tmp_path / "requests.txt").write_text("# asked in May\n\np1\n  p7   # by letter\n")
    (tmp_path / "sets.csv").write_text("identity,set\np0,retain\np1,forget\np2,test\np3,unseen\n")
    sets = _sets_of_people(_table(tmp_path / "t", list(range(40)), forget_identities=str(tmp_path / "requests.txt")))
    assert {name for name, split in sets.items() if split == "forget"} == {"p1", "p7"}
    assignment = str(tmp_path / "sets.csv")
    sets = _sets_of_people(_table(tmp_path / "t", list(range(40)), assignment=assignment))
    assert sets == {"p0": "retain", "p1": "forget", "p2": "test", "p3": "unseen"}
    with pytest.raises(SettingError, match="both say whom to forget"):
        _table(tmp_path / "t", list(range(40)), assignment=assignment, forget_identities=["p1"]).setup()
    for row, message in (("p9,train", "line 2: there is no set 'train'"), ("q,test", "line 2: nobody is called 'q'")):
        (tmp_path / "sets.csv").write_text(f"identity,set\n{row}\n")
        with pytest.raises(DataError, match=message):
            _table(tmp_path / "t", list(range(40)), assignment=assignment).setup()


@pytest.mark.parametrize("name", ["image_size", "batch_size", "eval_batch_size"])
def test_sizes_are_at_least_1(name: str) -> None:
    with pytest.raises(SettingError, match=rf"data.{name} is 0; it must be at least 1"):
        SyntheticFaces(**{name: 0})
