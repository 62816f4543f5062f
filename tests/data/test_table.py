from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gli.data import FaceTable
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import DataError, SettingError

Maker = Callable[..., Path]
AGES = ("child", "adult")
SETS = ("retain", "forget", "test", "unseen")


def _module(root: Path, **kwargs: object) -> FaceTable:
    return FaceTable(root=str(root), cache_dir=str(root.parent / "cache"), image_size=8, **kwargs)


def _people(count: int = 16, pictures: int = 2) -> list[tuple[str, str, str]]:
    """Rows of people with pictures in folders of their own."""
    return [
        (f"p{person}/{picture}.jpg", f"p{person}", AGES[(person + picture) % 2])
        for person in range(count)
        for picture in range(pictures)
    ]


def _with_split(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Add a split column to rows: each person is in one set, in turn."""
    return [(*row, SETS[int(row[1][1:]) % 4]) for row in rows]


def _labelled(*labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Rows of one person each, with these labels."""
    return [(f"{number}.jpg", f"p{number}", *row) for number, row in enumerate(labels)]


HEADER = ("file", "identity", "age")
SPLIT_HEADER = (*HEADER, "split")


def test_identity_split_of_a_table(tmp_path: Path, make_table: Maker) -> None:
    data = _module(make_table(tmp_path / "faces", _people()))
    data.prepare_data()
    assert sum(len(rows) for rows in data.splits.values()) == 32
    people = [set(data.identities[rows].tolist()) for rows in data.splits.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 16
    np.testing.assert_array_equal(data.pixels[np.array([9])][0], data.faces.images.pixels(9, 8))


def test_the_classes_of_one_label_column_are_its_sorted_values(tmp_path: Path, make_table: Maker) -> None:
    faces = _module(make_table(tmp_path / "faces", _labelled("b", "a", "c", "a"))).table()
    assert faces.task == MultiClass(("a", "b", "c"))
    assert faces.labels.tolist() == [1, 0, 2, 0]
    assert faces.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["10", "9", "-1", "9"], ("-1", "9", "10")),
        (["2.5", "10", "1e2", "3"], ("2.5", "3", "10", "1e2")),
        (["10", "9", "old"], ("10", "9", "old")),
    ],
)
def test_classes_that_are_numbers_are_in_numerical_order(
    tmp_path: Path, make_table: Maker, values: list[str], classes: tuple[str, ...]
) -> None:
    faces = _module(make_table(tmp_path / "faces", _labelled(*([value] for value in values)))).table()
    assert faces.task.names == classes
    assert [classes[label] for label in faces.labels] == values


def test_order_of_classes_that_are_the_same_number_does_not_depend_on_the_hash_seed(
    tmp_path: Path, make_table: Maker
) -> None:
    # The order of a set of strings differs between processes; with eight strings it is almost never this order.
    spellings = ["001", "001.0", "01", "01.0", "1", "1.0", "1.00", "1.000"]
    faces = _module(make_table(tmp_path / "faces", _labelled(*([value] for value in spellings)))).table()
    assert faces.task.names == tuple(spellings)


def test_classes_can_be_set_in_order_even_if_no_row_has_one_of_them(tmp_path: Path, make_table: Maker) -> None:
    root = make_table(tmp_path / "faces", _labelled(["child"], ["adult"], ["child"]))
    faces = _module(root, classes=["child", "teen", "adult"]).table()
    assert faces.task == MultiClass(("child", "teen", "adult"))
    assert faces.labels.tolist() == [0, 2, 0]


def test_several_label_columns_are_yes_no_labels(tmp_path: Path, make_table: Maker) -> None:
    words = [("1", "-1", "YES"), ("0", "1", "no"), ("1", "-1", "True"), ("0", "1", "false")]
    root = make_table(tmp_path / "faces", _labelled(*words), ("file", "identity", "male", "smiling", "young"))
    faces = _module(root).table()
    assert faces.task == MultiLabel(("male", "smiling", "young"))
    assert faces.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert faces.labels.dtype == np.int64


def test_labels_are_in_the_requested_order(tmp_path: Path, make_table: Maker) -> None:
    words = [("1", "someone", "0"), ("0", "else", "0")]
    root = make_table(tmp_path / "faces", _labelled(*words), ("file", "identity", "male", "note", "young"))
    faces = _module(root, labels=["young", "male"]).table()
    assert faces.task == MultiLabel(("young", "male"))
    assert faces.labels.tolist() == [[0, 1], [0, 0]]
    assert _module(root, labels=["note"]).table().task == MultiClass(("else", "someone"))


