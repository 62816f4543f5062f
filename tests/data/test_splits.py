from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gli.data import splits as splitting
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, Images
from gli.data.tasks import MultiClass
from gli.errors import SettingError

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Table = tuple[list[str], list[str], list[int]]


@st.composite
def tables(draw: st.DrawFn, people: tuple[int, int] = (1, 14), pictures: int = 4) -> Table:
    """Identities, households and picture numbers of rows in random order; some pictures belong to several people."""
    count = draw(st.integers(*people))
    homes = draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    sizes = draw(st.lists(st.integers(1, pictures), min_size=count, max_size=count))
    rows = [(f"p{person}", f"h{homes[person]}") for person in range(count) for _ in range(sizes[person])]
    files = list(range(len(rows)))
    for source, target in draw(st.lists(st.tuples(*[st.integers(0, len(rows) - 1)] * 2), max_size=3)):
        files[target] = files[source]
    order = draw(st.permutations(range(len(rows))))
    return [rows[row][0] for row in order], [rows[row][1] for row in order], [files[row] for row in order]


def naive_groups(*columns: Sequence[object]) -> list[int]:
    """Connected components by repeated relabelling: slow and simple."""
    groups = list(range(len(columns[0])))
    changed = True
    while changed:
        changed = False
        for column in columns:
            lowest: dict[object, int] = {}
            for row, value in enumerate(column):
                lowest[value] = min(lowest.get(value, groups[row]), groups[row])
            for row, value in enumerate(column):
                if groups[row] != lowest[value]:
                    groups[row], changed = lowest[value], True
    return groups


def partition(groups: Sequence[int] | np.ndarray) -> set[frozenset[int]]:
    members: dict[int, set[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(int(group), set()).add(row)
    return {frozenset(rows) for rows in members.values()}


@quick
@given(tables())
def test_identity_groups_are_the_transitive_closure(table: Table) -> None:
    columns = [np.array(column) for column in table]
    assert partition(splitting.identity_groups(*columns)) == partition(naive_groups(*table))
    assert partition(splitting.identity_groups(columns[0], columns[2])) == partition(naive_groups(table[0], table[2]))


def test_identity_groups_connect_rows_through_a_third_row() -> None:
    people, files = np.array(["a", "a", "b", "b", "c"]), np.array(["1", "2", "2", "3", "4"])
    groups = splitting.identity_groups(people, files)
    assert len(set(groups[:4])) == 1
    assert groups[4] != groups[0]


def test_equal_values_of_different_columns_do_not_connect_rows() -> None:
    groups = splitting.identity_groups(np.array(["x", "y"]), np.array(["y", "z"]))
    assert groups[0] != groups[1]


@quick
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=80),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 1000),
)
def test_identity_split_uses_every_row_once_and_divides_no_group(
    numbers: list[int], test: float, unseen: float, seed: int
) -> None:
    groups = np.array(numbers)
    splits = splitting.identity_split(groups, {"unseen": unseen, "test": test}, "retain", seed)
    assert set(splits) == {"unseen", "test", "retain"}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(groups)))
    for first, second in combinations(splits.values(), 2):
        assert not set(groups[first]) & set(groups[second])
    for rows in splits.values():
        assert rows.tolist() == sorted(rows.tolist())
    assert not len(splits["test"]) or test > 0


