"""Hostile input: whatever a file holds, there is a right result or one clean error, and nothing in it is run.

Every test has two sizes, chosen by the mark ``slow``: a few hundred inputs for each group of readers in the ordinary
run, more than 10,000 with ``make test-all``. The few are the same each time; the many are new ones each time. An input
that found a fault stays as an example.
"""

# ruff: noqa: PT017 - an input may be refused or not: both are right, and both are looked at.

from __future__ import annotations

import builtins
import csv
import io
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gli.auditing import record as audits
from gli.auditing.record import Record
from gli.commands.main import main
from gli.data import MUCAC, MUFAC, FaceTable
from gli.data.people_lists import read_people_list
from gli.data.tasks import MultiClass
from gli.engine import fit as command
from gli.errors import CheckpointError, DataError, GLIError, SettingError
from gli.methods import Method
from gli.models.backbones import Classifier
from gli.models.checkpoints import classifier_state, load_classifier, load_weights, read_checkpoint
from gli.reporting.results import collect_results
from gli.runs.cost import read_cost
from gli.runs.read import read_run
from gli.study.benchmark import read_grid, runs_of
from gli.system.files import read_csv

pytestmark = pytest.mark.filterwarnings("ignore")
REPOSITORY = Path(__file__).parent.parent


def sizes(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test on few inputs, and as a slow test on many."""
    whole = pytest.param(many, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
    return pytest.mark.parametrize("count", [few, whole], ids=lambda count: f"{count} inputs")


def fuzz(count: int, strategy: st.SearchStrategy, check: Callable[[Any], None], examples: Iterable[Any] = ()) -> None:
    """Hold a check to the examples and to so many other inputs; none may take ten seconds of computing."""
    tried, started = 0, time.process_time()

    def one(value: Any) -> None:
        nonlocal tried
        tried += 1
        begun = time.process_time()
        check(value)
        assert time.process_time() - begun < 10

    for value in examples:
        one(value)
    examples_tried, tried = tried, 0
    # A deadline of hypothesis is by the clock, which says more of the machine than of the input.
    how = settings(
        max_examples=count,
        deadline=None,
        derandomize=count < 1000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    how(given(strategy)(one))()
    print(f"{tried} inputs and {examples_tried} examples tried in {time.process_time() - started:.1f} s of computing")
    assert tried >= count


# What is done to a file's bytes.

EVIL = [
    *("", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff", "\u200b", "\u202e", "\U0001f600", "\xa0"),
    *(
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        ",",
        ",,",
        '"',
        '""',
        "'",
        ";",
        "\\",
        "#",
        " #",
        ":",
        "- ",
        "? ",
        "|",
        "%",
        "&a",
        "*a",
    ),
    *("nan", "inf", "-inf", "-0", "-1", "1e999", "0x10", "1_0", "\uff11", "\u0661", "9" * 19, "9" * 5000, "1" * 500),
    *("../x", "..", "/etc/passwd", "link/passwd", "loop", "~", "a/../../x", "./././0.jpg", "a/" * 2500, "x" * 300),
    *("x" * 131073, "[" * 500, "{" * 500, "$x^{", "<script>", "!!python/object/apply:os.system ['touch canary']"),
    *("!!int ''", "!!timestamp x", "!!bool x", "!!binary x", "2020-99-99", "<<: *a", "0x" + "f" * 5000, "null", "true"),
]
RAW = [one.encode() for one in EVIL] + [
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x80\x02",
]


def _line(change: Callable[[list[bytes], int, int], None]) -> Callable[[bytes, int, int, bytes], bytes]:
    def edit(data: bytes, first: int, second: int, evil: bytes) -> bytes:
        lines = data.split(b"\n")
        change(lines, first % len(lines), second % len(lines))
        return b"\n".join(lines)

    return edit


def _swap(lines: list[bytes], first: int, second: int) -> None:
    lines[first], lines[second] = lines[second], lines[first]


def _field(data: bytes, first: int, second: int, evil: bytes) -> bytes:
    lines = data.split(b"\n")
    fields = re.split(rb"([,\s:]+)", lines[first % len(lines)])
    fields[second % len(fields) // 2 * 2] = evil
    lines[first % len(lines)] = b"".join(fields)
    return b"\n".join(lines)


def _fields_swapped(data: bytes, first: int, second: int, evil: bytes) -> bytes:
    lines = data.split(b"\n")
    fields = lines[first % len(lines)].split(b",")
    _swap(fields, second % len(fields), (second >> 8) % len(fields))
    lines[first % len(lines)] = b",".join(fields)
    return b"\n".join(lines)


def _at(data: bytes, first: int) -> int:
    return first % (len(data) + 1)


EDITS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "insert": lambda data, first, second, evil: data[: _at(data, first)] + evil + data[_at(data, first) :],
    "overwrite": lambda data, first, second, evil: (
        data[: _at(data, first)] + evil[:50] + data[_at(data, first) + len(evil[:50]) :]
    ),
    "flip": lambda data, first, second, evil: (
        data[: _at(data, first)]
        + bytes(byte ^ (1 << second % 8) for byte in data[_at(data, first) :][:1])
        + data[_at(data, first) + 1 :]
    ),
    "cut out": lambda data, first, second, evil: data[: _at(data, first)] + data[_at(data, first) + second % 50 :],
    "cut off": lambda data, first, second, evil: data[: _at(data, first)],
    "splice": lambda data, first, second, evil: data[: _at(data, first)] + data[_at(data, second) :],
    "line again": _line(lambda lines, first, second: lines.insert(second, lines[first])),
    "line away": _line(lambda lines, first, second: lines.__delitem__(first)),
    "lines swapped": _line(_swap),
    "field": _field,
    "fields swapped": _fields_swapped,
    "newlines": lambda data, first, second, evil: data.replace(
        b"\n", (b"\r", b"\r\n", b"\n\n", b"\x0b", b"\xe2\x80\xa8", b"\xc2\x85", b"")[first % 7]
    ),
}
PLACE = st.integers(0, 2**16)


def edits(*evil: bytes) -> st.SearchStrategy[list[tuple[str, int, int, bytes]]]:
    """A few edits in a row."""
    edit = st.tuples(st.sampled_from(["field", *EDITS]), PLACE, PLACE, st.sampled_from(evil))
    return st.lists(edit, min_size=1, max_size=4)


CHANGES = edits(*RAW)
#: torch.load takes time quadratic in the length of a name that it refuses, which is not for us to mend.
SHORT_CHANGES = edits(*(one for one in RAW if len(one) < 1000))


def changed(data: bytes, changes: Sequence[tuple[str, int, int, bytes]]) -> bytes:
    """A file's bytes after some edits."""
    for name, first, second, evil in changes:
        data = EDITS[name](data, first, second, evil)
    return data


def spoilt(*valid: bytes, changes: st.SearchStrategy = CHANGES) -> st.SearchStrategy[bytes]:
    """Files that were valid once, and now and then one that never was."""
    edited = st.builds(changed, st.sampled_from(valid), changes)
    text = st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(edited, edited, edited, edited, st.binary(max_size=200), text)


# Tables.

TABLES = (
    b"file,identity,age\n"
    + b"".join(b"p%d/%d.jpg,p%d,%s\n" % (n // 2, n, n // 2, (b"a", b"b")[n % 2]) for n in range(8)),
    b"file,identity,male,young\n"
    + b"".join(b"%d.jpg,p%d,%d,%s\n" % (n, n, n % 2, (b"yes", b"no")[n % 2]) for n in range(6)),
    b"identity,file,age,split\n"
    + b"".join(b"p%d,%d.jpg,%d,%s\n" % (n, n, n, (b"retain", b"forget", b"test", b"unseen")[n % 4]) for n in range(8)),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images with links that leave it and a link that leads to itself."""
    root = tmp_path_factory.mktemp("fuzz") / "faces"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    return root


def stays_inside(root: Path, names: Iterable[str]) -> None:
    """No image's path may leave the folder, by whatever way."""
    home = os.path.realpath(root)
    for name in names:
        assert not os.path.isabs(name)
        assert os.path.commonpath([home, os.path.realpath(os.path.join(home, name))]) == home, name


@sizes(60, 3000)
@pytest.mark.parametrize("exact", [False, True])
def test_a_spoilt_csv_file_is_refused_or_read_unchanged(root: Path, count: int, exact: bool) -> None:
    """Every row has every column and nothing else, in lines that rise; its fields stand in its line."""
    path, required = root / "one.csv", ["file", "identity"] + (["age"] if exact else [])

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            rows = read_csv(path, required, exact=exact)
        except DataError as error:
            assert str(path) in str(error)
            return
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        assert rows
        assert [row.line for row in rows] == sorted({row.line for row in rows})
        for row in rows:
            assert set(required) <= set(row)
            assert not exact or set(required) == set(row)
            assert all(value == value.strip() and "\0" not in value for value in row.values())
            assert row["file"].split("\n")[0].replace('"', "") in lines[row.line - 1].replace('"', "")

    examples = [
        b'file,identity,age\n"a.jpg","two\nlines",1\nb.jpg,p,2\n',
        "file,identity,age\na.jpg,one\u2028person,1\nb.jpg,form\x0cfeed,2\n".encode(),
        b"file,identity,age\na.jpg,p\0,1\n",
        b"file,identity,age\na.jpg," + b"x" * 131073 + b",1\n",
    ]
    fuzz(count, spoilt(*TABLES), check, examples)


#: Fields without NUL and half characters, which no text file holds, and with every odd end of line.
FIELD = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="\0\r"), st.sampled_from("\x0b\x0c\x1c\x85\u2028\n,\"'# \ufeff")
    ),
    max_size=12,
)


@sizes(30, 1500)
def test_what_is_written_to_a_csv_file_is_read_back(root: Path, count: int) -> None:
    path = root / "back.csv"

    def check(fields: list[tuple[str, str, str]]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "c"])
            writer.writerows(fields)
        rows = read_csv(path, ["a", "b", "c"], exact=True)
        assert [tuple(row.values()) for row in rows] == [tuple(value.strip() for value in row) for row in fields]

    fuzz(
        count, st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=5), check, [[("a\u2028b", "c\x85d", "e")]]
    )


