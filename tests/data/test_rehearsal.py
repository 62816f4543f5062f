"""Rehearsals of every data module, their originals and their records."""

from __future__ import annotations

import numpy as np
import pytest

from gli.data import MUFAC, FaceTable, SyntheticFaces
from gli.data.split_plan import REPORTED, SPLITS
from gli.engine.membership import judge_membership, require_rehearsal_original
from gli.engine.originals import original_path
from gli.errors import SettingError
from gli.methods import FineTune, LoTUS


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
