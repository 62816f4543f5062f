"""gli check: the same settings as gli fit, the same refusals, nothing trained; every number from the data."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from gli.commands.check import dry_run
from gli.commands.main import main
from gli.engine.fit import run
from gli.engine.timing import finished_run, planned_passes
from gli.methods import GLI, SCRUB
from tests.helpers.fake_data import mufac_rows
from tests.helpers.tiny import EVERY, TINY

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(scope="module")
def run_of_gli(home):
    """A finished run; its original took one epoch."""
    before = Path.cwd()
    os.chdir(home)
    try:
        return run(["fit", "--model=GLI", *TINY, *EVERY, "--trainer.max_steps=2"])
    finally:
        os.chdir(before)


def checked(capsys, *arguments):
    model = [argument for argument in arguments if argument.startswith("--model=")]  # gli fit wants it first.
    rest = [argument for argument in arguments if argument not in model]
    assert main(["check", *model, *TINY, "--json", *rest]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_sets_are_those_of_the_run_and_no_run_is_made(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = checked(capsys, "--steps", "0")
    data = dry_run(TINY).datamodule
    data.setup()
    assert {name: each["images"] for name, each in found["inventory"]["sets"].items()} == {
        name: len(rows) for name, rows in data.splits.items()
    }
    assert sum(found["inventory"]["sets"]["retain"]["labels"].values()) == len(data.splits["retain"])
    assert found["inventory"]["crossings"] == []
    assert found["power"]["forgotten_people"] == len(set(data.identities[data.splits["forget"]]))
    assert any("no power" in note for note in found["notes"])
    assert found["original"] == "to be trained first (1 epochs)"
    assert not Path("lightning_logs").exists()


def test_minutes_come_from_a_finished_run_or_from_measured_steps(run_of_gli, capsys):
    # The settings of the finished run: two steps.
    found = checked(capsys, "--model=GLI", "--trainer.max_steps=2", "--steps", "1")
    timing = found["timing"]
    assert timing["source"].startswith("finished run lightning_logs/gli_synthetic/version_")
    assert timing["iterations"] == 2
    cost = json.loads((Path(timing["source"].removeprefix("finished run ")) / "cost.json").read_text())
    assert timing["seconds"] == cost["training_seconds"]
    assert found["audit_seconds"] is None
    assert found["original"].startswith("found: lightning_logs/originals/")
    found = checked(capsys, "--model=SCRUB", "--steps", "1")
    assert found["timing"]["source"] == "measured over 2 steps"  # One of the min pass and one of the max pass.
    assert found["timing"]["iterations"] > 2
    assert all(found["step_milliseconds"][name] > 0 for name in ("float32", "bfloat16"))
    assert found["audit_seconds"] > 0


def test_a_limit_of_steps_alone_is_not_cut_to_the_epochs_of_the_method(capsys):
    found = checked(capsys, "--model=GLI", "--trainer.max_steps=90", "--steps", "1")
    assert found["timing"]["iterations"] == 90


def test_the_method_is_that_of_the_command_line_or_its_configuration():
    assert type(dry_run(TINY).model) is GLI
    assert type(dry_run(["--config", "scrub_synthetic", *TINY]).model) is SCRUB
    assert type(dry_run(["--config", "data/mufac", *TINY]).model) is GLI


def test_a_run_of_other_settings_or_another_length_is_not_taken(run_of_gli):
    data, folder = run_of_gli.datamodule, Path("lightning_logs")
    settings = _settings(run_of_gli)
    assert finished_run("GLI", data, settings, 2, folder, "cpu") is not None
    assert finished_run("GLI", data, settings, 20, folder, "cpu") is None
    assert finished_run("GLI", data, settings, 2, folder, "another device") is None
    assert finished_run("GLI", data, settings | {"data.image_size": 64}, 2, folder, "cpu") is None
    assert finished_run("GLI", data, settings | {"model.backbone": "resnet50"}, 2, folder, "cpu") is None


def _settings(command):
    from gli.runs.read import read_run

    known = read_run(Path(command.trainer.log_dir)).settings
    return {name: value for name, value in known.items() if name.startswith("data.") or name == "model.backbone"}


def test_the_planned_iterations_are_those_of_the_loaders(run_of_gli):
    data = run_of_gli.datamodule
    for method, epochs in ((GLI(), 1), (SCRUB(msteps=1), 2)):
        planned = planned_passes(method, data, epochs)
        lengths = [sum(len(list(_plan(data, pass_))) for pass_ in method.passes_in(epoch)) for epoch in range(epochs)]
        assert sum(count for _, count in planned) == sum(lengths)
    assert [count for _, count in planned_passes(SCRUB(), data, 2, steps=3)] == [3]
    long = 3 * len(list(_plan(data, GLI().passes[0])))  # A limit of steps alone takes as many epochs as it needs.
    assert [count for _, count in planned_passes(GLI(), data, None, steps=long)] == [long]


def _plan(data, pass_):
    from gli.data.loading import EpochPlan

    return EpochPlan({name: data.rows(name) for name in pass_.names}, [pass_], data.batch_size)


def test_the_text_names_people_in_two_sets_and_copies(make_mufac, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = make_mufac(tmp_path / "mufac", train=1512, val=7, test=mufac_rows("train", 9))
    assert main(["check", "--data=MUFAC", f"--data.root={root}", "--data.image_size=32", "--steps=0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "MUFAC, split published: 1528 images" in text
    assert "9 copies of 9 files" in text
    assert re.search(r"forget and unseen share \d+ people \(.*?\) and \d identical files", text)
    assert "the published split of mufac is not disjoint" in text
    assert "To show an AUC within 0.5 ± 0.1" in text


def test_what_fit_refuses_is_refused_in_one_message(capsys):
    for wrong, message in (
        (["--data.image_sise=32"], "image_size"),
        (["--data.forget_identities=['nobody']"], "nobody"),
        (["--steps", "-1"], "must not be negative"),
    ):
        assert main(["check", *TINY, *wrong]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("gli check: ")
        assert message in errors