@sizes(60, 3000)
def test_a_spoilt_table_of_faces_is_refused_or_has_labels_people_and_paths_in_their_range(
    root: Path, count: int
) -> None:
    """Classes are in the order of their numbers or of their names, so that they are the same in every process."""
    path = root / "faces.csv"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            faces = FaceTable(root=str(root), split="published").table()
        except DataError as error:
            assert str(path) in str(error)
            return
        rows = read_csv(path, ["file", "identity"])
        assert [row["file"] for row in rows] == list(faces.images.paths)
        assert [row["identity"] for row in rows] == faces.identities.tolist()
        assert all(faces.identities.tolist())
        names = list(faces.task.names)
        assert all(names)
        assert len(set(names)) == len(names)
        if isinstance(faces.task, MultiClass):
            assert len(names) >= 2
            assert faces.labels.shape == (len(rows),)
            assert faces.labels.min() >= 0
            assert faces.labels.max() < len(names)
            (column,) = set(rows[0]) - {"file", "identity", "split"}
            assert [names[label] for label in faces.labels] == [row[column] for row in rows]
            try:
                numbers = [float(name) for name in names]
            except ValueError:
                numbers = [math.nan]
            assert names == sorted(names) if any(map(math.isnan, numbers)) else numbers == sorted(numbers)
        else:
            assert faces.labels.shape == (len(rows), len(names))
            assert set(np.unique(faces.labels)) <= {0, 1}
        if faces.published is not None:
            assert sorted(np.concatenate(list(faces.published.values())).tolist()) == list(range(len(rows)))
        stays_inside(root, faces.images.paths)

    examples = [
        b"file,identity,age\n0.jpg,p,nan\n1.jpg,p,3\n2.jpg,p,1\n3.jpg,q,NaN\n4.jpg,q,2\n",
        b"file,identity,\n0.jpg,p,1\n1.jpg,q,2\n",
        b"file,identity,age\n" + b"a/" * 60000 + b",p,1\n" + b"a/" * 60000 + b",q,2\n",
        b"file,identity,age\nlink/passwd,p,1\n1.jpg,q,2\n",
        b"file,identity,age\nloop,p,1\n1.jpg,q,2\n",
    ]
    fuzz(count, spoilt(*TABLES), check, examples)


