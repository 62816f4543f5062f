"""The grid: cells that are run once, killed and failed cells, and the report of the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gli.benchmark import Board, Cell, benchmark, cells, read_grid
from gli.cli import main
from gli.command import subclasses
from gli.errors import SettingError
from gli.methods import Method
from gli.results import read_log

CONFIGS = Path(__file__).parent.parent / "configs"
TINY = {
    "data.people": 24,
    "data.pictures": 5,
    "data.image_size": 32,
    "data.batch_size": 16,
    "data.recipe.epochs": 1,
    "trainer.accelerator": "cpu",
    "trainer.max_steps": 2,
}


@pytest.fixture
def make_grid(tmp_path, monkeypatch):
    """A small benchmark beside copies of the shipped configurations."""
    monkeypatch.chdir(tmp_path)
    for path in [*CONFIGS.glob("*_synthetic.yaml"), *CONFIGS.glob("*/*.yaml")]:
        copy = tmp_path / "configs" / path.relative_to(CONFIGS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())

    def make(**changes) -> Path:
        found = {"data": "synthetic", "methods": ["FineTune", "NegGrad"], "seeds": [0], "settings": TINY, **changes}
        path = tmp_path / "configs" / "benchmark_small.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    return make


def status(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("cells/*/done.json")}


def test_a_grid_is_run_and_reported_and_then_found_done(make_grid, tmp_path, capsys):
    config = make_grid(seeds=[0, 1], seed_data=True, draws=3)
    arguments = ["benchmark", "--config", str(config), "--output", "out", "--jobs", "2"]
    assert main(arguments) == 0
    out = tmp_path / "out"
    first = status(out)
    assert set(first) == {"FineTune-seed0", "FineTune-seed1", "NegGrad-seed0", "NegGrad-seed1"}
    assert {"results.csv", "results.json", "results.md", "report.html"} <= {path.name for path in out.iterdir()}
    contents = json.loads((out / "results.json").read_text())
    assert [line["method"] for line in contents["lines"]] == ["Original", "FineTune", "NegGrad"]
    assert [len(line["runs"]) for line in contents["lines"]] == [2, 2, 2]
    for name, done in first.items():
        run = out / "cells" / name / done["run"]
        assert [row["iteration"] for row in read_log(run)] == [0, 2]
        assert {"config.yaml", "cost.json", "audits"} <= {path.name for path in run.iterdir()}
    # One original for each seed, shared by the cells.
    assert len(list((tmp_path / "lightning_logs/originals").glob("*.ckpt"))) == 2
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")} == stamps
    assert "training, s" in (out / "results.md").read_text()


def test_a_cell_whose_settings_changed_is_run_again_and_no_other(make_grid, tmp_path):
    config = make_grid()
    benchmark(config, output=Path("out"))
    before = status(tmp_path / "out")
    yaml_file = tmp_path / "configs/neg_grad_synthetic.yaml"
    yaml_file.write_text(yaml_file.read_text().replace("lr: 0.03", "lr: 0.02"))
    benchmark(config, output=Path("out"))
    after = status(tmp_path / "out")
    assert after["FineTune-seed0"] == before["FineTune-seed0"]
    assert after["NegGrad-seed0"]["key"] != before["NegGrad-seed0"]["key"]


def test_a_failed_cell_is_named_in_the_report_and_the_rest_goes_on(make_grid, tmp_path, capsys):
    variants = {"Broken": {"config": "cfk_synthetic", "settings": {"model.k": 99}}}
    assert main(["benchmark", "--config", str(make_grid(variants=variants)), "--output", "out"]) == 1
    assert "Broken, seed 0: gli: model.k is 99" in capsys.readouterr().err
    assert set(status(tmp_path / "out")) == {"FineTune-seed0", "NegGrad-seed0"}
    assert "Broken, seed 0" in (tmp_path / "out/results.md").read_text()
    assert json.loads((tmp_path / "out/results.json").read_text())["failed"]


def test_a_killed_benchmark_goes_on_where_it_was_and_ends_like_an_undisturbed_one(make_grid, tmp_path):
    config = make_grid(methods=["FineTune", "NegGrad", "LI"])
    command = [sys.executable, "-m", "gli", "benchmark", "--config", str(config), "--output", "killed"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not status(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("cells/*/done.json")}
    assert before
    assert len(before) < 3
    assert benchmark(config, output=Path("killed"))[1] == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert benchmark(config, output=Path("whole"))[1] == []
    logs = {}
    for folder in ("killed", "whole"):
        found = status(tmp_path / folder)
        logs[folder] = {
            name: read_log(tmp_path / folder / "cells" / name / done["run"]) for name, done in found.items()
        }
    assert logs["killed"] == logs["whole"]
    assert len(logs["whole"]) == 3


def test_the_same_results_whether_one_cell_runs_at_a_time_or_two(make_grid, tmp_path, monkeypatch):
    """On as many threads each: sums of another number of threads are rounded otherwise."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    config = make_grid(methods=["Original", "FineTune", "NegGrad"])
    benchmark(config, output=Path("one"))
    benchmark(config, output=Path("two"), jobs=2, originals=Path("others"))
    rows = [(tmp_path / name / "results.md").read_text().splitlines() for name in ("one", "two")]
    tables = [[line.split("|")[1:8] for line in text if line.startswith("| ") and "cells" not in line] for text in rows]
    assert tables[0] == tables[1]


