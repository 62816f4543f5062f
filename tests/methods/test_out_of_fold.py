"""Answers of networks that never saw a person: weights that do not depend on whoever is erased, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gli.data import SyntheticFaces
from gli.data.split_plan import cohorts_of
from gli.data.synthetic import DrawnFaces
from gli.data.views import VIEWS
from gli.engine.build import make_trainer
from gli.engine.originals import find_or_train
from gli.engine.timing import measure, planned_passes
from gli.erasure.purge import Traces, contents_of
from gli.errors import SettingError
from gli.methods import OutOfFold, Served
from gli.methods.module import LINEAGE
from gli.models.training_images import unpack
from gli.system.ledger import sha256_file

MACHINE = {"accelerator": "cpu", "enable_progress_bar": False, "precision": "32-true"}


class Replaced(SyntheticFaces):
    """Faces in which the photographs of some people show somebody else, or are missing."""

    label = "synthetic"

    def __init__(self, whom: list[str], how: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whom, self.how = whom, how

    def table(self):
        faces = super().table()
        theirs = np.isin(faces.identities, self.whom)
        if self.how == "nothing":
            people = [each for each, gone in zip(faces.images.people, theirs, strict=True) if not gone]
            return replace(
                faces,
                images=DrawnFaces(people),
                labels=faces.labels[~theirs],
                identities=faces.identities[~theirs],
                households=faces.households[~theirs],
            )
        other = SyntheticFaces(people=self.people, pictures=self.pictures, seed=99, image_size=self.image_size).faces
        pairs = zip(faces.images.people, other.images.people, theirs, strict=True)
        images = DrawnFaces([theirs if swapped else own for own, theirs, swapped in pairs])
        return replace(faces, images=images, labels=np.where(theirs, other.labels, faces.labels))


def data_with(folder: Path, forget: list[str], *, whom: list[str] = (), how: str = "", **settings: Any):
    """Few drawn faces, split by a hash of the names, so that nobody moves when others leave."""
    given = {
        "people": 36,
        "pictures": 4,
        "unseen_share": 0.25,
        "image_size": 16,
        "batch_size": 8,
        "split": "stable",
        "cohorts": 3,
    }
    given |= {"forget_identities": forget, "cache_dir": str(folder / "cache"), **settings}
    data = Replaced(list(whom), how, **given) if how else SyntheticFaces(**given)
    data.recipe = replace(data.recipe, epochs=1, milestones=())
    return data


def trained(method, data, folder: Path):
    """Weights and checkpoint of a run on some data, with its cohorts' networks found or trained in a folder."""
    find_or_train(method, data, logs=folder, trainer_settings=MACHINE)
    torch.manual_seed(0)
    trainer = make_trainer(method=method, recipe=data.recipe, logger=False, enable_checkpointing=False, **MACHINE)
    trainer.callbacks = []
    trainer.fit(method, datamodule=data)
    path = folder / f"{type(method).__name__}.ckpt"
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)


def training_people(data) -> dict[int, list[str]]:
    """Names of people in training by their cohort."""
    return {each: sorted(set(data.identities[data.rows(f"train/{each}")].tolist())) for each in range(data.cohorts)}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return training_people(data_with(tmp_path_factory.mktemp("people"), ["person0000"]))


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("cohorts", [(0,), (0, 1), (0, 0)])
def test_weights_after_an_erasure_are_the_same_whatever_the_photographs_showed(cohorts, drop, people, tmp_path):
    """One person, two in two cohorts and two in one, whose photographs show others with other labels."""
    if drop and len(set(cohorts)) == 2:
        pytest.skip("of three cohorts, two must stay")
    forget = [people[cohort][number] for number, cohort in enumerate(cohorts)]
    before, after = (
        [
            trained(Served(of=of, drop=drop and of == "retain", backbone="test_resnet"), data, tmp_path / how)
            for how in ("", "another")
            for data in [data_with(tmp_path / how, forget, whom=forget, how=how)]
        ]
        for of in ("train", "retain")
    )
    assert not same(*before)  # Before, the photographs matter.
    assert same(*after)
    assert not same(before[0], after[0])


def test_weights_after_an_erasure_are_those_of_a_world_without_the_person(people, tmp_path):
    """Where they never were in the table, everybody in training is whom the other world retains."""
    gone = people[0][:1]
    after = trained(Served(backbone="test_resnet"), data_with(tmp_path / "a", gone), tmp_path / "a")
    without = data_with(tmp_path / "b", people[2][-1:], whom=gone, how="nothing")
    assert same(trained(Served(of="train", backbone="test_resnet"), without, tmp_path / "b"), after)


def test_a_second_erasure_and_a_leak_that_is_planted(people, tmp_path):
    """Another start, or an answer of a network that saw the person, is found by the bits or by the lineage."""
    forget = people[0][:1]
    worlds = []
    for folder, how in (("a", ""), ("b", "another")):
        data = data_with(tmp_path / folder, [people[1][0]], whom=forget, how=how, erased=forget)
        worlds.append(trained(Served(backbone="test_resnet"), data, tmp_path / folder))
        gone = data.digests[np.isin(data.identities, [*forget, people[1][0]])]
        assert not np.isin(gone, unpack(worlds[-1], "a checkpoint")).any()
    assert same(*worlds)

    class Leaking(Served):
        """Asks for networks of everybody in training."""

        def cohort_sets(self, data):
            return [name.replace("retain", "train") for name in super().cohort_sets(data)]

    data = data_with(tmp_path / "a", [people[1][0]], erased=forget)
    leaked = trained(Leaking(backbone="test_resnet"), data, tmp_path / "a")
    assert np.isin(data.digests[data.rows("forget")], unpack(leaked, "a checkpoint")).any()