def test_one_yes_no_column_can_be_a_label(tmp_path: Path, make_table: Maker) -> None:
    root = make_table(tmp_path / "faces", _labelled(["1"], ["0"], ["1"]), ("file", "identity", "male"))
    faces = _module(root, task="multi_label").table()
    assert faces.task == MultiLabel(("male",))
    assert faces.labels.tolist() == [[1], [0], [1]]


def test_other_column_names_and_another_csv(tmp_path: Path, make_table: Maker) -> None:
    header = ("age", "who", "picture")
    root = make_table(tmp_path / "faces", _labelled(["a"], ["b"]))
    elsewhere = make_table(tmp_path / "tables", [("a", "p0", "0.jpg"), ("b", "p1", "1.jpg")], header, csv_name="t.csv")
    data = _module(root, csv=str(elsewhere / "t.csv"), file="picture", identity="who")
    faces = data.table()
    assert faces.identities.tolist() == ["p0", "p1"]
    assert list(faces.images.paths) == ["0.jpg", "1.jpg"]
    assert faces.task.names == ("a", "b")


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path, make_table: Maker) -> None:
    root = make_table(tmp_path / "faces", _labelled(["a"], ["b"]))
    (root / "faces.csv").write_bytes('\ufefffile,identity,age\r\n0.jpg,"Müller, Anna",a\r\n1.jpg, Ben ,b\r\n'.encode())
    faces = _module(root).table()
    assert faces.identities.tolist() == ["Müller, Anna", "Ben"]
    assert faces.labels.tolist() == [0, 1]


def test_the_split_column_defines_the_sets_and_is_not_a_label(tmp_path: Path, make_table: Maker) -> None:
    rows = _with_split(_people(8))
    data = _module(make_table(tmp_path / "faces", rows, SPLIT_HEADER), split="given")
    data.setup()
    assert data.task == MultiClass(("adult", "child"))
    for name in SETS:
        assert data.splits[name].tolist() == [row for row, fields in enumerate(rows) if fields[3] == name]


def test_the_split_column_is_ignored_for_an_identity_split(tmp_path: Path, make_table: Maker) -> None:
    root = make_table(tmp_path / "faces", [(*row, "anything") for row in _people()], SPLIT_HEADER)
    data = _module(root, split="identity")
    data.setup()
    assert data.task == MultiClass(("adult", "child"))
    assert sum(len(rows) for rows in data.splits.values()) == 32


def _replaced(row: int, column: int, value: str, rows: list[tuple[str, ...]] | None = None) -> list[tuple[str, ...]]:
    rows = [*(rows or _people())]
    rows[row] = (*rows[row][:column], value, *rows[row][column + 1 :])
    return rows


@pytest.mark.parametrize(
    ("rows", "header", "kwargs", "fragments"),
    [
        (_people(), ("file", "identiy", "age"), {}, ["line 1", "'identity' is missing", "Did you mean 'identiy'?"]),
        (_people(), ("image", "identity", "age"), {}, ["line 1", "'file' is missing", "required are file, identity"]),
        (_people(), HEADER, {"labels": ["agge"]}, ["line 1", "'agge' is missing", "Did you mean 'age'?"]),
        (_people(), ("file", "identity", "file"), {}, ["line 1", "is repeated", "Use each name once"]),
        (
            [row[:2] for row in _people()],
            HEADER[:2],
            {},
            ["line 1", "no label column besides 'file' and 'identity'", "Add"],
        ),
        ([], HEADER, {}, ["faces.csv", "no rows below its header"]),
        (_replaced(3, 1, ""), HEADER, {}, ["line 5", "identity is empty", "Name the person"]),
        (_replaced(3, 2, ""), HEADER, {}, ["line 5", "the label 'age' is empty"]),
        (
            _replaced(3, 0, "/etc/hostname"),
            HEADER,
            {},
            ["line 5", "'/etc/hostname' is outside", "relative to that folder"],
        ),
        (_replaced(3, 0, "../x.jpg"), HEADER, {}, ["line 5", "'../x.jpg' is outside", "stay in it"]),
        (_replaced(3, 0, "p1/../../x.jpg"), HEADER, {}, ["line 5", "is outside", "stay in it"]),
        (_replaced(3, 0, ""), HEADER, {}, ["line 5", "image name is empty"]),
        (_replaced(3, 0, "."), HEADER, {}, ["line 5", "is outside"]),
        ([(*row[:2], "adult") for row in _people()], HEADER, {}, ["'age' has 1 different values", "2 to 1000"]),
        (
            [(f"{n}.jpg", f"p{n}", f"{n}") for n in range(1001)],
            HEADER,
            {},
            ["'age' has 1001 different values", "2 to 1000"],
        ),
        (
            _replaced(3, 2, "chld"),
            HEADER,
            {"classes": ["child", "adult"]},
            ["line 5", "unknown class 'chld' in 'age'", "Did you mean 'child'?", "data.classes has child, adult"],
        ),
        (
            [(*row, "1" if row[1] != "p2" else "maybe") for row in _people()],
            (*HEADER, "male"),
            {"labels": ["male"], "task": "multi_label"},
            ["line 6", "'maybe' in the label column 'male' is neither yes nor no", "data.labels"],
        ),
        (
            [(*row, "1") for row in _people()],
            (*HEADER, "male"),
            {},
            ["line 2", "'child' in the label column 'age' is neither yes nor no", "data.labels"],
        ),
        (
            _replaced(3, 3, "retian", _with_split(_people())),
            SPLIT_HEADER,
            {"split": "given"},
            ["line 5", "unknown split 'retian'", "Did you mean 'retain'?", "It is one of retain, forget, test, unseen"],
        ),
        (
            _replaced(3, 3, "train", _with_split(_people())),
            SPLIT_HEADER,
            {"split": "published"},
            ["line 5", "unknown split 'train'", "It is one of retain, forget, test, unseen"],
        ),
    ],
)
def test_error_for_an_invalid_table_names_the_place(
    tmp_path: Path,
    make_table: Maker,
    rows: list[tuple[str, ...]],
    header: tuple[str, ...],
    kwargs: dict[str, object],
    fragments: list[str],
) -> None:
    root = tmp_path / "faces"
    make_table(root, [row if row[0] != "." else ("x.jpg", *row[1:]) for row in rows], header)
    if any(row[0] == "." for row in rows):
        path = root / "faces.csv"
        path.write_text(path.read_text().replace("x.jpg", "."))
    with pytest.raises(DataError) as caught:
        _module(root, **kwargs).setup()
    for fragment in (str(root), *fragments):
        assert fragment in str(caught.value)


