"""Rehearsals: nobody who is reported takes part, groups stay whole, the shares are those of the ordinary split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.data import MUFAC, FaceTable, SyntheticFaces
from gli.data.rehearsal import REPORTED, rehearse, rehearse_with_reference
from gli.data.splits import SPLITS, find_overlaps, identity_groups, identity_split
from gli.engine.membership import judge_membership, require_rehearsal_original
from gli.engine.originals import original_path
from gli.errors import SettingError
from gli.methods import FineTune, LoTUS

#: A table: the household, the content and the published set of each row, few of each, so that published sets overlap.
tables = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 60), st.integers(0, 4)), min_size=12, max_size=60)
NAMES = (*SPLITS, "reference")


def _ordinary(rows, whole):
    """Return the ordinary sets and the groups: published ones may divide a household, others do not."""
    households, contents, sets = np.array(rows).T
    groups = identity_groups(households, contents)
    if not whole:
        return {name: np.flatnonzero(sets == number) for number, name in enumerate(NAMES)}, groups
    shares = {"unseen": 0.15, "test": 0.15, "reference": 0.1, "forget": 0.15}
    return identity_split(groups, shares, "retain", 0), groups


@settings(max_examples=150, deadline=None)
@given(tables, st.booleans(), st.booleans(), st.integers(0, 3))
def test_nobody_who_is_reported_takes_part_and_groups_stay_whole(rows, whole, reference, seed):
    splits, groups = _ordinary(rows, whole)
    if not all(len(splits[name]) for name in SPLITS):
        return
    assign = rehearse_with_reference if reference else rehearse
    result = assign(splits, groups, seed)
    assert set(result) == set(SPLITS)
    reported = groups[np.concatenate([splits[name] for name in REPORTED])]
    for found in result.values():
        assert not np.isin(groups[found], reported).any()
        assert (np.diff(found) > 0).all()
    assert not find_overlaps(result, groups)
    trained = np.concatenate([result["retain"], result["forget"]])
    assert np.isin(trained, splits["retain"]).all()
    never = np.concatenate([result["test"], result["unseen"]])
    assert np.isin(never, splits["reference" if reference else "retain"]).all()
    again = assign(splits, groups, seed)
    assert all((again[name] == result[name]).all() for name in SPLITS)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_the_ordinary_split(seed):
    groups = np.repeat(np.arange(200), 5)
    splits = identity_split(groups, {"unseen": 0.11, "test": 0.16, "forget": 0.12}, "retain", seed)
    result = rehearse(splits, groups, seed)
    assert sum(map(len, result.values())) == len(splits["retain"])
    for name in SPLITS:
        share = len(result[name]) / len(splits["retain"])
        assert share == pytest.approx(len(splits[name]) / len(groups), abs=0.006)


def _people(data, *names):
    data.setup()
    return {str(person) for name in names for person in data.identities[data.splits[name]]}


def _data(make, tmp_path, kind, **kwargs):
    if kind == "synthetic":
        return SyntheticFaces(people=60, pictures=2, **kwargs)
    if kind == "table":
        return FaceTable(str(make["table"]), cache_dir=str(tmp_path), test_share=0.2, unseen_share=0.2, **kwargs)
    return MUFAC(str(make["mufac"]), cache_dir=str(tmp_path), forget_identities=["F0002", "F0003"], **kwargs)


@pytest.fixture(scope="module")
def make(tmp_path_factory, make_mufac, make_table):
    root = tmp_path_factory.mktemp("rehearsal")
    rows = [(f"{number}.jpg", f"person{number % 40}", number % 2) for number in range(80)]
    return {"mufac": make_mufac(root / "mufac", 144, 24, 24), "table": make_table(root / "table", rows)}


@pytest.mark.parametrize("kind", ["synthetic", "table", "mufac"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_every_data_module_rehearses_without_the_reported_people(make, tmp_path, kind, share):
    ordinary = _data(make, tmp_path, kind, reference_share=share)
    reported = _people(ordinary, *REPORTED)
    rehearsal = _data(make, tmp_path, kind, reference_share=share, rehearsal=True)
    sets = [*SPLITS, "reference"] if share else list(SPLITS)
    rehearsal.setup()
    assert set(rehearsal.splits) == set(sets)
    assert not _people(rehearsal, *sets) & reported
    assert _people(rehearsal, *sets) <= _people(ordinary, "retain")
    if share:
        other = _data(make, tmp_path, kind, reference_share=share, rehearsal="reference")
        assert _people(other, "test", "unseen") <= _people(ordinary, "reference")
        assert _people(other, "retain", "forget") == _people(ordinary, "retain")


def test_the_original_of_a_rehearsal_is_another(tmp_path):
    paths = set()
    for rehearsal in (False, True):
        data = SyntheticFaces(people=60, pictures=2, rehearsal=rehearsal)
        paths.add(original_path(tmp_path, data, FineTune(backbone="resnet18_slim"), data.recipe, 0))
    assert len(paths) == 2


def test_a_given_original_must_not_know_the_test_and_unseen_people():
    data = SyntheticFaces(people=60, pictures=2, rehearsal=True)
    data.setup()
    trained = np.unique(data.digests[data.rows("train")])
    require_rehearsal_original(trained, data.splits, data.digests, "a.pth")
    with pytest.raises(SettingError, match=r"a.pth was trained on people .*data.rehearsal to reference"):
        require_rehearsal_original(np.unique(data.digests), data.splits, data.digests, "a.pth")
    with pytest.raises(SettingError, match=r"may have been trained on people .*data.reference_share"):
        require_rehearsal_original(None, data.splits, data.digests, "a.pth")


def test_the_record_of_a_run_says_that_it_is_a_rehearsal():
    for rehearsal in (False, True):
        data = SyntheticFaces(people=60, pictures=2, rehearsal=rehearsal)
        assert judge_membership(FineTune(), data).rehearsal is rehearsal


def test_mistakes_say_what_to_set():
    with pytest.raises(SettingError, match=r"Set data.reference_share, such as 0.5"):
        SyntheticFaces(rehearsal="reference")
    data = SyntheticFaces(people=60, pictures=2, rehearsal="reference", reference_share=0.5)
    with pytest.raises(SettingError, match=r"Set data.rehearsal to true"):
        data.rows("reference")
    with pytest.raises(SettingError, match=r"Set --data.rehearsal true, without --model.original"):
        LoTUS().check_data(data)
    few = SyntheticFaces(people=5, pictures=1, rehearsal=True)
    with pytest.raises(SettingError, match="too few retained people for a rehearsal"):
        few.setup()