def test_lineage_names_the_files_of_the_cohorts_and_found_ones_are_not_trained_again(people, tmp_path):
    data = data_with(tmp_path, people[0][:1])
    trained(Served(of="train", backbone="test_resnet"), data, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "originals").glob("cohort_*.ckpt")}
    method = Served(backbone="test_resnet")
    contents = trained(method, data_with(tmp_path, people[0][:1]), tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "originals").glob("cohort_*.ckpt")}
    assert len(before) == 3
    assert len(after) == 4  # Only the cohort of the erased person.
    assert before.items() <= after.items()
    assert contents[LINEAGE] == {rows: sha256_file(Path(path)) for rows, path in method.cohort_files.items()}
    assert sorted(contents[LINEAGE]) == ["retain/0", "retain/1", "retain/2"]

    class Counting(Served):
        """Counts the networks that are loaded."""

        loaded = 0

        def cohort_network(self, rows):
            self.loaded += 1
            return super().cohort_network(rows)

    again = Counting(backbone="test_resnet")
    assert same(contents, trained(again, data_with(tmp_path, people[0][:1]), tmp_path))
    assert again.loaded == 1  # The start: all answers were found.


def test_answers_are_kept_where_a_purge_finds_them(people, tmp_path):
    """Two answers for each cohort of three: who has just been erased is in those of their own cohort, and no others."""
    data = data_with(tmp_path, people[0][:1])
    trained(Served(of="train", backbone="test_resnet"), data, tmp_path)
    traces = Traces(people[0][:1], digests=frozenset(each.decode() for each in data.digests[data.rows("forget")]))
    files = sorted((tmp_path / "originals").glob("answers_synthetic-*.ckpt"))
    holding = [path for path in files if any(map(traces.found_in, contents_of(path)))]
    assert [len(files), len(holding)] == [6, 2]
    files[0].write_bytes(b"damaged")  # Worked out once more, as if there were no file.
    trained(Served(of="train", backbone="test_resnet"), data_with(tmp_path, people[0][:1]), tmp_path)
    assert torch.load(files[0], weights_only=True)["answers"].isfinite().all()


def test_answers_are_of_networks_that_never_saw_the_person(people, tmp_path):
    """Answers worked out one picture at a time; forgotten people learn from a network without their cohort."""
    data, method = (
        data_with(tmp_path, [people[0][0], people[1][0]]),
        OutOfFold(views=["mirrored", "grey"], backbone="test_resnet"),
    )
    trained(method, data, tmp_path)
    assert sorted(method.cohort_files) == ["train/-0", "train/-1"]
    for cohort in (0, 1):
        seen = unpack(torch.load(method.cohort_files[f"train/-{cohort}"], weights_only=True), "a checkpoint")
        assert not np.isin(data.digests[data.rows(f"train/{cohort}")], seen).any()
        network = method.cohort_network(f"train/-{cohort}")
        for row in data.rows(f"forget/{cohort}"):
            image = torch.from_numpy(data.pixels[np.array([row])]).permute(0, 3, 1, 2) / 255
            for answers, view in zip(method.answers, ["", "mirrored", "grey"], strict=True):
                with torch.no_grad():
                    expected = network(VIEWS[view](image) if view else image)[0]
                torch.testing.assert_close(answers[row], expected, rtol=1e-4, atol=1e-5)
    assert not method.answers[:, data.rows("retain")].any()


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingError, match="label_share is 2"):
        Served(label_share=2)
    with pytest.raises(SettingError, match=r"has 'mirored'\. Did you mean 'mirrored'"):
        OutOfFold(views=["mirored"])


def test_nobody_changes_cohorts_when_others_come_or_go():
    names = np.array([f"household {number}" for number in range(400)])
    cohorts = cohorts_of(names, 4, 0)
    assert (cohorts_of(names[::3], 4, 0) == cohorts[::3]).all()
    assert (np.bincount(cohorts) > 70).all()
    assert (cohorts_of(names, 4, 1) != cohorts).mean() > 0.6


@pytest.mark.parametrize("method", [Served, OutOfFold])
def test_steps_are_timed_without_networks_of_cohorts(method, people, tmp_path):
    data = data_with(tmp_path, people[0][:3])
    data.prepare_data()
    asking = method(backbone="test_resnet")
    timing = measure(asking, data, planned_passes(asking, data, 2, -1), 1, {"accelerator": "cpu"})
    assert timing.iterations > 0 < timing.seconds
    assert not (tmp_path / "originals").exists()


def test_too_few_cohorts_are_refused(people, tmp_path):
    with pytest.raises(SettingError, match="at least 2"):
        data_with(tmp_path, people[0][:1], cohorts=1)
    data = data_with(tmp_path, [people[0][0], people[1][0]])
    with pytest.raises(SettingError, match="1 of 3 cohorts have a network"):
        Served(drop=True).cohort_sets(data)
