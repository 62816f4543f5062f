import shlex

import yaml

from gli.study.outcome import Outcome
from gli.study.tuned import method_section, tuned_file
from tests.helpers.run_folders import write_run

COMMAND = ["--config", "gli_mufac", "--range", "model.lr=1e-4..1e-2:log", "--choose", "a=x y,z"]
COMMAND += ["--data.rehearsal", "true"] * 5
SENTENCE = "Best final score of 30 trials on MUFAC, searched on rehearsal people (data.rehearsal)"


def test_a_tuned_file_names_its_search_and_holds_the_method(tmp_path):
    run = write_run(
        tmp_path / "run", steps=3, step_size=0.02, backbone="resnet18", class_weight={"initial": 10, "final": 5}
    )
    section = method_section(run)
    assert section["class_path"] == "GLI"
    assert "original" not in section["init_args"]
    assert "backbone" not in section["init_args"]  # The default.
    assert section["init_args"]["class_weight"] == {"initial": 10, "final": 5}
    text = tuned_file(SENTENCE, COMMAND, section, {"model.steps": "3", "trainer.max_epochs": "4"})
    assert yaml.safe_load(text) == {"model": section}
    assert max(map(len, text.splitlines())) <= 118
    comment = " ".join(line.removeprefix("# ").rstrip("\\") for line in text.splitlines() if line.startswith("#"))
    assert "of 30 trials on MUFAC, searched on rehearsal people" in comment
    assert "The search also chose trainer.max_epochs 4" in comment
    command = comment.partition("gli search ")[2].partition(" The search")[0]
    assert shlex.split(command) == COMMAND


def test_flags_can_be_given_to_a_shell():
    assert Outcome(1, {"a": "1", "b": "[1, 2]"}, "finished").flags == "--a 1 --b '[1, 2]'"
