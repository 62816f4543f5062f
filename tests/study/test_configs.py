"""The shipped configurations: short compositions, each setting in one place, found by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from gli.engine.fit import method_names, specify
from gli.errors import SettingError
from gli.runs import configs
from gli.runs.configs import expand, resolve_arguments, shipped, shipped_names
from gli.runs.spec import RunSpec

CONFIGS = Path(__file__).parents[2] / "configs"
ALL = sorted(CONFIGS.rglob("*.yaml"))


def settings_of(path: Path) -> dict[str, Any]:
    contents = yaml.safe_load(path.read_text())
    assert isinstance(contents, dict)
    return contents


def test_every_file_says_what_it_is_for():
    assert [path for path in ALL if not path.read_text().startswith("# ")] == []


def test_no_two_files_say_the_same():
    contents = Counter(yaml.safe_dump(settings_of(path)) for path in ALL if path.parent != CONFIGS)
    assert [text for text, count in contents.items() if count > 1] == []


def test_what_is_the_default_is_not_repeated():
    for path in (path for path in ALL if path.parent.name != "benchmark"):  # There it overrides a run's patience.
        text = path.read_text()
        assert "patience: null" not in text
        assert "num_sanity_val_steps" not in text


def test_there_are_few_files():
    assert len(ALL) <= 55


def composed(*names: str) -> list[str]:
    return [name if name.startswith("--") else f"--config={CONFIGS / name}.yaml" for name in names]


METHODS = {"scrub": "SCRUB", "gli": "GLI", "li": "LI", "cfk": "CFk", "my_own": "MyOwn"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gli_mufac", composed("gli_mufac")),
        ("data/mufac", composed("data/mufac")),
        ("benchmark/mufac", composed("benchmark/mufac")),
        ("scrub_mufac", composed("data/mufac", "--model=SCRUB")),
        ("my_own_mucac", composed("data/mucac", "--model=MyOwn")),
        ("scrub_synthetic", composed("data/synthetic", "tuned/scrub_synthetic")),
        ("li_synthetic", composed("data/synthetic", "method/li", "tuned/li_synthetic")),
        ("scrub_tuned_mufac", composed("data/mufac", "tuned/scrub_tuned_mufac")),
        ("gli_paper_mucac", composed("data/mucac", "method/gli_paper")),
    ],
)
def test_a_name_is_expanded_to_the_files_that_compose_it(name, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for config in (name, f"configs/{name}", f"configs/{name}.yaml"):
        assert expand(config, methods=METHODS) == arguments
        assert resolve_arguments(["fit", "--config", config, "--x=1"], METHODS) == ["fit", *arguments, "--x=1"]
        assert resolve_arguments([f"--config={config}", "-c", config], METHODS) == arguments * 2
    if "/" not in name:
        assert expand(f"../elsewhere/configs/{name}.yaml", methods=METHODS) == arguments
    unchecked = resolve_arguments(expand(name), METHODS)  # As benchmarks do, which do not know the classes.
    assert unchecked == arguments


def test_a_data_set_costs_one_file_and_a_method_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/data").mkdir(parents=True)
    (tmp_path / "configs/data/my_faces.yaml").write_text("data: {class_path: FaceTable}\n")
    own = f"--config={tmp_path / 'configs/data/my_faces.yaml'}"
    assert expand("my_own_my_faces", methods=METHODS) == [own, "--model=MyOwn"]
    assert expand("li_my_faces", methods=METHODS) == [own, *composed("method/li")]


#: Names whose compositions together hold every file of a run.
NAMES = [
    *(path.stem for path in CONFIGS.glob("*.yaml")),
    *(path.stem for path in CONFIGS.glob("tuned/*.yaml")),
    *(f"{path.stem}_mufac" for path in CONFIGS.glob("method/*.yaml")),
    *(f"scrub_{path.stem}" for path in CONFIGS.glob("data/*.yaml")),
    *("retrained_synthetic", "sal_un_synthetic", "method/gli"),
]


@pytest.fixture(scope="module")
def runs() -> dict[str, RunSpec]:
    """The run of each name."""
    default = "--data=MUFAC"
    return {name: specify([default, "--config", name]) for name in dict.fromkeys(NAMES)}


def test_every_shipped_file_is_part_of_a_run(runs):
    used = {argument for name in runs for argument in expand(name, methods=method_names())}
    files = {f"--config={path}" for path in ALL if path.parent.name not in ("audit", "benchmark")}
    assert files == {argument for argument in used if argument.startswith("--config=")}
    for name, run in runs.items():
        assert "/" in name or run.data["class_path"].rpartition(".")[2].lower().startswith(name.rpartition("_")[2])
    assert {"scrub_mucac", "gli_tuned_mufac", "data/mufac", "audit/mufac"} <= set(shipped_names(method_names()))


SLIM = {"model.backbone": "resnet18_slim"}
STEPS = {"trainer.max_steps": 40, "trainer.max_epochs": None, "trainer.val_check_interval": 2}
SCRATCH = {"trainer.max_steps": -1, "trainer.max_epochs": None, "trainer.val_check_interval": None}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gli_mucac", {"model.steps": 5, "model.batch_norm": "released", "trainer.val_check_interval": 1}),
        ("gli_mufac", {"model.steps": 2, "model.class_weight.final": 1000, "early_stopping.patience": 3}),
        ("gli_synthetic", {"model.lr": 0.01, "early_stopping.patience": None, **SLIM, **STEPS}),
        ("gli_paper_mufac", {"model.features": "original", "model.batch_norm": "eval", "early_stopping.patience": 3}),
        ("li_mucac", {"model.steps": 5, "model.batch_norm": "released", "trainer.val_check_interval": 1}),
        ("li_synthetic", {"model.steps": 5, "model.batch_norm": "train_first", **SLIM, **STEPS}),
        ("scrub_mufac", {"model.lr": 0.001, "trainer.max_steps": -1, "trainer.val_check_interval": 10}),
        ("scrub_tuned_mufac", {"model.lr": 0.03, "trainer.max_steps": 96, "trainer.val_check_interval": 32}),
        ("scrub_synthetic", {"model.lr": 0.1, **SLIM, **STEPS, "trainer.max_steps": -1}),
        ("scrub_paper_mufac", {"model.first": "max", "trainer.max_epochs": 3, "trainer.val_check_interval": 10}),
        ("bad_teaching_synthetic", {"model.batch_size": 64, **STEPS, "trainer.max_epochs": 8, "trainer.max_steps": -1}),
        ("advanced_neg_grad_plus_synthetic", {"model.stop_every": 2, "data.reference_share": 0.5, **SLIM, **STEPS}),
        ("advanced_neg_grad_plus_mufac", {"model.alpha": 0.95, "trainer.max_epochs": 10, "data.reference_share": None}),
        ("lo_tus_mufac", {"data.reference_share": 0.25, "trainer.val_check_interval": 10}),
        ("lo_tus_synthetic", {"data.reference_share": 0.5, "model.lr": 0.001, **SLIM, **STEPS}),
        ("euk_mufac", SCRATCH),
        ("original_mufac", {**SCRATCH, "checkpoint.monitor": None}),
        ("sal_un_synthetic", {**SLIM, **STEPS}),
        ("retrained_synthetic", {**SCRATCH, **SLIM, "checkpoint.monitor": None}),
    ],
)
def test_a_composition_has_the_settings_of_its_source(name, expected, runs):
    settings = runs[name].settings
    for key, value in expected.items():
        section, *names = key.split(".")
        resolved = settings[section].get("init_args", settings[section])
        for part in names:
            resolved = resolved[part]
        assert resolved == value, key


def test_a_file_of_the_user_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gli_mufac").write_text("model: GLI\n")
    assert expand("gli_mufac") == ["--config=gli_mufac"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gli_muffac", "Did you mean 'gli_mufac'?"),
        ("srub_mufac", "Did you mean 'scrub_mufac'?"),
        ("nothing", "Searched in"),
        ("elsewhere/mine.yaml", "no such configuration"),
        ("/elsewhere/mine.yaml", "no such configuration"),
    ],
)
def test_a_name_of_nothing_is_refused_with_what_to_do(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=message.replace("?", r"\?")):
        expand(argument, methods=METHODS)


def test_yaml_text_is_left_to_the_parser():
    assert expand("{model: GLI}") == ["--config={model: GLI}"]


def test_the_configuration_of_a_cell_is_found_near_the_benchmark_first(tmp_path):
    (tmp_path / "benchmark").mkdir()
    benchmark = tmp_path / "benchmark/mine.yaml"
    assert expand("gli_mufac", benchmark) == composed("gli_mufac")
    own = tmp_path / "gli_mufac.yaml"
    own.write_text("model: GLI\n")
    assert expand("gli_mufac", benchmark) == [f"--config={own}"]
    with pytest.raises(SettingError, match="--config gli_mufacc: no such configuration"):
        expand("gli_mufacc", benchmark)


def test_an_installed_package_has_its_configurations_inside(tmp_path, monkeypatch):
    module = tmp_path / "gli/runs/configs.py"
    (tmp_path / "gli/configs").mkdir(parents=True)
    monkeypatch.setattr(configs, "__file__", str(module))
    assert shipped() == tmp_path / "gli/configs"