def test_a_choice_of_methods_seeds_and_backbones(make_grid, tmp_path):
    grid = read_grid(make_grid(backbones=["resnet18_slim", "resnet18"], variants={"Slow": {"config": "li_synthetic"}}))
    found = cells(grid, tmp_path / "configs", tmp_path / "out", tmp_path / "originals")
    assert [cell.title for cell in found if cell.backbone == "resnet18"] == [
        "FineTune, resnet18",
        "NegGrad, resnet18",
        "Slow, resnet18",
    ]
    assert all("--model.backbone=resnet18_slim" in cell.arguments for cell in found if cell.backbone == "resnet18_slim")
    assert len({cell.folder for cell in found}) == len(found) == 6


def test_settings_of_a_method_go_before_those_of_all(make_grid, tmp_path):
    methods = {"FineTune": {"model.lr": 0.5}, "NegGrad": {}}
    grid = read_grid(make_grid(methods=methods, settings={"model.lr": 0.1, "data.people": 24}))
    fine_tune, neg_grad = cells(grid, tmp_path / "configs", tmp_path / "out", tmp_path / "originals")
    assert "--model.lr=0.5" in fine_tune.arguments
    assert "--model.lr=0.1" not in fine_tune.arguments
    assert "--model.lr=0.1" in neg_grad.arguments
    assert "--data.people=24" in fine_tune.arguments


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methds": []}, "no setting 'methds'. Did you mean 'methods'?"),
        ({"methods": "GLI"}, "methods is 'GLI', no dict"),
        ({"methods": {"GLI": 3}}, "methods has 'GLI': 3; it takes a name and settings"),
        ({"variants": {"GLI": "gli_synthetic"}}, "variants has 'GLI': 'gli_synthetic'; it takes"),
        ({"seeds": 3}, "seeds is 3, no list"),
        ({"seeds": ["one"]}, "seeds has 'one', no whole number"),
        ({"methods": ["SCRUBB"]}, "SCRUBB: there is no configuration"),
        ({"select": "luck"}, "select is 'luck'"),
        ({"variants": {"A B": {"config": "li_synthetic"}, "A-B": {"config": "li_synthetic"}}}, "same name and seed"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, said, make_grid, capsys):
    assert main(["benchmark", "--config", str(make_grid(**changes)), "--output", "out"]) == 2
    caught = capsys.readouterr().err
    assert said in caught
    assert "Traceback" not in caught


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "GLY"], "has no 'GLY'"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, said, make_grid, capsys):
    assert main(["benchmark", "--config", str(make_grid()), *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("benchmark_*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_benchmark_has_all_methods_and_its_configurations(path, tmp_path):
    grid = read_grid(path)
    shipped = {name for name, method in subclasses(Method).items() if method.__module__.startswith("gli.")}
    assert set(grid.methods) == shipped
    found = cells(grid, CONFIGS, tmp_path, tmp_path / "originals")
    assert len(found) == (len(shipped) + len(grid.variants)) * len(grid.seeds)
    assert next(cell.name for cell in found if cell.seed == 0) == "Original"
    assert all(cell.key for cell in found)


def test_time_left_is_estimated_from_what_cells_have_taken(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("gli.benchmark.time.monotonic", lambda: clock[0])
    grid = [Cell(name, 0, None, tmp_path, (), tmp_path / name) for name in "abcd"]
    board = Board(grid, jobs=1)
    assert board.time_left() == "0 of 4 cells, 0:00 so far"
    board.start(grid[0])
    clock[0] += 60
    board.end(grid[0], 1)
    board.start(grid[1])
    clock[0] += 20
    assert board.time_left() == "1 of 4 cells, 1:20 so far, about 2:40 left"


def test_a_grid_without_settings_is_refused(tmp_path):
    path = tmp_path / "benchmark.yaml"
    path.write_text("- GLI\n")
    with pytest.raises(SettingError, match="holds no settings"):
        read_grid(path)


def test_a_place_that_cannot_be_written_to_is_named_before_any_cell_is_run(tmp_path, capsys):
    place = tmp_path / "a_file"
    place.touch()
    config = str(Path(__file__).parents[1] / "configs/benchmark_synthetic.yaml")
    assert main(["benchmark", "--config", config, "--output", str(place)]) == 2
    assert f"gli benchmark: {place}: the benchmark cannot be written" in capsys.readouterr().err