#: Names that differ in what comes after a ``#``, a space or an odd end of line.
PEOPLE = (
    "p1",
    "p1#2",
    "p1 #2",
    "Anna",
    "Anna #2",
    "#1",
    "1",
    "a\u2028b",
    "a",
    "b",
    "\uff50\uff11",
    "M\u00fcller, Anna",
    "nan",
)


@sizes(40, 2000)
def test_a_spoilt_file_of_people_to_be_forgotten_is_refused_or_forgets_the_people_in_it(root: Path, count: int) -> None:
    with (root / "named.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "identity", "age")])
        csv.writer(file).writerows([(f"{n}.jpg", name, n % 2) for n, name in enumerate(PEOPLE * 2)])
    path = root / "forget.txt"
    data = FaceTable(root=str(root), csv="named.csv", split="identity", forget_identities=str(path))
    data.digests = np.arange(2 * len(PEOPLE)).astype(bytes)  # No image is opened.

    def check(value: tuple[list[str], bytes | None]) -> None:
        names, damaged = value
        path.write_bytes("".join(f"{name}\n" for name in names).encode() if damaged is None else damaged)
        data.splits = {}
        try:
            data.setup()
        except GLIError as error:
            assert str(path) in str(error) or re.search(r"^forget_identities names|set is empty", str(error))
            assert damaged is not None or not names
            return
        forgotten = set(data.identities[data.splits["forget"]].tolist())
        assert sorted(np.concatenate(list(data.splits.values())).tolist()) == list(range(2 * len(PEOPLE)))
        if damaged is None:
            assert forgotten == set(names)
        else:
            text = path.read_text(encoding="utf-8-sig")
            assert forgotten
            assert all(name in text for name in forgotten)

    names = st.lists(st.sampled_from(PEOPLE), max_size=4, unique=True)
    valid = "# asked in May\n\nAnna\n  b  \nM\u00fcller, Anna # by letter\np1#2\n".encode()
    whole = st.tuples(names, st.none())
    examples = [([name], None) for name in PEOPLE]
    fuzz(count, st.one_of(whole, st.tuples(st.just([]), spoilt(valid))), check, examples)


def test_a_name_too_long_for_a_path_is_no_file_of_people() -> None:
    with pytest.raises(SettingError, match="no such file"):
        read_people_list("forget_identities", "x" * 5000)


@pytest.mark.parametrize("name", ["nul\0.csv", "half\ud800.csv", "x" * 5000])
def test_a_table_whose_path_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read.*Check the path"):
        FaceTable(root=str(root), csv=name).table()


@sizes(40, 3000)
def test_a_spoilt_mufac_is_refused_or_whole(tmp_path: Path, make_mufac: Callable[..., Path], count: int) -> None:
    """Every row is in one published set, in the order of the files, with an age class and an image of its folder."""
    home = make_mufac(tmp_path / "mufac", 6, 4, 4)
    paths = [home / f"custom_{part}_dataset.csv" for part in ("train", "val", "test")]
    valid = [path.read_bytes() for path in paths]

    def check(value: tuple[int, bytes]) -> None:
        part, data = value
        for path, content in zip(paths, valid, strict=True):
            path.write_bytes(content)
        paths[part].write_bytes(data)
        try:
            faces = MUFAC(root=str(home)).table()
        except DataError as error:
            assert str(paths[part]) in str(error)
            return
        assert set(faces.labels.tolist()) <= set(range(8))
        assert np.concatenate(list(faces.published.values())).tolist() == list(range(len(faces)))
        assert all(
            family and who.startswith(f"{family}/")
            for family, who in zip(faces.households, faces.identities, strict=True)
        )
        for name, folder in zip(("forget", "test", "unseen"), ("train", "val", "test"), strict=True):
            mine = [faces.images.paths[row] for row in faces.published[name]]
            assert all(one.startswith(f"{folder}_images/") for one in mine)
            stays_inside(home / f"{folder}_images", [one.removeprefix(f"{folder}_images/") for one in mine])

    parts = st.integers(0, 2)
    fuzz(count, parts.flatmap(lambda part: st.tuples(st.just(part), spoilt(valid[part]))), check)


# MUCAC's two text files.


@sizes(80, 10_000)
def test_a_spoilt_mucac_is_refused_or_has_the_identities_and_attributes_of_its_files(
    tmp_path: Path, make_mucac: Callable[..., Path], count: int
) -> None:
    """What is read is held to a plain reading of both files, line by line."""
    home = make_mucac(tmp_path / "mucac", decodable=False)
    (home / "CelebAMask-HQ/CelebA-HQ-img/link").symlink_to("/etc")
    paths = [home / "CelebA-HQ-identity.txt", home / "CelebA-HQ-attribute.txt"]
    valid = [path.read_bytes() for path in paths]

    def check(value: tuple[int, bytes]) -> None:
        which, data = value
        paths[1 - which].write_bytes(valid[1 - which])
        paths[which].write_bytes(data)
        try:
            faces = MUCAC(root=str(home)).table()
        except DataError as error:
            # Where one of the files lacks an image, it may be the other that is spoilt.
            assert any(str(path) in str(error) for path in paths)
            return
        said, rows = ([line.split() for line in path.read_text("utf-8-sig").split("\n")] for path in paths)
        identities = {fields[0]: int(fields[1]) for fields in said if fields}
        attributes = {fields[0]: fields[1:] for fields in rows[2:] if fields}
        columns = [rows[1].index(name) for name in ("Male", "Smiling", "Young")]
        names = [path.rpartition("/")[2] for path in faces.images.paths]
        folder = "CelebAMask-HQ/CelebA-HQ-img"
        assert list(faces.images.paths) == [f"{folder}/{name}" for name in attributes]
        assert faces.labels.tolist() == [[int(row[column] == "1") for column in columns] for row in attributes.values()]
        assert faces.identities.tolist() == [str(identities[name]) for name in attributes]
        sets = {name: {identities[names[row]] for row in rows} for name, rows in faces.published.items()}
        assert all(who < 190 for who in sets["test"])
        assert all(190 <= who < 1970 for who in sets["retain"])
        assert all(1970 <= who < 4855 for who in sets["forget"])
        assert all(who >= 4855 for who in sets["unseen"])
        assert sorted(np.concatenate(list(faces.published.values())).tolist()) == list(range(len(names)))
        stays_inside(home / folder, [path.removeprefix(f"{folder}/") for path in faces.images.paths])

    files = st.integers(0, 1).flatmap(lambda which: st.tuples(st.just(which), spoilt(valid[which])))
    examples = [
        (0, valid[0].replace(b" 6216", b" " + b"9" * 5000)),
        (0, valid[0].replace(b" 6216", b" " + b"9" * 19)),
        (1, valid[1].replace(b"0.jpg", b"x" * 300 + b".jpg")),
        (1, valid[1].replace(b"Bald", b"Male")),
        (1, valid[1].replace(b"\n1.jpg", b"\n\nlink/passwd")),
    ]
    fuzz(count, files, check, examples)


# Checkpoints.


def small(seed: int = 0) -> Classifier:
    """A classifier of a few weights of every kind that networks have: floats, and a whole number."""
    torch.manual_seed(seed)
    network = nn.Module()
    network.fc, network.bn = nn.Linear(4, 3), nn.BatchNorm1d(3)
    return Classifier(network)


def saved(content: Any, **kwargs: Any) -> bytes:
    """The bytes of a checkpoint."""
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


def rezipped(data: bytes, changes: Sequence[tuple[str, int, int, bytes]], compression: int) -> bytes:
    """A torch archive with edits to its pickle alone, so that the archive around it is sound."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, changed(content, changes) if name.endswith("data.pkl") else content)
    return file.getvalue()


def described(**changes: Any) -> dict[str, Any]:
    """A checkpoint as gli writes it, but for its weights."""
    state = {f"model.backbone.{name}": value for name, value in small().backbone.state_dict().items()}
    description = {"backbone": "test_resnet", "outputs": ["a", "b", "c"], "normalize": True, **changes}
    return {"pytorch-lightning_version": "2.6.4", "state_dict": state, "classifier": description}


class Trap:
    """Pickled so that loading it without care would call something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def holds_to_its_promises(path: Path, classifier: Classifier) -> None:
    """Either loader gives the file's weights, or says which file is at fault and changes nothing."""
    try:
        found = read_checkpoint(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:
        assert isinstance(found, dict)
        assert found
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    try:
        load_weights(classifier, path, "small")
    except CheckpointError as error:
        assert str(path) in str(error)
        for name, value in classifier.state_dict().items():
            assert torch.equal(value, before[name])
    else:
        state = classifier_state(path)
        for name, value in classifier.backbone.state_dict().items():
            assert value.shape == state[name].shape
            assert torch.equal(value.nan_to_num(), state[name].to(value.dtype).nan_to_num())
            value.copy_(before[f"backbone.{name}"])
    try:
        loaded = load_classifier(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:
        description = read_checkpoint(path)["classifier"]
        assert not loaded.training
        assert loaded.normalize is description["normalize"]
        assert len(description["outputs"]) in {len(value) for value in loaded.parameters() if value.ndim == 1}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the current folder that only code from a hostile file would write."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "canary"


@sizes(60, 5000)
def test_a_spoilt_checkpoint_is_refused_or_read(canary: Path, tmp_path: Path, count: int) -> None:
    """Bytes changed in the file, and in the pickle of an archive that is otherwise sound."""
    path, classifier = tmp_path / "model.ckpt", small(1)
    state = small().backbone.state_dict()
    valid = [saved(state), saved(described()), saved(state, _use_new_zipfile_serialization=False)]
    pickles = st.builds(
        rezipped, st.sampled_from(valid[:2]), SHORT_CHANGES, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    )
    spliced = st.builds(
        lambda one, other, at, by: one[: at % len(one)] + other[by % len(other) :],
        *(st.sampled_from(valid), st.sampled_from(valid), PLACE, PLACE),
    )

    def check(data: bytes) -> None:
        path.write_bytes(data)
        holds_to_its_promises(path, classifier)
        assert not canary.exists()

    fuzz(count, st.one_of(pickles, pickles, spoilt(*valid, changes=SHORT_CHANGES), spliced), check, valid)


ODD_TENSORS: list[Callable[[], Any]] = [
    lambda: torch.zeros(3, 4).to_sparse(),
    lambda: torch.zeros(3, 4, dtype=torch.complex64),
    lambda: torch.zeros(3, 4, device="meta"),
    lambda: torch.zeros(1).expand(10**12),
    lambda: torch.zeros(1).expand(3, 4),
    lambda: torch.zeros(0),
    lambda: torch.tensor(math.nan),
    lambda: torch.full((3, 4), math.inf),
    lambda: torch.zeros(3, 4, dtype=torch.bool),
    lambda: torch.zeros(3, 4, dtype=torch.bfloat16),
    lambda: torch.zeros(3, 4, dtype=torch.float64),
    lambda: torch.ones(3, 4, dtype=torch.int64),
    lambda: torch.zeros(*[1] * 30),
    lambda: nn.Parameter(torch.zeros(3, 4)),
    lambda: torch.quantize_per_tensor(torch.zeros(3, 4), 0.1, 0, torch.qint8),
    lambda: torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)]),
    lambda: torch.zeros(4, 3).T,
    lambda: torch.zeros(3, 4)[:, ::2],
]
ODD_VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        10**30,
        math.nan,
        "",
        "x" * 500,
        "resnet18.nope",
        "resnet18",
        "test_resnet",
        "hf-hub:a/b",
        b"x",
    ),
    *(
        (),
        [],
        {},
        ["a"],
        ["a", "b", "c"],
        [3, 4],
        "abc",
        {"a": "b"},
        {1},
        slice(3),
        complex(1, 2),
        "\ud800",
        "\0",
        ["a"] * 5000,
    ),
]
KEYS = [
    "fc.weight",
    "fc.bias",
    "bn.running_mean",
    "bn.num_batches_tracked",
    "module.fc.weight",
    "fc.fc.bias",
    "",
    "\ud800",
    0,
    None,
    (1,),
]
PARTS = ["backbone", "outputs", "normalize", "method", "task", 0]