@quick
@given(st.lists(st.integers(1, 6), min_size=12, max_size=40), st.integers(0, 1000))
def test_identity_split_differs_from_the_shares_by_the_largest_group_at_most(sizes: list[int], seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    shares = {"unseen": 0.12, "test": 0.15, "forget": 0.1}
    splits = splitting.identity_split(groups, shares, "retain", seed)
    for name, share in shares.items():
        assert abs(len(splits[name]) - share * len(groups)) <= max(sizes)
        assert len(splits[name])
    assert len(splits["retain"])


def test_identity_split_of_many_small_groups_is_close_to_the_shares() -> None:
    groups = np.repeat(np.arange(500), 2)
    splits = splitting.identity_split(groups, {"unseen": 0.12, "test": 0.2}, "retain", seed=3)
    assert {name: len(rows) for name, rows in splits.items()} == {"unseen": 120, "test": 200, "retain": 680}


def test_identity_split_gives_a_group_to_every_split_if_there_are_enough() -> None:
    splits = splitting.identity_split(np.arange(4), {"unseen": 0.01, "test": 0.01, "forget": 0.01}, "retain", seed=0)
    assert {name: len(rows) for name, rows in splits.items()} == {"unseen": 1, "test": 1, "forget": 1, "retain": 1}


def test_identity_split_depends_on_its_seed_alone() -> None:
    groups = np.repeat(np.arange(40), 3)
    shares = {"unseen": 0.2, "test": 0.2}

    def rows_of_splits(seed: int) -> list[list[int]]:
        return [rows.tolist() for rows in splitting.identity_split(groups, shares, "retain", seed).values()]

    np.random.seed(1)
    first = rows_of_splits(5)
    np.random.seed(2)
    assert rows_of_splits(5) == first
    assert len({str(rows_of_splits(seed)) for seed in range(6)}) == 6


@quick
@given(
    st.lists(
        st.tuples(st.sampled_from(splitting.SPLITS), st.integers(0, 12), st.integers(0, 30)), min_size=1, max_size=40
    )
)
def test_find_overlaps_returns_the_shared_values_of_each_pair_and_nothing_else(
    table: list[tuple[str, int, int]],
) -> None:
    names, people, files = (np.array(column) for column in zip(*table, strict=True))
    splits = {name: np.flatnonzero(names == name) for name in splitting.SPLITS}
    for keys in (people, files):
        expected = {}
        for pair in combinations(splitting.SPLITS, 2):
            shared = {value for value in keys.tolist() if all(value in keys[splits[name]] for name in pair)}
            if shared:
                expected[pair] = sorted(shared)
        assert splitting.find_overlaps(splits, keys) == expected
    lines = splitting.check_disjoint(splits, people.astype(str), files)
    assert len(lines) == len(splitting.find_overlaps(splits, people)) + len(splitting.find_overlaps(splits, files))


def _disjoint() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Four sets of five rows that share nothing."""
    splits = {name: np.arange(5) + 5 * place for place, name in enumerate(splitting.SPLITS)}
    return splits, np.array([f"p{row:02d}" for row in range(20)]), np.array([b"%d" % row for row in range(20)])


def test_check_disjoint_returns_no_lines_for_disjoint_splits() -> None:
    assert splitting.check_disjoint(*_disjoint()) == []


def test_check_disjoint_names_shared_people() -> None:
    splits, people, files = _disjoint()
    people[15] = people[2]
    assert splitting.check_disjoint(splits, people, files) == ["retain and unseen share 1 people (p02)"]


def test_check_disjoint_counts_shared_files_and_shortens_long_lists() -> None:
    splits, people, files = _disjoint()
    files[5:7] = files[10:12]
    people[0:4] = people[5:9]
    assert splitting.check_disjoint(splits, people, files) == [
        "retain and forget share 4 people (p05, p06, p07, ...)",
        "forget and test share 2 identical files",
    ]


@quick
@given(st.lists(st.tuples(st.sampled_from(splitting.SPLITS), st.integers(0, 9)), max_size=40))
def test_drop_duplicates_keeps_the_first_row_of_each_file_in_each_split(table: list[tuple[str, int]]) -> None:
    names = np.array([name for name, _ in table], dtype=str)
    digests = np.array([number for _, number in table], dtype=np.int64)
    splits = {name: np.flatnonzero(names == name) for name in splitting.SPLITS}
    for name, rows in splitting.drop_duplicates(splits, digests).items():
        expected, seen = [], set()
        for row in splits[name]:
            if digests[row] not in seen:
                expected.append(row)
            seen.add(digests[row])
        assert rows.tolist() == expected


def test_rows_of_identities_accepts_people_and_households() -> None:
    people, homes = np.array(["a/1", "a/2", "b/1", "b/1", "c/1"]), np.array(["a", "a", "b", "b", "c"])
    assert splitting.rows_of_identities(["b/1"], people, homes).tolist() == [2, 3]
    assert splitting.rows_of_identities(["a"], people, homes).tolist() == [0, 1]
    assert splitting.rows_of_identities(["c/1", "a/2", "c/1"], people, homes).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("names", "fragments"),
    [
        ([], ["forget_identities names nobody", "List at least one person"]),
        (["persn7"], ["'persn7'", "not in the table", "Did you mean 'person7'?"]),
        (["person7", "zzz"], ["'zzz'", "not in the table", "Identities look like 'person7'"]),
    ],
)
def test_rows_of_identities_refuses_unknown_names(names: list[str], fragments: list[str]) -> None:
    people = np.array(["person7", "someone"])
    with pytest.raises(SettingError) as caught:
        splitting.rows_of_identities(names, people, people)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_error_of_check_not_empty_names_the_empty_set_and_gives_the_hint() -> None:
    full = {name: np.arange(2) for name in splitting.SPLITS}
    splitting.check_not_empty(full, {})
    with pytest.raises(SettingError, match=r"The test set is empty. Add people."):
        splitting.check_not_empty(full | {"test": np.arange(0)}, {"test": "Add people."})


def test_parse_names_ignores_comments_and_blank_lines() -> None:
    lines = ["# asked in May", "", "anna", "  ben  ", "carl # by letter", "   # nobody"]
    assert splitting.parse_names(lines) == ["anna", "ben", "carl"]


# The same properties, through a data module.


@dataclass(frozen=True)
class NumberedImages(Images):
    """Images in memory; equal numbers are identical files."""

    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def digests(self, cache_dir: Path) -> np.ndarray:
        return np.array([b"%032d" % number for number in self.numbers])

    def pixels(self, row: int, size: int) -> np.ndarray:
        return np.full((size, size, 3), self.numbers[row] % 256, dtype=np.uint8)


class InMemory(FaceDataModule):
    def __init__(self, table: Table, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows_in_memory = table

    def table(self) -> Faces:
        people, homes, files = self.rows_in_memory
        labels = np.zeros(len(people), dtype=np.int64)
        return Faces(
            NumberedImages(files), labels, np.array(people), MultiClass(("no", "yes")), households=np.array(homes)
        )


def _set_up(table: Table, **kwargs: Any) -> InMemory:
    """Return the data module after ``setup``."""
    data = InMemory(table, **kwargs)
    data.setup()
    return data


def _assume_set_up(table: Table, **kwargs: Any) -> InMemory:
    """Return the data module after ``setup``; reject a random table with too few people for four sets."""
    try:
        return _set_up(table, **kwargs)
    except SettingError as error:
        assert "set is empty" in str(error)  # noqa: PT017 - no other error is correct here
        assume(False)
        raise


@quick
@given(tables(people=(8, 24)), st.integers(0, 100))
def test_no_person_household_or_file_is_in_two_sets_of_the_identity_split(table: Table, seed: int) -> None:
    data = _assume_set_up(table, split="identity", split_seed=seed, test_share=0.2, unseen_share=0.2)
    assert sorted(np.concatenate(list(data.splits.values())).tolist()) == list(range(len(table[0])))
    for column in table:
        values = {name: {column[row] for row in rows} for name, rows in data.splits.items()}
        for first, second in combinations(splitting.SPLITS, 2):
            assert not values[first] & values[second]


@quick
@given(tables(people=(8, 24)), st.integers(0, 100))
def test_deduplicate_keeps_every_file_once(table: Table, seed: int) -> None:
    data = _assume_set_up(table, split="identity", split_seed=seed, deduplicate=True)
    files = [table[2][row] for rows in data.splits.values() for row in rows]
    assert sorted(files) == sorted(set(table[2]))


@quick
@pytest.mark.filterwarnings("ignore:also forgotten")
@given(tables(people=(8, 24)), st.data())
def test_forget_set_is_the_named_people_and_those_who_share_their_files(table: Table, data: st.DataObject) -> None:
    people, homes, files = table
    names = data.draw(st.lists(st.sampled_from(sorted(set(people))), min_size=1, max_size=2, unique=True))
    module = _assume_set_up(table, split="identity", forget_identities=names, test_share=0.2, unseen_share=0.2)

    groups = naive_groups(people, files)
    forgotten_groups = {groups[row] for row, person in enumerate(people) if person in names}
    assert module.splits["forget"].tolist() == [row for row, group in enumerate(groups) if group in forgotten_groups]

    forgotten_people, forgotten_homes, forgotten_files = (
        {values[row] for row in module.splits["forget"]} for values in table
    )
    for row in module.splits["retain"]:
        assert people[row] not in forgotten_people
        assert files[row] not in forgotten_files
    for row in np.concatenate([module.splits["test"], module.splits["unseen"]]):
        assert homes[row] not in forgotten_homes
        assert people[row] not in forgotten_people
        assert files[row] not in forgotten_files
    assert sorted(np.concatenate(list(module.splits.values())).tolist()) == list(range(len(people)))


def _people(count: int) -> Table:
    """People in households of one person each, with two different pictures per person."""
    numbers = [row // 2 for row in range(2 * count)]
    return [f"p{number}" for number in numbers], [f"h{number}" for number in numbers], list(range(2 * count))


def test_people_who_share_a_file_with_a_forgotten_person_are_also_forgotten_and_named_in_a_warning() -> None:
    table = _people(12)
    table[2][4] = table[2][2]  # p1 and p2 share a picture.
    with pytest.warns(UserWarning, match="also forgotten.*: p2"):
        data = _set_up(table, forget_identities=["p1"])
    assert data.splits["forget"].tolist() == [2, 3, 4, 5]


def test_forget_identities_may_be_a_text_file(tmp_path: Path) -> None:
    requests = tmp_path / "requests.txt"
    requests.write_text("# asked in May\n\np1\n  p7   # by letter\n")
    from_file = _set_up(_people(12), forget_identities=str(requests))
    from_list = _set_up(_people(12), forget_identities=["p7", "p1"])
    assert from_file.splits["forget"].tolist() == [2, 3, 14, 15]
    assert {name: rows.tolist() for name, rows in from_file.splits.items()} == {
        name: rows.tolist() for name, rows in from_list.splits.items()
    }


def test_shares_are_of_all_images_even_if_people_to_forget_are_named() -> None:
    thirty = [f"p{number}" for number in range(30)]
    data = _set_up(_people(100), forget_identities=thirty, test_share=0.2, unseen_share=0.1)
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "forget": 60,
        "test": 40,
        "unseen": 20,
        "retain": 80,
    }


def test_forget_share_is_of_the_training_images() -> None:
    data = _set_up(_people(100), forget_share=0.25, test_share=0.1, unseen_share=0.1)
    assert len(data.splits["forget"]) == 40
    assert len(data.rows("train")) == 160


def _without_a_list(tmp_path: Path) -> str:
    return str(tmp_path / "requests.txt")


def _empty_list(tmp_path: Path) -> str:
    path = tmp_path / "requests.txt"
    path.write_text("# nobody yet\n")
    return str(path)


@pytest.mark.parametrize(
    ("settings_or_functions", "fragments"),
    [
        ({"forget_share": 0.0}, ["forget set is empty", "data.forget_identities", "data.forget_share (now 0)"]),
        (
            {"forget_identities": [f"p{n}" for n in range(12)]},
            ["retain set is empty", "The whole training set would be forgotten"],
        ),
        ({"forget_identities": []}, ["names nobody", "List at least one person"]),
        ({"forget_identities": ["p99"]}, ["'p99'", "not in the table"]),
        ({"forget_identities": _empty_list}, ["names nobody", "List at least one person"]),
        ({"test_share": 0.7, "unseen_share": 0.5}, ["test_share", "unseen_share"]),
        ({"forget_share": 2.0}, ["forget_share", "[0, 1)"]),
        ({"unseen_share": -0.1}, ["unseen_share", "[0, 1)"]),
        ({"split": "published"}, ["data.split is 'published'", "comes with no split", "'identity'"]),
        ({"split": "given"}, ["data.split is 'given'", "comes with no split", "'identity'"]),
    ],
)
def test_settings_without_a_valid_split_are_refused(
    tmp_path: Path, settings_or_functions: dict[str, Any | Callable[[Path], str]], fragments: list[str]
) -> None:
    kwargs = {name: value(tmp_path) if callable(value) else value for name, value in settings_or_functions.items()}
    with pytest.raises(SettingError) as caught:
        InMemory(_people(12), **kwargs).setup()
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("name", ["test", "unseen"])
def test_error_for_an_empty_evaluation_set_names_its_setting(name: str) -> None:
    with pytest.raises(SettingError, match=f"The {name} set is empty.*data.{name}_share"):
        InMemory(_people(12), **{f"{name}_share": 0.0}).setup()


def test_three_people_are_too_few_for_four_sets() -> None:
    with pytest.raises(SettingError, match="set is empty"):
        InMemory(_people(3)).setup()


@pytest.mark.parametrize("name", ["image_size", "batch_size", "eval_batch_size"])
def test_sizes_are_at_least_1(name: str) -> None:
    with pytest.raises(SettingError, match=rf"data.{name} is 0; it must be at least 1"):
        InMemory(_people(12), **{name: 0})