def _csv_is_a_folder(root: Path) -> None:
    (root / "faces.csv").unlink()
    (root / "faces.csv").mkdir()


def _linked_folder(root: Path) -> None:
    (root / "p3").symlink_to((root / "p3").rename(root.parent / "private"))


def _rewritten(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / "faces.csv").write_text((root / "faces.csv").read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "fragments"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), ["faces: no such folder", "Set --data.root"]),
        (lambda root: (root / "faces.csv").unlink(), ["faces.csv: cannot be read", "Check the path"]),
        (_csv_is_a_folder, ["faces.csv: cannot be read", "Check the path"]),
        (
            lambda root: (root / "faces.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
            ["faces.csv: is not UTF-8 text", "Save it as UTF-8"],
        ),
        (
            _rewritten("p0/0.jpg,p0,", "p0/0.jpg,p0\np0/0.jpg,p0,"),
            ["faces.csv, line 2", "2 fields", "the header has 3"],
        ),
        (lambda root: (root / "p3/1.jpg").unlink(), ["p3/1.jpg", "not there", "remove its row"]),
        (_linked_folder, ["faces.csv, line 8", "'p3/0.jpg' is outside", "stay in it"]),
        (_rewritten("p0/1.jpg,p0,", "\n\np0/1.jpg,,"), ["faces.csv, line 5", "identity is empty"]),
    ],
)
def test_error_for_a_damaged_folder_names_the_place(tmp_path: Path, make_table: Maker, damage, fragments) -> None:
    root = make_table(tmp_path / "faces", _people())
    damage(root)
    with pytest.raises(DataError) as caught:
        _module(root).setup()
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "fragments"),
    [
        ({"split": "published"}, ["data.split is 'published'", "comes with no split", "'identity'"]),
        ({"labels": ["age", "identity"], "task": "multi_class"}, ["one label column", "names age, identity"]),
        ({"classes": ["child", "adult", "child"]}, ["data.classes", "child"]),
    ],
)
def test_settings_that_do_not_match_the_table_are_refused(tmp_path: Path, make_table: Maker, kwargs, fragments) -> None:
    with pytest.raises(SettingError) as caught:
        _module(make_table(tmp_path / "faces", _people()), **kwargs).setup()
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_error_for_a_missing_file_of_names_gives_its_path(tmp_path: Path, make_table: Maker) -> None:
    root = make_table(tmp_path / "faces", _people())
    with pytest.raises(SettingError, match=r"requests.txt: no such file. The file has one name per line"):
        _module(root, forget_identities=str(tmp_path / "requests.txt")).setup()
    (root / "requests.txt").write_text("p0")  # Beside the table, where the paths of the table begin.
    with pytest.raises(SettingError, match=r"requests.txt: no such file in .*, the current folder"):
        _module(root, forget_identities="requests.txt").setup()
