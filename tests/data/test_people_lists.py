"""People in settings: names, text files, tables and stores; hostile files are refused or read right."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.data import FaceTable
from gli.data.people_lists import columns_of, parse_names, read_people_list
from gli.erasure.batch_purge import purge_batch
from gli.errors import DataError, GLIError, SettingError
from tests.helpers.erasure import NOW, ask, chained, fake_run, make_home, make_store
from tests.helpers.fake_data import make_table

HEADER = b"file,identity,age\n"
GOOD_TABLE = HEADER + b"".join(b"h%d.jpg,h%d,%d\n" % (n, n, n % 2) for n in range(12))
GOOD_LIST = b"# never trained on\nh0\nh1\n  h2 \n\np3 # moved away\n"


def test_the_forms_of_a_list(tmp_path):
    text, table, capital = tmp_path / "list", tmp_path / "list.csv", tmp_path / "LIST.CSV"
    text.write_text("\n# a comment\n anna \nben # by letter\nanna\n")
    for path in (table, capital):
        path.write_text("name,age\nanna,1\nben,2\nanna,3\n")
    assert read_people_list("erased", ["anna", 7, "anna"]) == ["anna", "7"]
    assert read_people_list("erased", str(text)) == ["anna", "ben"]
    assert read_people_list("erased", str(text), in_table={"ben # by letter"}) == ["anna", "ben # by letter"]
    assert read_people_list("erased", str(table), column="name") == ["anna", "ben"]
    assert read_people_list("erased", str(capital), column="name") == ["anna", "ben"]
    assert columns_of(table) == ["name", "age"]
    lines = ["# asked in May", "", "anna", "  ben  ", "carl # by letter", "   # nobody"]
    assert parse_names(lines) == ["anna", "ben", "carl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\nanna\n", r"list.csv, line 1: the column 'name' is missing"),
        ("name,age\nanna,1\n,2\n", r"list.csv, line 3: the identity is empty"),
        ("name\n", r"list.csv: has no rows"),
        ("", r"list.csv, line 1: the column 'name' is missing"),
    ],
)
def test_a_table_without_names_is_refused(text, message, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_people_list("held_out", str(tmp_path / "list.csv"), column="name")


@pytest.mark.parametrize("path", ["nowhere.txt", "x" * 5000, "nul\0.csv", "half\ud800.csv", "."])
def test_a_path_without_a_file_is_refused(path):
    with pytest.raises(SettingError, match=r"held_out: .*no such file"):
        read_people_list("held_out", path, column="identity")


@pytest.mark.parametrize("setting", ["held_out", "erased"])
@pytest.mark.parametrize("path", ["x" * 5000, "nul\0.csv", "."])
def test_such_a_path_in_a_setting_is_refused(root, setting, path):
    data = FaceTable(root=str(root), cache_dir=str(root / "cache"), image_size=8, **{setting: path})
    with pytest.raises(SettingError, match=rf"{setting}: .*no such file"):
        data.setup()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A table of people ``p0`` to ``p29``, and files of people ``h0`` to ``h11`` who are not in it."""
    root = tmp_path_factory.mktemp("faces")
    people = [(f"p{n}.jpg", f"p{n}", n % 2) for n in range(30)]
    make_table(root, people, pictures={f"p{n}.jpg": 100 + n for n in range(30)})
    make_table(root, [(f"h{n}.jpg", f"h{n}", n % 2) for n in range(12)], csv_name="good.csv")
    return root


