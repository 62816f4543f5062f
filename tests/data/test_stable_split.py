"""The stable split: nobody changes sets when rows come and go, households stay together, shares are about right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.data import FaceTable, SyntheticFaces
from gli.data.splits import SPLITS
from gli.data.stable_split import hash_position, household_set, stable_split
from gli.errors import SettingError
from tests.helpers.fake_data import make_table

SHARES = {"test": 0.2, "unseen": 0.2, "forget": 0.25}
#: A table: the household and the content of each row, few of either, so that files are shared.
tables = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), min_size=1, max_size=40)


def _split(rows: list[tuple[int, int]], seed: int = 0, **settings: object) -> dict[str, np.ndarray]:
    households = np.array([f"family {household}" for household, _ in rows])
    digests = np.array([b"%032d" % content for _, content in rows])
    return stable_split(households, digests, SHARES, seed, **settings)  # type: ignore[arg-type]


def _set_of_row(splits: dict[str, np.ndarray], count: int) -> list[str]:
    sets = [""] * count
    for name, rows in splits.items():
        for row in rows:
            assert not sets[row]
            sets[row] = name
    return sets


@settings(max_examples=80, deadline=None)
@given(tables, st.data(), st.integers(0, 3))
def test_adding_or_removing_rows_moves_nobody_to_another_set(rows, data, seed):
    kept = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True, min_size=1))
    before = _set_of_row(_split(rows, seed), len(rows))
    after = _set_of_row(_split([rows[row] for row in kept], seed), len(kept))
    for place, row in enumerate(kept):
        assert "" in (before[row], after[place]) or before[row] == after[place]


@settings(max_examples=80, deadline=None)
@given(tables, st.data())
def test_without_shared_files_everybody_keeps_their_set(rows, data):
    rows = [(household, place) for place, (household, _) in enumerate(rows)]
    kept = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True, min_size=1))
    before = _set_of_row(_split(rows), len(rows))
    after = _set_of_row(_split([rows[row] for row in kept]), len(kept))
    assert [before[row] for row in kept] == after
    assert "" not in before


@settings(max_examples=80, deadline=None)
@given(tables, st.integers(0, 3), st.data())
def test_households_and_identical_files_are_in_one_set(rows, seed, data):
    forget = data.draw(st.none() | st.integers(0, len(rows) - 1))
    asked = (
        None if forget is None else np.flatnonzero([row == rows[forget] or row[0] == rows[forget][0] for row in rows])
    )
    splits = _split(rows, seed, forget=asked)
    assert splits.keys() == set(SPLITS)
    sets = _set_of_row(splits, len(rows))
    train = {"retain": "train", "forget": "train"} if forget is not None else {}
    for column in (0, 1):
        for value in {row[column] for row in rows}:
            found = {train.get(sets[n], sets[n]) for n, row in enumerate(rows) if row[column] == value} - {""}
            assert len(found) <= 1
    if asked is not None:
        assert splits["forget"].tolist() == asked.tolist()


def test_a_set_that_is_known_does_not_change():
    """A change of the hash would move people on whom models were trained: these values must stay for ever."""
    assert hash_position("anna", 0, "gli split") == 0.6250890526596167
    names = [household_set(f"p{number}", SHARES, 0) for number in range(10)]
    assert " ".join(names) == "test retain retain retain test retain unseen forget retain retain"


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_are_about_right(seed):
    count = 4000
    splits = _split([(household, household) for household in range(count)], seed)
    sizes = {name: len(rows) / count for name, rows in splits.items()}
    wanted = {"test": 0.2, "unseen": 0.2, "forget": 0.25 * 0.6, "retain": 0.75 * 0.6}
    assert sizes == {name: pytest.approx(share, abs=0.025) for name, share in wanted.items()}


def test_another_seed_gives_another_split():
    rows = [(household, household) for household in range(200)]
    assert _set_of_row(_split(rows, 0), 200) != _set_of_row(_split(rows, 1), 200)


def test_a_larger_share_takes_nobody_away_from_a_set():
    for number in range(300):
        few, many = (
            household_set(str(number), {"test": share, "unseen": share, "forget": share}, 0) for share in (0.1, 0.3)
        )
        assert few == many or few in ("retain", "forget")
        assert few != "forget" or many != "retain"


def test_test_and_unseen_are_chosen_among_the_people_held_out_alone():
    rows = [(household, household) for household in range(200)]
    held_out = np.arange(200) % 4 == 0
    splits = _split(rows, held_out=held_out)
    sets = np.array(_set_of_row(splits, 200))
    assert set(sets[held_out]) == {"test", "unseen"}
    assert set(sets[~held_out]) == {"retain", "forget"}


def test_somebody_held_out_who_shares_a_file_with_a_trained_person_is_in_no_set():
    splits = _split([(0, 7), (1, 7), (1, 8), (2, 9)], held_out=np.array([False, True, True, True]))
    assert _set_of_row(splits, 4)[1:3] == ["", ""]


# -- data modules ------------------------------------------------------------------------------------------------------


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


def test_an_empty_set_of_a_small_table_says_what_helps(tmp_path):
    with pytest.raises(SettingError, match=r"The \w+ set is empty. .*(data.split_seed|data.forget_identities)"):
        _table(tmp_path, [0, 1]).setup()


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


def test_people_held_out_cannot_be_forgotten(tmp_path):
    data = _table(tmp_path, list(range(20)), held_out=["p1", "p2", "p3"], forget_identities=["p2"])
    with pytest.raises(SettingError, match=r"names 'p2', who is declared in data.held_out"):
        data.setup()


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        (["q1"], r"held_out names 'q1', who is not in the table"),
        ([], r"held_out names nobody"),
        ("nobody.txt", r"held_out: nobody.txt: no such file"),
    ],
)
def test_declarations_of_nobody_are_refused(held_out, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        _table(tmp_path, list(range(20)), held_out=held_out).setup()


@pytest.mark.parametrize("split", ["stable", "identity"])
def test_people_erased_before_are_in_no_set_and_neither_are_copies_of_their_files(split, tmp_path):
    """Otherwise the run that honours a second request trains on the people of the first one."""
    rows = [(f"p{person}.jpg", f"p{person}", person % 2) for person in range(40)]
    make_table(
        tmp_path, rows, pictures={"p9.jpg": 7, "p7.jpg": 7} | {f"p{n}.jpg": n for n in range(40) if n not in (7, 9)}
    )
    data = FaceTable(
        root=str(tmp_path),
        cache_dir=str(tmp_path / "cache"),
        image_size=8,
        split=split,  # type: ignore[arg-type]
        forget_identities=["p20"],
        erased=["p3", "p7", "p11"],
    )
    sets = _sets_of_people(data)
    assert not {"p3", "p7", "p9", "p11"} & sets.keys()
    assert sets["p20"] == "forget"


def test_erasing_somebody_twice_is_refused_and_missing_people_are_named(tmp_path):
    with pytest.raises(SettingError, match=r"names 'p2', who was erased before"):
        _table(tmp_path, list(range(20)), erased=["p2"], forget_identities=["p2"]).setup()
    with pytest.warns(UserWarning, match=r"names 1 people who are not in the table.*gone"):
        _table(tmp_path, list(range(40)), erased=["gone", "p2"]).setup()
