"""What a run keeps of every audit: scores made anew from it, halves of the people, resampled people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli import audits
from gli.audits import Audit, bootstrap, identity_halves
from gli.errors import DataError
from gli.metrics import jensen_shannon_distance, membership_inference_accuracy


def audit(people: int = 20, pictures: int = 4, shift: float = 0.5, iteration: int = 3) -> Audit:
    generator = np.random.default_rng(1)
    values = {}
    for number, name in enumerate(("test", "forget", "unseen")):
        own = np.repeat(generator.normal(size=people), pictures)  # Pictures of a person are alike.
        loss = np.abs(own + 0.1 * generator.normal(size=people * pictures)) + (shift if number else 0) * number
        values[name] = {"loss": loss.astype(np.float32).astype(float), "accuracy": (own > 0).astype(float)}
    return Audit(iteration, values)


def names(people: int = 20, pictures: int = 4) -> dict[str, np.ndarray]:
    return {
        name: np.repeat([f"{name}{person}" for person in range(people)], pictures)
        for name in ("test", "forget", "unseen")
    }


def test_what_was_written_is_read(tmp_path):
    first, second = audit(iteration=0), audit(shift=0.1, iteration=12)
    for one in (second, first):
        audits.write(tmp_path, one)
    audits.write_people(tmp_path, names())
    found = audits.read(tmp_path)
    assert [one.iteration for one in found] == [0, 12]
    for one, other in zip(found, (first, second), strict=True):
        assert one.scores() == other.scores()
        for name, values in other.values.items():
            for key, value in values.items():
                np.testing.assert_array_equal(one.values[name][key], value)
    people = audits.read_people(tmp_path)
    assert {name: value.tolist() for name, value in people.items()} == {k: v.tolist() for k, v in names().items()}


def test_scores_are_the_published_ones_of_the_images_chosen():
    one = audit()
    part = {"test": np.arange(10), "unseen": np.arange(80) % 3 == 0}
    scores = one.scores(part)
    forget, unseen = one.values["forget"]["loss"], one.values["unseen"]["loss"][part["unseen"]]
    assert scores["accuracy"] == one.values["test"]["accuracy"][:10].mean()
    assert scores["mia_accuracy"] == membership_inference_accuracy(forget, unseen)
    assert scores["jsd"] == jensen_shannon_distance(forget, unseen)
    assert scores["final_score"] == (scores["accuracy"] + 1 - 2 * abs(0.5 - scores["mia_accuracy"])) / 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", None])
def test_a_damaged_record_is_named(damage, tmp_path):
    audits.write(tmp_path, audit())
    (path,) = (tmp_path / audits.FOLDER).glob("0*.npz")
    path.write_bytes(path.read_bytes()[:100] if damage is None else damage)
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read as the record of an audit"):
        audits.read(tmp_path)


def test_a_record_with_pickled_objects_is_not_opened(tmp_path):
    (tmp_path / audits.FOLDER).mkdir()
    np.savez(tmp_path / audits.FOLDER / "000001.npz", **{"test/loss": np.array([object()])})
    with pytest.raises(DataError, match="cannot be read"):
        audits.read(tmp_path)


def test_a_run_without_records_says_what_to_do(tmp_path):
    assert audits.read(tmp_path) == []
    with pytest.raises(DataError, match="keep_losses"):
        audits.read_people(tmp_path)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(2, 30), seed=st.integers(0, 5), data=st.data())
def test_halves_split_people_and_are_the_same_whatever_the_order_of_the_images(count, seed, data):
    owners = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=60))).astype(str)
    people = {"test": owners, "unseen": owners[::-1], "forget": owners}
    choose, report = identity_halves(people, seed=seed)
    assert set(choose) == set(report) == {"test", "unseen"}
    for name in choose:
        assert (choose[name] ^ report[name]).all()
        one, other = (set(people[name][mask]) for mask in (choose[name], report[name]))
        assert not one & other
        assert abs(len(one) - len(other)) <= 1
    assert (choose["test"][::-1] == choose["unseen"]).all()


def test_bootstrap_covers_the_score_and_is_the_same_for_the_same_seed():
    one = audit()
    limits = bootstrap(one, names(), draws=20)
    for key, value in one.scores().items():
        low, high = limits[key]
        assert low <= high
        if key in ("accuracy", "jsd"):
            assert low <= value <= high
    assert bootstrap(one, names(), draws=20) == limits
    assert bootstrap(one, names(), draws=20, seed=1) != limits


def test_bootstrap_draws_people_and_not_images():
    """With alike pictures the accuracy of 20 people is as unsure as 20 coin tosses, not as 80."""
    generator = np.random.default_rng(0)
    hits = np.repeat(generator.integers(0, 2, 20), 4).astype(float)
    one = audit()
    values = {**one.values, "test": {"loss": one.values["test"]["loss"], "accuracy": hits}}
    low, high = bootstrap(Audit(0, values), names(), draws=100)["accuracy"]
    by_people = 2 * 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 20)
    assert high - low == pytest.approx(by_people, rel=0.35)


def test_bootstrap_without_draws_is_refused():
    with pytest.raises(ValueError, match="draws must be at least 1"):
        bootstrap(audit(), names(), draws=0)