@st.composite
def damaged(draw, good: bytes):
    """Bytes of a file with a piece replaced, or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, min(len(good), start + 12)))
    special = st.sampled_from(
        [b",", b'"', b"\n", b"\r", b"#", b"\0", b"../", b"/etc/passwd", b"p3", b"h1", b"\xff", b" "]
    )
    return good[:start] + draw(st.lists(special, max_size=3).map(b"".join)) + good[end:]


def _check(root: Path, path: Path, data: bytes, setting: str) -> None:
    """Set up the table with a file in a setting: an error that names it, or sets that fit the file."""
    path.write_bytes(data)
    faces = FaceTable(root=str(root), cache_dir=str(root / "cache"), image_size=8, **{setting: str(path)})
    try:
        faces.setup()
    except GLIError as error:
        text = str(error)
        assert any(part in text for part in (str(path), setting, "set is empty", "not there"))
        return
    sets = {name: set(faces.identities[rows].tolist()) for name, rows in faces.splits.items()}
    text = path.read_text(encoding="utf-8-sig")
    inside = root.resolve()
    assert all((root / name).resolve().is_relative_to(inside) for name in faces.faces.images.paths)
    if setting == "held_out":
        chosen = sets["test"] | sets["unseen"]
        assert chosen == set(faces.identities[faces.is_held_out].tolist())
        assert all(name in text for name in chosen)
        if path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(text, newline="")))
            column = [name.strip() for name in rows[0]].index("identity")
            assert chosen == {row[column].strip() for row in rows[1:] if row}
    else:
        erased = set(faces.identities.tolist()) - set.union(*sets.values())
        assert all(name in text for name in erased)


@pytest.mark.filterwarnings("ignore:data.erased names:UserWarning", "ignore:.*people are in no set:UserWarning")
@pytest.mark.parametrize("setting", ["held_out", "erased"])
@pytest.mark.parametrize(("name", "good"), [("list.csv", GOOD_TABLE), ("list.txt", GOOD_LIST)], ids=["table", "text"])
def test_hostile_files_of_people_are_refused_or_read_right(root, setting, name, good):
    path = root / name

    @settings(max_examples=60, deadline=None)
    @given(damaged(good))
    def check(data: bytes) -> None:
        _check(root, path, data, setting)

    check()
    _check(root, path, good, setting)


def test_a_held_out_table_cannot_name_files_outside_the_folder(root):
    path = root / "outside.csv"
    for file in ("../secret.jpg", "/etc/passwd", ""):
        path.write_bytes(HEADER + f"{file},h1,1\n".encode())
        with pytest.raises(DataError, match=r"outside.csv, line 2"):
            FaceTable(root=str(root), cache_dir=str(root / "cache"), held_out=str(path)).table()


def test_rows_that_are_in_both_tables_count_once(root):
    path = root / "both.csv"
    path.write_bytes(HEADER + b"p1.jpg,p1,1\np2.jpg,p2,0\nh1.jpg,h1,1\n")
    data = FaceTable(root=str(root), cache_dir=str(root / "cache"), image_size=8, held_out=str(path))
    assert len(data.faces) == 31
    assert np.unique(data.identities[data.is_held_out]).tolist() == ["h1", "p1", "p2"]


@pytest.mark.threat(
    "a sloppy operator",
    "restore a backup with an erased person",
    "noticed it",
    "`add`, `plan`, `run`, `--data.erased`",
)
def test_an_erased_person_or_photograph_is_refused_by_the_name_of_the_request(tmp_path):
    home = make_home(tmp_path / "home")
    store = make_store(home)
    (request,) = ask(store, "anna")
    fake_run(store)

    def splits():
        settings = {"root": str(home / "photos"), "csv": str(home / "faces.csv"), "cache_dir": str(home / "cache")}
        shares = {"test_share": 0.25, "unseen_share": 0.25, "forget_share": 0.5}
        data = FaceTable(**settings, **shares, image_size=24, erased=str(store.folder))
        data.setup()
        return data.splits

    assert set(splits()) == {"retain", "forget", "test", "unseen"}
    purge_batch(store, now=NOW)
    with pytest.raises(DataError, match=f"Row 1 of the table .* {request}"):
        splits()
    table = home / "faces.csv"
    rows = [line for line in table.read_text().splitlines() if ",anna," not in line]
    table.write_text("\n".join([*rows, ""]))
    splits()
    shutil.copy(home / "photos/anna/anna-0.png", home / "photos/ben/holiday.png")
    table.write_text("\n".join([*rows, "ben/holiday.png,ben,adult", ""]))
    with pytest.raises(DataError, match=f"Row 15 of the table .* {request}"):
        splits()
    entries = store.ledger.read().entries
    chained(store.ledger.path, [entry for entry in entries if entry["kind"] != "erased"])
    with pytest.raises(DataError, match="was made up without the key of this store"):
        splits()
    chained(store.ledger.path, entries)
    store.ledger.head.write_bytes(store.ledger._head(len(entries), entries[-1]["hash"]))
    (store.folder / "key").write_text(f"{'ab' * 32}\n")
    with pytest.raises(DataError, match="was written with another key"):
        splits()
    (store.folder / "ledger.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"ledger\.jsonl, line 1: was changed"):
        splits()