def _structure(draws: list[tuple[str, Any, Any]]) -> Any:
    content: Any = described()
    for where, key, value in draws:
        odd = ODD_TENSORS[value]() if isinstance(value, int) and not isinstance(value, bool) else value
        if where == "state":
            content["state_dict"][key if key not in PARTS[:5] else "fc.weight"] = odd
        elif where == "top":
            content[key] = odd
        elif where == "itself":
            content["state_dict" if key == 0 else "classifier"] = content
        elif where == "description" and isinstance(content["classifier"], dict):
            content["classifier"][key] = odd
        elif where == "away" and isinstance(content["state_dict"], dict):
            content["state_dict"].pop(f"model.backbone.{key}", None)
        if not isinstance(content["state_dict"], dict):
            break
    return content


@sizes(50, 4000)
def test_a_checkpoint_of_odd_values_is_refused_or_read(canary: Path, tmp_path: Path, count: int) -> None:
    """Sound files of tensors of other kinds and shapes, names that are none, and descriptions of no classifier."""
    path, classifier = tmp_path / "model.ckpt", small(1)
    values = st.one_of(
        st.integers(0, len(ODD_TENSORS) - 1), st.sampled_from([v for v in ODD_VALUES if type(v) is not int])
    )
    tops = ["state_dict", "classifier", "hyper_parameters", 0]
    change = st.one_of(
        st.tuples(st.just("state"), st.sampled_from([f"model.backbone.{key}" for key in KEYS[:4]] + KEYS), values),
        st.tuples(st.just("description"), st.sampled_from(PARTS), values),
        st.tuples(st.just("top"), st.sampled_from(tops), values),
        st.tuples(st.sampled_from(["itself", "away"]), st.sampled_from([0, *KEYS[:4]]), st.just(None)),
    )

    def check(draws: list[tuple[str, Any, Any]]) -> None:
        try:
            data = saved(_structure(draws))
        except Exception:
            return  # Not even torch can write it.
        path.write_bytes(data)
        holds_to_its_promises(path, classifier)

    every = [[("description", key, value)] for key in PARTS[:3] for value in ODD_VALUES if type(value) is not int]
    every += [[("state", "model.backbone.fc.weight", value)] for value in range(len(ODD_TENSORS))]
    every += [[("state", "module.fc.weight", 4)], [("top", "classifier", None)]]
    fuzz(count, st.lists(change, min_size=1, max_size=3), check, every)


