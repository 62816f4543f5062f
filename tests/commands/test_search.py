import csv
from pathlib import Path

import pytest
import yaml

from gli.commands.search import main
from gli.engine import execute
from gli.runs.read import best_audit
from gli.runs.spec import RunSpec
from gli.study import search
from tests.helpers.fake_trials import IMPATIENT, FakeExecutor
from tests.helpers.tiny import TINY

pytestmark = pytest.mark.usefixtures("forked_jobs")
GLI = ["--model=GLI", "--data=SyntheticFaces"]
RANGE = ["--range", "model.lr=1e-5..1e-1:log"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Work in an empty folder with runs that only write logs."""
    executors = []

    def make_executor(jobs, cluster):
        executors.append(FakeExecutor())
        return executors[-1]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "make_executor", make_executor)
    for name, value in IMPATIENT.items():
        monkeypatch.setattr(execute, name, value)
    return executors


def test_a_search_ranks_its_trials_and_prints_the_best(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = ["--data.people=24", "--data.pictures=5", "--data.image_size=32", "--data.batch_size=16"]
    quick = ["--data.recipe.epochs=1", "--trainer.max_steps=2", "--trainer.enable_progress_bar=false"]
    every = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]
    given = ["--model=GLI", "--data=SyntheticFaces", "--model.backbone=resnet18_slim", *tiny, *quick, *every]
    assert main([*given, "--try", "model.lr=0.001,0.1", "--output", "found.csv"]) == 0
    with open("found.csv") as file:
        found = list(csv.DictReader(file))
    assert {row["model.lr"] for row in found} == {"0.001", "0.1"}
    scores = [float(row["final_score"]) for row in found]
    assert scores == sorted(scores, reverse=True)
    assert capsys.readouterr().out.splitlines()[-1] == f"--model.lr {found[0]['model.lr']}"


def test_finished_trials_are_not_repeated_and_a_failed_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--model=NegGrad", *TINY, "--trainer.max_steps=1"]
    assert main([*arguments, "--try", "model.lr=0.1,-1", "--output", "found.csv", "--jobs", "2"]) == 1
    assert "model.lr=-1, trial 2: gli: model.lr is -1" in capsys.readouterr().err
    with open("found.csv") as file:
        assert [(row["model.lr"], row["state"]) for row in csv.DictReader(file)] == [
            ("0.1", "finished"),
            ("-1", "failed"),
        ]
    (done,) = tmp_path.glob("search/*/done.json")
    stamp = done.stat().st_mtime_ns
    assert main([*arguments, "--try", "model.lr=0.1,0.2", "--output", "found.csv"]) == 0
    assert done.stat().st_mtime_ns == stamp
    assert len(list(tmp_path.glob("search/*/done.json"))) == 2
    assert len(list(tmp_path.glob("search/originals/*.ckpt"))) == 1


@pytest.mark.parametrize("place", ["a_file/found.csv", "a_folder"])
def test_a_table_that_cannot_be_written_is_reported_before_any_trial(place, tmp_path, capsys, monkeypatch):
    (tmp_path / "a_file").touch()
    (tmp_path / "a_folder").mkdir()
    monkeypatch.setattr(RunSpec, "prepare", lambda run: pytest.fail("a trial was run"))
    assert main(["--try", "model.lr=1", "--output", str(tmp_path / place)]) == 2
    assert "--output" in capsys.readouterr().err


def test_mistakes_end_a_search_with_a_message(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--model=GLI", "--data=SyntheticFaces", "--try", "model.lrr=1,2"]) == 2
    assert "Did you mean 'model.lr'?" in capsys.readouterr().err


def test_audits_that_lost_too_much_accuracy_do_not_count():
    rows = [
        {"iteration": 0, "final_score": 0.9, "utility_drop": 0.0},
        {"iteration": 1, "final_score": 0.5, "utility_drop": 0.01},
        {"iteration": 2, "final_score": 0.8, "utility_drop": 0.2},
        {"iteration": 3, "final_score": float("nan"), "utility_drop": 0.0},
    ]
    assert best_audit(rows, 1.0)["iteration"] == 2
    assert best_audit(rows, 0.05)["iteration"] == 1
    assert best_audit(rows[:1], 1.0) is None


def test_a_sampled_search_writes_its_table_and_the_best_settings(fake, capsys):
    command = [
        *GLI,
        "--data.rehearsal=true",
        *RANGE,
        "--trials",
        "8",
        "--output",
        "out/found.csv",
        "--write",
        "tuned/best.yaml",
    ]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "warning" not in err
    with open("out/found.csv") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["trial"]) for row in rows) == list(range(1, 9))
    assert {row["rehearsal"] for row in rows} == {"yes"}
    best = [float(row["final_score"]) for row in rows if row["state"] == "finished"]
    assert best == sorted(best, reverse=True)
    assert out.splitlines()[-1] == f"--model.lr {rows[0]['model.lr']}"
    text = Path("tuned/best.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert "of 8 trials on SyntheticFaces, searched on rehearsal people" in comment
    assert f"gli search {' '.join([*GLI, '--data.rehearsal=true', *RANGE])} --trials 8" in comment
    assert yaml.safe_load(text)["model"] == {"class_path": "GLI", "init_args": {"lr": float(rows[0]["model.lr"])}}
    # The same command has nothing left to do; more trials continue it; another seed is another search.
    assert main(command) == 0
    assert not fake[1].folders
    assert main([*command[:6], "9", *command[7:]]) == 0
    assert len(fake[2].folders) == 1
    assert main([*command, "--seed", "1"]) == 0
    assert len(fake[3].folders) == 8


def test_a_search_for_a_front_names_its_trials(fake, capsys):
    command = [*GLI, *RANGE, "--trials", "8", "--objective", "forgetting,utility", "--output", "found.csv"]
    assert main(command) == 0
    err = capsys.readouterr().err
    with open("found.csv") as file:
        front = [row["trial"] for row in csv.DictReader(file) if row["pareto_front"] == "yes"]
    assert len(front) > 1
    assert all(f"on the Pareto front: trial {trial}: --model.lr" in err for trial in front)


def test_a_grid_of_the_same_runs_does_not_take_pruned_ones(fake, tmp_path):
    assert main([*GLI, *RANGE, "--trials", "14", "--output", "found.csv"]) == 0
    with open("found.csv") as file:
        rows = list(csv.DictReader(file))
    pruned = next(row for row in rows if row["state"] == "pruned")
    assert main([*GLI, "--try", f"model.lr={pruned['model.lr']},{rows[0]['model.lr']}", "--output", "grid.csv"]) == 0
    assert len(fake[1].folders) == 1
    with open("grid.csv") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "either a grid with --try, or --range and --choose"),
        (["--try", "a=1,2", *RANGE], "either a grid with --try, or --range and --choose"),
        (["--try", "a=1,2", "--trials", "3"], "--trials is for a sampled search"),
        ([*RANGE, "--trials", "0"], "--trials is 0; it must be at least 1"),
        ([*RANGE, "--objective", "final"], "--objective final: expected one of final_score and forgetting,utility"),
        (["--range", "model.lr=1"], "expected KEY=LOW..HIGH"),
        (["--choose", "model.lr"], "expected KEY=VALUE,VALUE"),
        ([*RANGE, "--jobs", "0"], "--jobs is 0"),
        ([*RANGE, "--write", "."], "--write . is a folder"),
        ([*RANGE, "--config", "gli_mufacc"], "Did you mean 'gli_mufac'?"),
    ],
)
def test_a_malformed_search_is_refused_before_any_trial(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunSpec, "prepare", lambda run: pytest.fail("a trial was run"))
    assert main(options) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_search_on_the_people_to_be_reported_warns(fake, capsys):
    for data, warned in (GLI, True), ([*GLI, "--data.rehearsal", "true"], False), (["--config", "gli_synthetic"], True):
        assert main([*data, "--try", "model.lr=0.01", "--output", "found.csv"]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if "gli search: warning" in line]
        assert len(lines) == warned


@pytest.mark.slow
def test_a_real_search_with_rehearsal_people(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--model=NegGrad", *TINY, "--data.people=60", "--data.rehearsal=true", "--trainer.max_steps=3"]
    command = [*arguments, *RANGE, "--trials", "3", "--output", "found.csv", "--jobs", "2", "--write", "best.yaml"]
    assert main(command) == 0
    with open("found.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert {row["rehearsal"] for row in rows} == {"yes"}
    assert len(list(tmp_path.glob("search/originals/*.ckpt"))) == 1
    section = yaml.safe_load(Path("best.yaml").read_text())
    assert section == {
        "class_path": "NegGrad",
        "init_args": {"backbone": "resnet18_slim", "lr": float(rows[0]["model.lr"])},
    }
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("search/*/done.json")}
    assert len(stamps) == 3
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
