"""``gli audit``: fleets and reference models are run once, read back, and judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from gli.auditing import UPRIGHT
from gli.auditing.inside import VALUES
from gli.auditing.record import margins_of, read_record, read_rows
from gli.auditing.reference_audit import DISTANCE
from gli.auditing.verdict import TOGETHER
from gli.commands.audit import minutes_of
from gli.commands.main import main
from gli.data.views import VIEWS
from gli.engine.fit import method_names, run
from gli.errors import DataError, SettingError
from gli.runs.configs import expand
from gli.study.fleet import data_of, people_of, read_fleets, read_plan, runs_of, training_images
from gli.study.references import reference_runs
from tests.helpers.benchmarks import CONFIGS
from tests.helpers.benchmarks import TINY as SETTINGS
from tests.helpers.forks import Fork
from tests.helpers.processes import eventually
from tests.helpers.tiny import EVERY, TINY

pytestmark = pytest.mark.usefixtures("forked_jobs")
FEW = {**SETTINGS, "data.people": 60, "data.pictures": 2, "trainer.max_steps": 1}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Iterator[Path]:
    """A small audit beside copies of the shipped configurations."""
    root = tmp_path_factory.mktemp("audit")
    shutil.copytree(CONFIGS, root / "configs")
    path = root / "configs/audit/small.yaml"
    settings = {"data": "synthetic", "methods": ["FineTune"], "originals": 6, "draws": 1, "settings": FEW}
    path.write_text(yaml.safe_dump(settings))
    yield path
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def audited(config) -> Path:
    """The folder of that audit, done."""
    output = config.parents[2] / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(config.parents[2])
        assert main(["audit", "--config", str(config), "--output", str(output), "--jobs", "2"]) == 0
    return output


def test_an_audit_of_methods_writes_verdicts_table_people_and_page(audited):
    contents = json.loads((audited / "audit.json").read_text())
    assert [method["method"] for method in contents["methods"]] == ["No unlearning", "Retrained", "FineTune"]
    for method in contents["methods"]:
        assert method["verdict"] in ("pass", "fail", "cannot tell")
        area = method["auc_person"]
        assert 0 <= area["low"] <= area["value"] <= area["high"] <= 1
        assert method["models"] == 6
        assert 0 <= method["test_accuracy"] <= 1
        # Nobody needs more views to recognise the people of the originals.
        views = {UPRIGHT} if method["method"] == "No unlearning" else {UPRIGHT, *VIEWS, TOGETHER}
        assert method["views"].keys() == views
    assert contents["methods"][0]["memory"]["value"] == pytest.approx(1)
    text = (audited / "audit.md").read_text()
    assert "## Verdicts" in text
    assert "| FineTune |" in text
    assert "## Against retraining by view" in text
    page = (audited / "audit.html").read_text()
    assert page.count("<svg") == 3
    assert "src=" not in page
    assert 'href="http' not in page


def test_runs_are_not_repeated_and_the_numbers_are_the_same(audited, config, monkeypatch):
    monkeypatch.chdir(config.parents[2])
    before = (audited / "audit.json").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in audited.glob("runs/*/done.json")}
    assert len(stamps) == 6 + 6 + 6
    arguments = ["audit", "--config", str(config), "--output", str(audited)]
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in audited.glob("runs/*/done.json")} == stamps
    assert (audited / "audit.json").read_text() == before
    # A run that was lost is run again, and gives the same numbers.
    shutil.rmtree(next(iter(stamps)).parent)
    assert main(arguments) == 0
    again, first = json.loads((audited / "audit.json").read_text()), json.loads(before)
    assert [method["auc_person"] for method in again["methods"]] == [
        method["auc_person"] for method in first["methods"]
    ]


def test_a_killed_audit_repeats_nothing_and_ends_like_an_undisturbed_one(audited, config, monkeypatch):
    root, output = config.parents[2], config.parents[2] / "killed"
    monkeypatch.chdir(root)
    process = Fork(["audit", "--config", str(config), "--output", str(output), "--jobs", "2"], root)
    # In the middle: the originals are there, and some of the runs that need them.
    assert eventually(lambda: len(list(output.glob("runs/*/done.json"))) >= 8, seconds=240)
    process.kill()
    before = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/done.json")}
    assert len(before) < 18
    assert main(["audit", "--config", str(config), "--output", str(output), "--jobs", "2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(output.glob("runs/*/done.json"))) == 18
    whole, again = (json.loads((folder / "audit.json").read_text()) for folder in (audited, output))
    for contents in (whole, again):
        for method in contents["methods"]:
            del method["cost"]  # Seconds.
    assert again == whole


def test_one_original_serves_all_draws_and_methods(audited):
    assert len(list((audited / "originals").glob("original_synthetic-*.ckpt"))) == 6


def test_the_models_have_the_people_of_their_draws(config, tmp_path):
    plan = read_plan(config)
    data = data_of(plan, config)
    planned = runs_of(plan, config, data, tmp_path)
    assert len(people_of(data)) == 60
    (_, draw), first = next(iter(planned.items()))
    assert training_images(data, [draw for _, draw in planned]) == 2 * len((*draw.retain, *draw.forget))
    table = (tmp_path / f"people/{draw.name}.csv").read_text().splitlines()
    assert table[0] == "identity,set"
    assert f"{draw.forget[0]},forget" in table
    assert first.after == frozenset()
    assert planned["FineTune", draw].after == {first.folder}


def test_a_budget_chooses_the_size(config):
    plan = read_plan(CONFIGS / "audit/synthetic.yaml")
    sizes = [plan.within(minutes, 900, 2) for minutes in (600, 20, 10)]
    assert (sizes[0].originals, sizes[0].draws) == (16, 2)
    assert sizes[0].originals > sizes[1].originals >= sizes[2].originals
    with pytest.raises(SettingError, match="the smallest audit"):
        plan.within(0.1, 900, 2)
    assert [minutes_of(text) for text in ("20m", "20", "1.5h", "3 min")] == [20, 20, 90, 3]
    with pytest.raises(SettingError, match="such as 20m"):
        minutes_of("soon")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("data: synthetic\n", "'methods' is missing"),
        ("data: synthetic\nmethods: [GLI]\norignals: 3\n", "Did you mean 'originals'"),
        ("data: synthetic\nmethods: [GLI]\noriginals: many\n", "expected a whole number"),
        ("data: synthetic\nmethods: {GLI: 3}\n", "expected names, or names with settings"),
        ("data: synthetic\nmethods: [GLI]\nchosen_on: {data.seed: [0]}\n", "cannot judge them"),
        ("data: synthetic\nmethods: [GLI]\nchosen_on: {data.seeed: [0]}\n", "is not a setting of SyntheticFaces"),
        ("data: synthetic\nmethods: [GLI]\nchosen_on: {data.rehearsal: [true]}\n", "assigns all people of the data"),
        ("data: synthetic\nmethods: {GLI: {data.seed: 0}}\n", "sets data of its own"),
        ("data: synthetic\nmethods: [GLI]\nseed: -1\n", "expected a whole number that is not negative"),
        ("data: x\nmethods: [GLI]\nchosen_on: {data.seed: 1}\n", "each with a list of values"),
        ("[]", "holds no settings"),
        ("data: [", "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_one_message(contents, message, tmp_path, capsys):
    path = tmp_path / "wrong.yaml"
    path.write_text(contents)
    assert main(["audit", "--config", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either --config"),
        (["--config", "audit/synthetic", "--methods", "GLY"], "Did you mean 'GLI'"),
        (["--config", "audit/synthetic", "--margin", "2"], "between 0 and 0.5"),
        (["--config", "audit/synthetic", "--methods", "Retrained"], "always part of an audit"),
        (["nowhere"], "no such file"),
        (["nowhere", "--references", "2"], "at least 3"),
    ],
)
def test_a_wrong_command_line_is_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_plan_says_who_chose_the_settings(config):
    assert "data.seed 0, 1, 2, 100" in read_plan(CONFIGS / "audit/synthetic.yaml").who_chose
    assert "not declared" in read_plan(config).who_chose


def test_shipped_audits_find_their_configurations():
    for path in (CONFIGS / "audit").glob("*.yaml"):
        plan = read_plan(path)
        assert all(expand(entry.config, path, method_names()) for entry in plan.entries.values())


# -- runs that exist ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def existing(tmp_path_factory) -> Iterator[Path]:
    """A run of GLI, in a home of its own."""
    home = tmp_path_factory.mktemp("existing")
    people = ["--data.people=60", "--data.pictures=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        trainer = run(["fit", "--model=GLI", *TINY, *people, *EVERY, "--trainer.max_steps=2"]).trainer
    yield home / str(trainer.log_dir)
    shutil.rmtree(home)


def test_a_run_is_audited_with_reference_models(existing, monkeypatch):
    monkeypatch.chdir(existing.parents[2])
    output = existing.parents[2] / "out"
    arguments = ["audit", str(existing), "--references", "3", "--jobs", "2", "--output", str(output)]
    assert main(arguments) == 0
    (result,) = json.loads((output / "audit.json").read_text())["runs"]
    assert result["method"] == "GLI"
    assert result["references"] == 3
    assert 0 <= result["auc_person"]["low"] <= result["auc_person"]["high"] <= 1
    assert 0 <= result["rmia_a"] <= 1
    assert len(result["people"]) > 0
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("references/*/done.json")}
    assert len(stamps) == 3
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert "| GLI |" in (text := (output / "audit.md").read_text())
    assert all(f"| {view} |" in text for view in (UPRIGHT, *VIEWS, TOGETHER, DISTANCE))
    assert (output / "audit.html").read_text().count("<svg") == 1
    inside = result["inside"]
    assert inside["values"].keys() == VALUES.keys()
    for value in inside["values"].values():
        assert value["difference"]["low"] <= value["model"] - value["references"] <= value["difference"]["high"]
        assert value["original"] is not None
    assert inside["excess_klom"].keys() == {"retained"}
    assert 0 < result["iam"]["value"] < 1
    # Without looking into the models, the other numbers are the same.
    assert main([*arguments, "--answers-only"]) == 0
    (answers,) = json.loads((output / "audit.json").read_text())["runs"]
    assert answers == {**result, "inside": None}


def test_runs_of_one_method_are_named_by_the_settings_in_which_they_differ(existing, monkeypatch, capsys):
    """Two runs of one method get names of their own; one whose checkpoint is lost keeps the rest of its audit."""
    monkeypatch.chdir(existing.parents[2])
    output = existing.parents[2] / "out"  # Its references are there already, if the test above ran.
    other = existing.parent / "version_1"
    shutil.copytree(existing, other)
    settings = yaml.safe_load((other / "config.yaml").read_text())
    settings["model"]["init_args"]["lr"] = 0.5
    (other / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.rmtree(other / "checkpoints")
    arguments = ["audit", str(existing), str(other), "--references", "3", "--output", str(output)]
    assert main(arguments) == 0
    first, second = json.loads((output / "audit.json").read_text())["runs"]
    assert [each["method"] for each in (first, second)] == ["GLI (lr 0.001)", "GLI (lr 0.5)"]
    assert first["inside"] is not None
    assert second["inside"] is None
    assert "no such checkpoint" in capsys.readouterr().err
    # Without weights nobody can show them the photographs otherwise than upright.
    assert first["views"].keys() == {UPRIGHT, *VIEWS, TOGETHER, DISTANCE}
    assert second["views"] == {UPRIGHT: second["auc_person"]}
    assert second["attack"].endswith("only the upright view")
    assert first["views"][UPRIGHT]["value"] == second["auc_person"]["value"]


def test_methods_on_the_same_data_share_their_references(existing, tmp_path):
    other = tmp_path / "version_0"
    shutil.copytree(existing, other)
    settings = yaml.safe_load((other / "config.yaml").read_text())
    settings["model"] = {"class_path": "gli.methods.LI", "init_args": {**settings["model"]["init_args"], "lr": 0.5}}
    settings["model"]["init_args"].pop("class_weight")
    (other / "config.yaml").write_text(yaml.safe_dump(settings))
    assert reference_runs(existing, 3, tmp_path) == reference_runs(other, 3, tmp_path)
    settings["data"]["init_args"]["image_size"] = 64
    (other / "config.yaml").write_text(yaml.safe_dump(settings))
    assert reference_runs(existing, 3, tmp_path) != reference_runs(other, 3, tmp_path)


def test_margins_of_earlier_records_follow_from_the_losses(existing):
    audit = read_record(existing, 0)
    assert audit is not None
    new = margins_of(audit)["test"]
    old_values = {
        name: {key: value for key, value in columns.items() if key != "margin"}
        for name, columns in audit.values.items()
    }
    old = margins_of(type(audit)(0, old_values, audit.accuracies))["test"]
    np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-4)
    assert read_rows(existing)["test"].shape == (len(new),)
    labels = {name: {**columns, "accuracy_x": columns["loss"]} for name, columns in old_values.items()}
    with pytest.raises(DataError, match="has no margins"):
        margins_of(type(audit)(0, labels, audit.accuracies))


def test_methods_are_compared_on_the_draws_that_all_have_finished(audited, config, tmp_path):
    output = tmp_path / "copy"
    shutil.copytree(audited, output, symlinks=True)
    plan = read_plan(config)
    planned = runs_of(plan, config, data_of(plan, config), output)
    finished = {place: run.run for place, run in planned.items()}
    assert None not in finished.values()
    lost = next(place for place in planned if place[0] == "FineTune" and place[1].original == 2)
    fleets, originals = read_fleets({**finished, lost: None}, ["one failed"])
    assert {name: fleet.originals.tolist() for name, fleet in fleets.items()} == {
        "Retrained": [0, 1, 3, 4, 5],
        "FineTune": [0, 1, 3, 4, 5],
    }
    assert (fleets["FineTune"].states == originals.states).all()
    assert (fleets["FineTune"].people == fleets["Retrained"].people).all()
    with pytest.raises(DataError, match="one failed"):
        read_fleets(dict.fromkeys(finished), ["one failed"])