def traps(canary: Path) -> list[Trap]:
    """Ways to have something done by the one who loads a file; each writes the canary."""
    write = f"open({str(canary)!r}, 'w').close()"
    touch = f"touch {canary}"
    once = pickle.dumps(Trap(open, str(canary), "w"))
    return [
        Trap(os.system, touch),
        Trap(os.popen, touch),
        Trap(subprocess.call, ["touch", str(canary)]),
        Trap(builtins.exec, write),
        Trap(builtins.eval, write),
        Trap(builtins.__import__, "os"),
        Trap(open, str(canary), "w"),
        Trap(io.FileIO, str(canary), "w"),
        Trap(shutil.copy, "/etc/hostname", str(canary)),
        Trap(Path.touch, canary),
        Trap(pickle.loads, once),
        Trap(torch.storage._load_from_bytes, once),
        Trap(torch.load, io.BytesIO),
    ]


PLACES: list[Callable[[Any], Any]] = [
    lambda trap: trap,
    lambda trap: {"state_dict": {"fc.weight": trap}},
    lambda trap: {"fc.weight": [[trap]]},
    lambda trap: described() | {"callbacks": trap},
    lambda trap: described(backbone=trap),
    lambda trap: described(outputs=[trap]),
    lambda trap: [small().state_dict(), trap],
]
#: A pickle written by hand for each way to name a function and to call it.
BY_HAND = [
    b"cos\nsystem\n(S'touch canary'\ntR.",
    b"(S'touch canary'\nios\nsystem\n.",
    b"(cos\nsystem\nS'touch canary'\no.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
    b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch canary\x85\x81.",
    b"\x80\x02cbuiltins\nexec\nX\x13\x00\x00\x00open('canary','w+')\x85R.",
    b"\x80\x02ccollections\nOrderedDict\n)R}X\x0b\x00\x00\x00__reduce__xxcos\nsystem\nsb.",
]


@sizes(40, 2500)
def test_code_in_a_checkpoint_is_never_run(canary: Path, tmp_path: Path, count: int) -> None:
    """Every trap in every place of every format, whole or with further damage."""
    path, classifier, set_up = tmp_path / "model.ckpt", small(1), traps(canary)
    formats: list[Callable[[Any], bytes]] = [
        saved,
        lambda content: saved(content, _use_new_zipfile_serialization=False),
        *(lambda content, protocol=protocol: pickle.dumps(content, protocol) for protocol in range(6)),
    ]

    def check(value: tuple[int, int, int, list]) -> None:
        trap, place, form, changes = value
        if trap < len(set_up):
            data = formats[form](PLACES[place](set_up[trap]))
        else:
            data = BY_HAND[trap - len(set_up)]
            if form % 2:
                data = rezipped(saved({}), [("cut off", 0, 0, b""), ("insert", 0, 0, data)], zipfile.ZIP_STORED)
        path.write_bytes(changed(data, changes))
        holds_to_its_promises(path, classifier)
        assert not canary.exists()
        if not changes:
            with pytest.raises(CheckpointError):
                read_checkpoint(path)

    last = len(set_up) + len(BY_HAND) - 1
    inputs = st.tuples(
        st.integers(0, last), st.integers(0, len(PLACES) - 1), st.integers(0, 7), st.one_of(st.just([]), SHORT_CHANGES)
    )
    every = [(trap, 1, form, []) for trap in range(last + 1) for form in (0, 7)]
    fuzz(count, inputs, check, every)


