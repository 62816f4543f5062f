import csv

import pytest

from gli.audit.best import best_audit
from gli.commands import search
from gli.commands.search import main, trials_of
from gli.errors import SettingError
from tests.helpers.tiny import TINY


def test_a_grid_is_every_combination_and_joined_keys_move_together():
    trials = trials_of(["model.lr=0.1,0.2", "a.x+a.y=3,4"])
    assert trials == [
        {"model.lr": "0.1", "a.x": "3", "a.y": "3"},
        {"model.lr": "0.1", "a.x": "4", "a.y": "4"},
        {"model.lr": "0.2", "a.x": "3", "a.y": "3"},
        {"model.lr": "0.2", "a.x": "4", "a.y": "4"},
    ]


@pytest.mark.parametrize("setting", ["model.lr", "=3", "model.lr=", "model.lr=1,,2"])
def test_a_setting_of_another_form_is_refused(setting):
    with pytest.raises(SettingError, match="expected KEY=VALUE,VALUE"):
        trials_of([setting])


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
        assert [row["model.lr"] for row in csv.DictReader(file)] == ["0.1"]
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
    monkeypatch.setattr(search, "run_jobs", lambda *args, **kwargs: pytest.fail("a trial was run"))
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
