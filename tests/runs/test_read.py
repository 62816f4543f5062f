"""Reading run folders: settings, audits, and errors that name the damaged file."""

from __future__ import annotations

import pytest

from gli.auditing.record import read_record
from gli.errors import DataError
from gli.runs.read import flatten, read_log, read_rows, read_run
from tests.helpers.run_folders import change_log, write_run


def test_a_run_is_read_with_its_settings_and_audits(tmp_path):
    run = read_run(write_run(tmp_path / "run", "SCRUB", seed=3, alpha=0.5))
    assert (run.method, run.data, run.seed) == ("SCRUB", "SyntheticFaces", 3)
    # Settings that differ between repetitions of a run, such as the seed and paths, are left out.
    assert run.settings == {"model.lr": 0.01, "model.alpha": 0.5, "data.image_size": 64}
    assert [row["iteration"] for row in run.rows] == [0, 2, 4, 6]
    record = read_record(run.folder, 2)
    assert record is not None
    for name, value in record.scores().items():
        assert run.rows[1][name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("method", "weight", "kind"),
    [
        ("GLI", {"initial": 200.0, "final": 1000.0}, "GLI"),
        ("GLI", {"initial": 1000.0, "final": 1000.0}, "GLI with fixed weight"),
        ("LI", None, "LI"),
    ],
)
def test_gli_with_a_fixed_weight_is_a_separate_kind(method, weight, kind, tmp_path):
    settings = {} if weight is None else {"class_weight": weight}
    assert read_run(write_run(tmp_path / "run", method, **settings)).kind == kind


def test_nested_settings_are_read_by_dotted_names():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


def test_a_log_that_a_resumed_run_continued_counts_an_iteration_once(tmp_path):
    folder = write_run(tmp_path / "run")
    path = folder / "metrics.csv"
    duplicate = next(line for line in path.read_text().splitlines() if line.startswith("4,"))
    change_log(folder, 4, "jsd", 0.125)
    path.write_text(path.read_text() + duplicate + "\n")
    rows = read_log(folder)
    assert [row["iteration"] for row in rows] == [0, 2, 4, 6]
    assert rows[2]["jsd"] != 0.125  # The later row is used.


def test_an_incomplete_last_row_is_left_out(tmp_path):
    path = write_run(tmp_path / "run") / "metrics.csv"
    complete = read_rows(path)
    with path.open("a") as file:
        file.write("8,0.1")
    assert read_rows(path) == complete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,val/accuracy\n1,\n", "holds no audit. Let the run reach its first audit"),
        ("step,val/accuracy\n1,high\n", "cannot be read as the log of a run"),
        ("step,val/accuracy\n1,0.5\n", "step 1 has no val/mia_accuracy"),
    ],
)
def test_a_log_without_valid_audits_is_refused(text, message, tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_log(folder)


@pytest.mark.parametrize("step", ["nan", "inf", "-1", "1.5"])
def test_a_step_that_is_not_an_iteration_is_refused(step, tmp_path):
    path = write_run(tmp_path / "run") / "metrics.csv"
    path.write_text(path.read_text().replace("\n4,", f"\n{step},"))
    with pytest.raises(DataError, match="cannot be read as the log of a run"):
        read_log(path.parent)