def test_the_traps_would_go_off_where_code_is_run(canary: Path) -> None:
    pickle.loads(pickle.dumps(Trap(open, str(canary), "w")))
    assert canary.exists()
    canary.unlink()
    pickle.loads(BY_HAND[0])
    assert canary.exists()


@pytest.mark.parametrize("data", [BY_HAND[0], saved({"state_dict": [1]})[:300], saved({"fc.weight": torch.zeros(2)})])
def test_a_hostile_original_is_one_message_at_the_command_line(
    canary: Path, tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hostile.pth").write_bytes(data)
    arguments = ["--data=SyntheticFaces", "--data.people=24", "--data.pictures=5", "--data.image_size=32"]
    arguments += ["--model=FineTune", "--model.backbone=resnet18_slim", "--model.original=hostile.pth"]
    assert main(["fit", *arguments, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]) == 2
    said = capsys.readouterr().err
    assert "gli: hostile.pth: " in said
    assert "Traceback" not in said
    assert not canary.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"pytorch-lightning_version": "2.6.4", "classifier": None},
        {"pytorch-lightning_version": "2.6.4", "classifier": [1]},
        {"pytorch-lightning_version": "2.6.4", "hyper_parameters": 3},
        {
            "pytorch-lightning_version": "2.6.4",
            "hyper_parameters": {"_class_path": "os.system", "command": "touch canary"},
        },
        {"pytorch-lightning_version": "2.6.4", "hyper_parameters": {3: 4}},
        {"pytorch-lightning_version": "2.6.4", "hyper_parameters": {"_instantiator": "os.system", "lr": []}},
    ],
)
def test_resuming_from_a_hostile_checkpoint_is_one_message_at_the_command_line(
    canary: Path, tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    arguments = ["--data=SyntheticFaces", "--model=FineTune", "--ckpt_path=last.ckpt"]
    assert main(["fit", *arguments]) == 2
    said = capsys.readouterr().err
    assert "gli: " in said
    assert "Traceback" not in said
    assert not canary.exists()


# Configurations.

RUNS = [*REPOSITORY.glob("configs/*_synthetic.yaml"), *sorted(REPOSITORY.glob("configs/data/*.yaml"))]
BOMB = (
    "["
    + ", ".join(
        ["&a [" + ",".join(["x"] * 9) + "]"]
        + [f"&{b} [{','.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    )
    + "]"
)
#: What YAML may say in place of a value.
SAID = [
    *EVIL,
    *(
        "{}",
        "[]",
        "[[]]",
        "{a: b}",
        "{[a]: b}",
        "? {}",
        "&a [*a]",
        "&a {b: *a}",
        BOMB,
        "0.5",
        "[1, 2, 3]",
        "{1: 2, null: 3}",
    ),
    *("{class_path: os.system}", "{class_path: builtins.exec, init_args: {source: x}}", "os.system", "gli.methods.GLI"),
    *(
        '"\\ud800"',
        '"\\0"',
        "!!set {a}",
        "!!python/name:os.system",
        "2001-01-01",
        ".inf",
        ".nan",
        "-.inf",
        "1:30",
        "on",
        "0o9",
    ),
    *(
        "{class_path: subprocess.Popen, init_args: {args: [touch, canary]}}",
        "no_such_module.nothing",
        "GLI",
        "MUFAC",
        "FaceTable",
    ),
]


#: What a command line may say besides: no NUL, which ends an argument, and nothing that takes its owner an hour to type
#: in jest.
TYPED = [said for said in SAID if "\0" not in said and said != BOMB]


class Parsed(Exception):
    """Stops the command where it has understood its command line."""


@pytest.fixture(scope="module")
def parser() -> Any:
    """The command's own, made once: to make it takes ten times as long as to parse with it."""
    found: list[Any] = []

    class Stopped(command.CLI):
        def instantiate_classes(self) -> None:
            found.append(self)
            raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        with pytest.raises(Parsed):
            command.run(["fit", f"--config={RUNS[0]}"], Stopped)
    return found[0]


def places(settings: Any, above: tuple = ()) -> list[tuple]:
    """Where the values of a configuration stand."""
    if not isinstance(settings, dict):
        return [above]
    return [place for key, value in settings.items() for place in [(*above, key), *places(value, (*above, key))]]


def with_value(text: str, place: str | tuple, said: str) -> bytes:
    """A configuration in which one value says something else."""
    settings = yaml.safe_load(text)
    *above, last = place.split(".") if isinstance(place, str) else place
    part = settings
    for key in above:
        part = part[key]
    part[last] = "THE VALUE"
    return yaml.safe_dump(settings, width=10**6).replace("THE VALUE", said).encode("utf-8", "surrogatepass")


#: Where faults were found, wherever they stood; and what is a fault in one place only.
FAULTS = ["9" * 5000, "[" * 500, BOMB, "&a [*a]", "&a {b: *a}", "!!int ''", "!!timestamp x", "2020-99-99", '"\\ud800"']
FAULTY = ["0x" + "f" * 5000, ".inf", "2001-01-01", "[]", "true", "-1", "../x", "null", "$x^{", "x" * 300]


def spoilt_settings(texts: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Configurations with a value that says something else, and with damage to the text."""
    one = st.sampled_from([(text, place) for text in texts for place in dict.fromkeys(places(yaml.safe_load(text)))])
    other = st.builds(lambda where, said: with_value(*where, said), one, st.sampled_from(SAID))
    return st.one_of(other, other, spoilt(*(text.encode() for text in texts)), st.sampled_from(SAID).map(str.encode))


SETTINGS = [
    "model",
    "model.lr",
    "model.class_weight",
    "model.class_weight.initial",
    "data",
    "data.people",
    "data.recipe",
]
SETTINGS += [
    "data.recipe.milestones",
    "data.forget_identities",
    "trainer",
    "trainer.max_epochs",
    "trainer.logger",
    "config",
]
SETTINGS += [
    "trainer.callbacks",
    "trainer.accelerator",
    "seed_everything",
    "originals",
    "audit",
    "checkpoint.monitor",
    "nothing",
]
SETTINGS += [
    "early_stopping.patience",
    "ckpt_path",
    "optimizer",
    "model.help",
    "print_config",
    "model.init_args",
    "",
    "a b",
]


@sizes(50, 10_000)
def test_a_spoilt_configuration_or_command_line_is_refused_or_understood(
    parser: Any, canary: Path, tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the process, with one parser, since to make it takes ten times as long as to parse with it."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    path = tmp_path / "configs" / "spoilt.yaml"

    def check(value: tuple[bytes, list[str]]) -> None:
        text, arguments = value
        path.write_bytes(text)
        try:
            parser.parse_arguments(parser.parser, ["fit", f"--config={path}", *arguments])
        except GLIError as error:
            assert str(error).strip()
            assert "Traceback" not in str(error)
        except SystemExit as stop:
            assert stop.code in (0, None)
            assert any("help" in one or "print" in one or one.startswith("--version") for one in arguments)
        else:
            settings = parser.config.fit
            known = command.concrete_subclasses(Method)
            assert settings.model.class_path.rpartition(".")[2] in known
            assert isinstance(settings.seed_everything, bool | int)
        finally:
            capsys.readouterr()
        assert not canary.exists()

    texts = [path.read_text() for path in RUNS]
    overrides = st.builds("--{}={}".format, st.sampled_from(SETTINGS), st.sampled_from(TYPED))
    inputs = st.one_of(
        st.tuples(spoilt_settings(texts), st.just([])),
        st.tuples(st.just(texts[0].encode()), st.lists(overrides, min_size=1, max_size=2)),
    )
    examples = [(with_value(texts[0], "model", said), []) for said in [*FAULTS, *FAULTY]] + [(b"\xff", [])]
    fuzz(count, inputs, check, examples)


@sizes(4, 60)
def test_a_spoilt_configuration_is_one_message_at_the_command_line(
    canary: Path, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command, but that it stops once everything is understood."""

    def understood(self: Any) -> None:
        raise GLIError("understood")

    monkeypatch.setattr(command.CLI, "instantiate_classes", understood)

    def check(said: str) -> None:
        (tmp_path / "spoilt.yaml").write_bytes(f"model: GLI\ndata: SyntheticFaces\ntrainer: {said}".encode())
        assert main(["fit", "--config=spoilt.yaml"]) == 2
        err = capsys.readouterr().err
        assert err.count("gli: ") == 1
        assert "Traceback" not in err
        assert not canary.exists()

    fuzz(count, st.sampled_from([said for said in SAID if len(said) < 400]), check, ['"\\0"'])


@sizes(40, 1000)
def test_a_spoilt_benchmark_is_refused_or_a_grid_of_runs_in_its_own_folder(
    canary: Path, tmp_path: Path, count: int
) -> None:
    """Configurations are beside the benchmark or one folder above, folders of cells in its own and all different."""
    configs, output = tmp_path / "configs", tmp_path / "out"
    shutil.copytree(REPOSITORY / "configs", configs)
    path = configs / "benchmark/spoilt.yaml"

    def check(text: bytes) -> None:
        path.write_bytes(text)
        try:
            grid = read_grid(path)
        except SettingError as error:
            assert str(path) in str(error)
            return
        assert Path(f"benchmark_{grid.data}").name == f"benchmark_{grid.data}"
        try:
            found = runs_of(grid, path, output, tmp_path / "originals")
        except GLIError:
            return
        assert len({cell.folder for cell in found}) == len(found)
        for cell in found:
            assert cell.folder.parent == output / "cells"
            assert cell.run is None
        assert not canary.exists()

    texts = [path.read_text() for path in (REPOSITORY / "configs/benchmark").glob("*.yaml")]
    keys = ("data", "methods", "seeds", "seed_data", "backbones", "settings", "variants", "select", "resamples")
    base = (
        "data: synthetic\nmethods: {GLI: {model.lr: 0.1}, LI: {}}\nseeds: [0]\nvariants: {A: {config: li_synthetic}}\n"
    )
    examples = [with_value(base, key, said) for key in keys for said in FAULTY]
    examples += [with_value(base, ("methods", "GLI", "model.lr"), said) for said in [*FAULTS, *FAULTY]]
    fuzz(count, spoilt_settings([*texts, base]), check, examples)


@pytest.mark.parametrize(
    "said", ["[]", "{}", "3", '{"key": 1}', '{"run": 3, "key": 1}', "[" * 9000, '{"run": "../x", "key": 0}']
)
def test_a_spoilt_note_of_a_finished_cell_is_as_none(tmp_path: Path, said: str) -> None:
    (tmp_path / "li_synthetic.yaml").write_text("model: LI\ndata: SyntheticFaces\n")
    (tmp_path / "grid.yaml").write_text("data: synthetic\nmethods: [LI]\n")
    (cell,) = runs_of(read_grid(tmp_path / "grid.yaml"), tmp_path / "grid.yaml", tmp_path / "out", tmp_path)
    cell.folder.mkdir(parents=True)
    (cell.folder / "done.json").write_text(said)
    assert cell.run is None


# Folders of runs.

SETS = ("test", "forget", "unseen")


def make_run(folder: Path) -> dict[str, bytes]:
    """Write a run's folder; its files' contents by their names."""
    generator = np.random.default_rng(0)
    (folder / "audits").mkdir(parents=True)
    described = {
        "class_path": "gli.methods.GLI",
        "init_args": {"lr": 0.01, "class_weight": {"initial": 1, "final": 100}},
    }
    data = {"class_path": "gli.data.SyntheticFaces", "init_args": {"seed": 0, "image_size": 64}}
    config = {"seed_everything": 0, "model": described, "data": data}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = []
    for step in (0, 2, 4):
        values = {name: {key: generator.random(6) for key in ("loss", "accuracy")} for name in SETS}
        audits.write_record(folder, Record(step, values))
        lines.append({"step": step} | {f"val/{name}": value for name, value in Record(step, values).scores().items()})
    audits.write_people(folder, {name: np.repeat(["anna", "ben", "carl"], 2) for name in SETS})
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    (folder / "cost.json").write_text(json.dumps({"training_seconds": 1.5, "peak_memory_bytes": 10, "device": "cpu"}))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


ODD_ARRAYS: list[Callable[[], Any]] = [
    *(lambda shape=shape: np.zeros(shape, np.float32) for shape in (0, 1, 5, 7, (6, 1), (2, 3), ())),
    *(lambda kind=kind: np.zeros(6, kind) for kind in ("U3", "S3", "i8", "?", "c16", "M8[s]", "f8,i4", "V4")),
    *(lambda value=value: np.full(6, value, np.float32) for value in (np.nan, np.inf, -1, 1e38)),
]


def _archive(entries: dict[str, int]) -> bytes:
    """A record of an audit in which some arrays are of another kind."""
    arrays: dict[str, Any] = {
        f"{name}/{key}": np.arange(6, dtype=np.float32) for name in SETS for key in ("loss", "accuracy")
    }
    for name, odd in entries.items():
        arrays[name] = ODD_ARRAYS[odd]()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _huge(data: bytes) -> bytes:
    """The same archive, whose first array says that it is of many terabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"(6,), }         ", b"(99999999999,), }"[:16]))
    return file.getvalue()


@sizes(60, 4000)
def test_a_spoilt_folder_of_a_run_is_refused_or_gives_results(canary: Path, tmp_path: Path, count: int) -> None:
    """Each result names an audit of the log; its scores are those of the log, or of the values that were kept."""
    folder = tmp_path / "run"
    valid = make_run(folder)

    def check(value: tuple[str, bytes, str]) -> None:
        name, data, select = value
        for other, content in valid.items():
            (folder / other).write_bytes(content)
        (folder / name).write_bytes(data)
        try:
            run = read_run(folder)
            found, failed = collect_results([run], select, 2 if select == "held_out" else 0)
            if failed:
                raise DataError(failed[0])
        except DataError as error:
            assert str(folder) in str(error)
        else:
            iterations = [row["iteration"] for row in run.rows]
            assert iterations == sorted(set(iterations))
            assert all(float(one).is_integer() and one >= 0 for one in iterations)
            assert run.method.isidentifier()
            assert run.data.isidentifier()
            for result in found:
                assert result.iteration in iterations or select == "held_out"
                assert {"accuracy", "mia_accuracy", "jsd", "final_score"} <= result.scores.keys()
                assert all(isinstance(score, float) for score in result.scores.values())
                assert all(
                    type(result.cost.get(one, 0)) in (int, float) for one in ("training_seconds", "peak_memory_bytes")
                )
        assert isinstance(read_cost(folder), dict)
        assert not canary.exists()
        (folder / name).unlink()

    config = valid["config.yaml"].decode()
    records = st.builds(_archive, st.dictionaries(
        st.sampled_from([*(f"{name}/{key}" for name in SETS for key in ("loss", "accuracy", "x")), *SETS, "", "/"]),
        st.integers(0, len(ODD_ARRAYS) - 1), max_size=3,
    ))  # fmt: skip
    people = "audits/people.npz"
    files = st.one_of(
        st.sampled_from(sorted(valid)).flatmap(lambda name: st.tuples(st.just(name), spoilt(valid[name]))),
        st.tuples(st.just("config.yaml"), spoilt_settings([config])),
        st.tuples(st.sampled_from(["audits/000002.npz", "audits/000000.npz", people]), records),
        st.tuples(st.sampled_from(["cost.json"]), st.sampled_from(SAID).map(str.encode)),
    )
    keys = ("seed_everything", "model", "model.class_path", "model.init_args", "data.init_args.seed")
    every = [("config.yaml", with_value(config, key, said)) for said in FAULTY for key in keys]
    every += [("config.yaml", with_value(config, "model.init_args.lr", said)) for said in FAULTS]
    every += [
        ("cost.json", said)
        for said in (b"[]", b'{"training_seconds": "x"}', b"[" * 9000, b'{"training_seconds": null}')
    ]
    every += [("audits/0x.npz", b""), ("audits/000002.npz", _huge(valid["audits/000002.npz"]))]
    every += [
        ("audits/000002.npz", changed(valid["audits/000002.npz"], [("flip", at, 1, b"")])) for at in range(0, 300, 10)
    ]
    every += [(people, _archive({})), (people, b"\x93NUMPY"), ("audits/000002.npz", valid[people])]
    every += [
        ("metrics.csv", valid["metrics.csv"].replace(b"\n4,", step + b","))
        for step in (b"\nnan", b"\ninf", b"\n-1", b"\n1.5")
    ]
    every += [
        ("metrics.csv", valid["metrics.csv"] + b",1,2,3,4,5,6,7,8\n"),
        ("metrics.csv", valid["metrics.csv"].replace(b"jsd", b"x")),
    ]
    inputs = st.builds(lambda file, select: (*file, select), files, st.sampled_from(["final_score", "held_out"]))
    fuzz(count, inputs, check, [(*one, "held_out") for one in every])


@sizes(2, 60)
def test_the_report_of_a_spoilt_run_is_refused_or_written(
    canary: Path, tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command, figures and all; what stands in a setting is neither formula nor markup in the page."""
    folders = [tmp_path / "one", tmp_path / "other"]
    valid = make_run(folders[0])
    make_run(folders[1])

    def check(value: tuple[str, bytes]) -> None:
        name, data = value
        for other, content in valid.items():
            (folders[0] / other).write_bytes(content)
        (folders[0] / name).write_bytes(data)
        status = main(["report", *map(str, folders), "--output", "report"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert status in (0, 2)
        assert status == 0 or said.err.count("gli report: ") == 1
        assert not canary.exists()
        if status == 0:
            # The page's own script is the only one.
            assert (tmp_path / "report" / "report.html").read_text().count("<script>") == 1

    config = valid["config.yaml"].decode()
    examples = [("config.yaml", with_value(config, "model.init_args.lr", said)) for said in ("$x^{", "<script>")]
    examples += [("config.yaml", with_value(config, "data.class_path", "a.<script>"))]
    examples += [("metrics.csv", valid["metrics.csv"].replace(b"jsd", b"x"))]
    names = [name for name in valid if name != "audits/people.npz"]
    files = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), spoilt(valid[name])))
    values = st.tuples(st.just("config.yaml"), spoilt_settings([config]))
    fuzz(count, st.one_of(files, values), check, examples)
