"""Records of audits: scores recomputed from them, people split in half, people resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.auditing.record import (
    FOLDER,
    Record,
    check_people,
    read_people,
    read_record,
    read_records,
    split_people_in_half,
    write_people,
    write_record,
)
from gli.errors import DataError
from gli.metrics.jensen_shannon import jensen_shannon_distance
from gli.metrics.membership_inference import membership_inference_accuracy
from tests.helpers.audits import SETS, make_audit, make_people


def with_column(audit: Record, column: str, accuracies: set[str]) -> Record:
    """Return an audit with one more column, which is an eighth of the loss."""
    values = {name: {**columns, column: columns["loss"] / 8} for name, columns in audit.values.items()}
    return Record(audit.iteration, values, frozenset(accuracies))


# -- writing and reading -----------------------------------------------------------------------------------------------


def test_records_are_read_as_they_were_written_in_the_order_of_iterations(tmp_path):
    first, second = make_audit(iteration=0), make_audit(shift=0.1, iteration=12)
    for audit in (second, first):
        write_record(tmp_path, audit)
    write_people(tmp_path, make_people())
    records = read_records(tmp_path)
    assert [record.iteration for record in records] == [0, 12]
    for record, audit in zip(records, (first, second), strict=True):
        assert record.scores() == audit.scores()
        assert record.accuracies == audit.accuracies
        for name, columns in audit.values.items():
            assert record.values[name].keys() == columns.keys()
            for column, values in columns.items():
                np.testing.assert_array_equal(record.values[name][column], values)
    people = read_people(tmp_path)
    assert {name: owners.tolist() for name, owners in people.items()} == {
        name: owners.tolist() for name, owners in make_people().items()
    }


def test_an_audit_that_was_not_kept_is_none(tmp_path):
    write_record(tmp_path, make_audit(iteration=3))
    assert read_record(tmp_path, 3) is not None
    assert read_record(tmp_path, 4) is None
    assert read_records(tmp_path / "elsewhere") == []


def test_a_column_says_whether_it_is_an_accuracy(tmp_path):
    write_record(tmp_path, with_column(make_audit(iteration=1), "accuracy_young", {"accuracy", "accuracy_young"}))
    write_record(tmp_path, with_column(make_audit(iteration=2), "entropy", {"accuracy"}))
    young, entropy = read_records(tmp_path)
    assert young.accuracies == {"accuracy", "accuracy_young"}
    assert young.scores()["accuracy_young"] == young.values["test"]["accuracy_young"].mean()
    assert entropy.accuracies == {"accuracy"}
    assert "entropy" in entropy.values["unseen"]
    assert entropy.scores().keys() == make_audit().scores().keys()


def test_in_an_old_record_every_column_but_the_loss_is_an_accuracy(tmp_path):
    """Records of gli 0.1 hold no array that names the accuracies."""
    audit = with_column(with_column(make_audit(), "top2_accuracy", set()), "accuracy_young", set())
    arrays = {
        f"{name}/{column}": values.astype(np.float32)
        for name, columns in audit.values.items()
        for column, values in columns.items()
    }
    path = tmp_path / FOLDER / "000003.npz"
    path.parent.mkdir()
    np.savez_compressed(path, **arrays)
    record = read_record(tmp_path, 3)
    assert record is not None
    assert record.accuracies == {"accuracy", "top2_accuracy", "accuracy_young"}
    scores = record.scores()
    for name in record.accuracies:
        assert scores[name] == record.values["test"][name].mean()
    assert {"mia_accuracy", "jsd", "final_score"} <= scores.keys()


def spoil(path: Path, damage: bytes | None) -> None:
    path.write_bytes(path.read_bytes()[:100] if damage is None else damage)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", None])
def test_a_damaged_record_is_named(damage, tmp_path):
    write_record(tmp_path, make_audit())
    write_people(tmp_path, make_people())
    spoil(tmp_path / FOLDER / "000003.npz", damage)
    with pytest.raises(DataError, match=r"000003\.npz: cannot be read as the record of an audit"):
        read_records(tmp_path)
    spoil(tmp_path / FOLDER / "people.npz", damage)
    with pytest.raises(DataError, match=r"people\.npz: cannot be read as the record of an audit"):
        read_people(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test/loss": np.array([object()])}, "cannot be read"),
        ({"test/loss": np.zeros((2, 2))}, "unexpected shape or type"),
        ({"test/loss": np.array(["a"])}, "test/loss holds no numbers"),
        ({"test/loss": np.zeros(2), "test/accuracy": np.zeros(2)}, "nothing of forget, unseen"),
        ({f"{name}/loss": np.zeros(2) for name in SETS}, "test is incomplete"),
        (
            {f"{name}/{column}": np.zeros(len(column)) for name in SETS for column in ("loss", "accuracy")},
            "test is incomplete",
        ),
    ],
    ids=["objects", "two dimensions", "text", "sets", "columns", "lengths"],
)
def test_a_record_that_is_not_whole_is_refused(arrays, message, tmp_path):
    (tmp_path / FOLDER).mkdir()
    np.savez(tmp_path / FOLDER / "000001.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_record(tmp_path, 1)


def test_a_run_without_records_says_what_to_do(tmp_path):
    assert read_records(tmp_path) == []
    with pytest.raises(DataError, match=r"Run again with --audit\.keep_losses true"):
        read_people(tmp_path)


def test_an_audit_of_other_people_is_refused(tmp_path):
    check_people(tmp_path, make_audit(), make_people())
    with pytest.raises(DataError, match=r"iteration 3 has 80 images of test, but audits/people\.npz has 76 identities"):
        check_people(tmp_path, make_audit(), make_people(people=19))


# -- scores ------------------------------------------------------------------------------------------------------------


def test_scores_are_the_published_ones_of_the_images_chosen():
    audit = make_audit()
    chosen = {"test": np.arange(10), "unseen": np.arange(80) % 3 == 0}
    scores = audit.scores(chosen)
    forget, unseen = audit.values["forget"]["loss"], audit.values["unseen"]["loss"][chosen["unseen"]]
    assert scores["accuracy"] == audit.values["test"]["accuracy"][:10].mean()
    assert scores["mia_accuracy"] == membership_inference_accuracy(forget, unseen)
    assert scores["jsd"] == jensen_shannon_distance(forget, unseen)
    assert scores["final_score"] == (scores["accuracy"] + 1 - 2 * abs(0.5 - scores["mia_accuracy"])) / 2


# -- people ------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(count=st.integers(2, 30), seed=st.integers(0, 5), data=st.data())
def test_halves_split_people_whatever_the_order_of_the_images(count, seed, data):
    owners = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=60))).astype(str)
    people = {"test": owners, "unseen": owners[::-1], "forget": owners}
    choose, report = split_people_in_half(people, seed=seed)
    assert set(choose) == set(report) == {"test", "unseen"}
    for name in choose:
        assert (choose[name] ^ report[name]).all()
        first, second = (set(people[name][mask]) for mask in (choose[name], report[name]))
        assert not first & second
        assert abs(len(first) - len(second)) <= 1
    assert (choose["test"][::-1] == choose["unseen"]).all()
