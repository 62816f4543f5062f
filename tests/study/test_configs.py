"""The shipped configurations: short compositions, each setting in one place, found by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from gli.errors import SettingError
from gli.runs import configs
from gli.runs.configs import find_config, resolve, resolve_arguments, shipped, shipped_names

CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = sorted(CONFIGS.glob("*.yaml"))
ALL = sorted(CONFIGS.rglob("*.yaml"))


def settings_of(path: Path) -> dict[str, Any]:
    contents = yaml.safe_load(path.read_text())
    assert isinstance(contents, dict)
    return contents


def keys_of(value: Any) -> int:
    """Return the number of settings in a nested mapping."""
    if isinstance(value, dict):
        return sum(keys_of(each) for each in value.values())
    return 1


def blocks_of(value: Any) -> list[str]:
    """Return every mapping of two settings or more in a nested value, as text that can be compared."""
    if not isinstance(value, dict):
        return []
    own = [yaml.safe_dump(value)] if keys_of(value) > 1 else []
    return own + [block for each in value.values() for block in blocks_of(each)]


def test_a_run_is_composed_in_at_most_six_lines():
    for path in RUNS:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert len(lines) <= 6, path
        for value in settings_of(path).values():
            assert not isinstance(value, str) or (CONFIGS / value).is_file(), path


def test_every_file_says_what_it_is_for():
    assert [path for path in ALL if not path.read_text().startswith("# ")] == []


def test_no_block_of_a_trainer_is_repeated():
    blocks = Counter()
    for path in ALL:
        contents = settings_of(path)
        trainer = contents if path.parent.name == "trainer" else contents.get("trainer")
        if isinstance(trainer, dict):
            blocks.update(blocks_of(trainer))
    assert [block for block, count in blocks.items() if count > 1] == []
    assert blocks


def test_no_two_files_say_the_same():
    contents = Counter(yaml.safe_dump(settings_of(path)) for path in ALL if path.parent != CONFIGS)
    assert [text for text, count in contents.items() if count > 1] == []


def test_what_is_the_default_is_not_repeated():
    for path in (path for path in ALL if path.parent.name != "benchmark"):  # There it overrides a run's patience.
        text = path.read_text()
        assert "patience: null" not in text
        assert "num_sanity_val_steps" not in text


def test_a_bare_name_finds_the_shipped_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(resolve("gli_mufac")) == CONFIGS / "gli_mufac.yaml"
    assert Path(resolve("benchmark/mufac")) == CONFIGS / "benchmark/mufac.yaml"
    assert resolve_arguments(["--config", "gli_mufac", "-c", "li_mufac", "--config=gli_mucac", "--x"]) == [
        *("--config", str(CONFIGS / "gli_mufac.yaml"), "-c", str(CONFIGS / "li_mufac.yaml")),
        *(f"--config={CONFIGS / 'gli_mucac.yaml'}", "--x"),
    ]
    assert {path.stem for path in RUNS} <= set(shipped_names())
    assert not any(name.startswith(("method/", "trainer/", "tuned/", "data/")) for name in shipped_names())


def test_a_file_of_the_user_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gli_mufac").write_text("model: GLI\n")
    assert resolve("gli_mufac") == "gli_mufac"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gli_muffac", "Did you mean 'gli_mufac'?"),
        ("nothing", "The shipped ones are in"),
        ("configs/gli_mufac.yaml", "--config gli_mufac"),
        ("elsewhere/mine.yaml", "check the path"),
    ],
)
def test_a_name_of_nothing_is_refused_with_what_to_do(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=message.replace("?", r"\?")):
        resolve(argument)


def test_yaml_text_is_left_to_the_parser():
    assert resolve("{model: GLI}") == "{model: GLI}"


def test_the_configuration_of_a_cell_is_found_near_the_benchmark_first(tmp_path):
    (tmp_path / "benchmark").mkdir()
    benchmark = tmp_path / "benchmark/mine.yaml"
    assert find_config("gli_mufac", benchmark) == shipped() / "gli_mufac.yaml"
    own = tmp_path / "gli_mufac.yaml"
    own.write_text("model: GLI\n")
    assert find_config("gli_mufac", benchmark) == own
    with pytest.raises(SettingError, match="no configuration 'gli_mufacc'"):
        find_config("gli_mufacc", benchmark)


def test_an_installed_package_has_its_configurations_inside(tmp_path, monkeypatch):
    module = tmp_path / "gli/runs/configs.py"
    (tmp_path / "gli/configs").mkdir(parents=True)
    monkeypatch.setattr(configs, "__file__", str(module))
    assert shipped() == tmp_path / "gli/configs"
