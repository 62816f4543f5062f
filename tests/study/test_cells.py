"""The cells of a benchmark: which there are, and what makes one of them done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gli.engine.job import finish as finish_job
from gli.engine.job import finished_run
from gli.errors import DataError
from gli.runs.configs import config_files
from gli.study.cells import Cell, cells_of, finished_runs
from gli.study.grid import read_grid
from tests.helpers.benchmarks import CONFIGS, write_benchmark


@pytest.fixture
def cells(tmp_path):
    """Return the cells of a small benchmark."""

    def make(**changes) -> list[Cell]:
        path = write_benchmark(tmp_path, **changes)
        return cells_of(read_grid(path), path, tmp_path / "out", tmp_path / "originals")

    return make


def finish(cell: Cell, name: str = "lightning_logs/x/version_0") -> Path:
    """Write the run of a cell, and record that it is finished."""
    (cell.folder / name).mkdir(parents=True)
    (cell.folder / name / "metrics.csv").touch()
    finish_job(cell.folder, cell.key, cell.folder / name, 1.5)
    return cell.folder / name


def test_each_backbone_repeats_the_grid(cells):
    planned = cells(backbones=["resnet18_slim", "resnet18"], variants={"Slow": {"config": "li_synthetic"}})
    assert [cell.title for cell in planned if cell.backbone == "resnet18"] == [
        "FineTune, resnet18",
        "NegGrad, resnet18",
        "Slow, resnet18",
    ]
    slim = [cell for cell in planned if cell.backbone == "resnet18_slim"]
    assert all("--model.backbone=resnet18_slim" in cell.arguments for cell in slim)
    assert len({cell.folder for cell in planned}) == len(planned) == 6


def test_settings_of_a_method_override_those_of_all(cells):
    methods = {"FineTune": {"model.lr": 0.5}, "NegGrad": {}}
    fine_tune, neg_grad = cells(methods=methods, settings={"model.lr": 0.1, "data.people": 24})
    assert "--model.lr=0.5" in fine_tune.arguments
    assert "--model.lr=0.1" not in fine_tune.arguments
    assert "--model.lr=0.1" in neg_grad.arguments
    assert "--data.people=24" in fine_tune.arguments


def test_seeds_come_one_after_the_other_with_the_original_first(cells):
    planned = cells(methods=["GLI", "Original"], seeds=[2, 1], seed_data=True)
    assert [(cell.seed, cell.name) for cell in planned] == [(2, "Original"), (2, "GLI"), (1, "Original"), (1, "GLI")]
    assert {"--seed_everything=2", "--data.seed=2"} <= set(planned[0].arguments)


def test_configurations_are_found_beside_the_benchmark_or_above_it_or_among_the_shipped_ones(cells, tmp_path):
    (fine_tune, _) = cells()
    assert fine_tune.config == tmp_path / "configs/fine_tune_synthetic.yaml"
    grid = tmp_path / "elsewhere/grid.yaml"
    grid.parent.mkdir()
    grid.write_text("data: synthetic\nmethods: [LI, GLI]\n")
    (grid.parent / "li_synthetic.yaml").write_text("model: LI\n")
    planned = cells_of(read_grid(grid), grid, tmp_path / "out", tmp_path)
    assert [cell.config for cell in planned] == [grid.parent / "li_synthetic.yaml", CONFIGS / "gli_synthetic.yaml"]


@pytest.mark.parametrize("path", sorted((CONFIGS / "benchmark").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_benchmark_finds_its_configurations(path, tmp_path):
    grid = read_grid(path)
    planned = cells_of(grid, path, tmp_path, tmp_path / "originals")
    assert len(planned) == len(grid.entries) * len(grid.seeds)
    assert "Original" not in grid.entries or planned[0].name == "Original"
    assert all(cell.config.parent == CONFIGS for cell in planned)
    assert len({cell.key for cell in planned}) == len(planned)


# -- keys --------------------------------------------------------------------------------------------------------------


def write_nested(folder: Path) -> Path:
    """Write a configuration that refers to a file that refers to further files."""
    for name, text in {
        "run.yaml": "model: method/gli.yaml\ntrainer: {max_steps: 3}\nseed_everything: 0\n",
        "method/gli.yaml": "class_path: GLI\ninit_args:\n  class_weight: shared/weight.yml\n  noise: [../noise.yaml]\n",
        "method/shared/weight.yml": "initial: 1\n",
        "noise.yaml": "std: 0.1\nback: run.yaml\nabsent: nowhere.yaml\n",
        "other.yaml": "unused: true\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "run.yaml"


def test_references_are_followed_from_file_to_file_and_each_file_counts_once(tmp_path):
    files = [os.path.relpath(path.resolve(), tmp_path) for path in config_files(write_nested(tmp_path))]
    assert files == ["run.yaml", "method/gli.yaml", "method/shared/weight.yml", "noise.yaml"]


def test_references_of_a_shipped_configuration_are_followed():
    names = {path.relative_to(CONFIGS).as_posix() for path in config_files(CONFIGS / "gli_synthetic.yaml")}
    assert {"gli_synthetic.yaml", "tuned/gli_synthetic.yaml", "data/synthetic.yaml"} <= names


def test_a_configuration_that_is_not_yaml_is_named(tmp_path):
    (tmp_path / "run.yaml").write_text("model: [")
    with pytest.raises(DataError, match=r"run\.yaml: cannot be read as a configuration"):
        config_files(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("run.yaml", True),
        ("method/gli.yaml", True),
        ("method/shared/weight.yml", True),
        ("noise.yaml", True),
        ("other.yaml", False),
    ],
)
def test_the_key_depends_on_every_file_that_is_referred_to(name, matters, tmp_path):
    cell = Cell("A", 0, None, write_nested(tmp_path), ("--x=1",), tmp_path / "out", tmp_path)
    before = cell.key
    (tmp_path / name).write_text((tmp_path / name).read_text() + "# changed\n")
    assert (cell.key != before) is matters


def test_the_key_depends_on_the_settings_and_not_on_the_folders(tmp_path):
    config = write_nested(tmp_path)
    key = Cell("A", 0, None, config, ("--x=1",), tmp_path / "out", tmp_path).key
    assert Cell("B", 0, None, config, ("--x=1",), tmp_path / "elsewhere", tmp_path / "other").key == key
    assert Cell("A", 0, None, config, ("--x=2",), tmp_path / "out", tmp_path).key != key


# -- finished runs -----------------------------------------------------------------------------------------------------


def test_a_finished_cell_has_a_run_until_its_settings_change(cells):
    cell, other = cells()
    assert cell.job.run is None
    run = finish(cell)
    assert cell.job.run == run == finished_run(cell.folder)
    assert other.job.run is None
    changed, _ = cells(settings={"model.lr": 0.3})
    assert changed.folder == cell.folder
    assert changed.job.run is None
    assert finished_run(cell.folder) == run
    (run / "metrics.csv").unlink()
    assert cell.job.run is None


@pytest.mark.parametrize(
    "record", ["", "[]", "{}", "3", '{"key": 1}', '{"run": 3, "key": 1}', "[" * 9000, '{"run": "../x", "key": 0}']
)
def test_a_damaged_record_counts_as_missing(record, cells):
    cell, _ = cells()
    finish(cell)
    (cell.folder / "done.json").write_text(record)
    assert cell.job.run is None
    assert finished_run(cell.folder) is None


def test_a_cell_whose_configuration_cannot_be_read_is_not_done(cells, tmp_path):
    cell, _ = cells()
    finish(cell)
    cell.config.write_text("model: [")
    assert cell.job.run is None


def test_the_finished_runs_of_a_benchmark_are_found_in_its_folder(cells, tmp_path):
    cell, other = cells()
    run = finish(cell)
    other.folder.mkdir(parents=True)
    runs, (message,) = finished_runs(tmp_path / "out")
    assert runs == [run]
    assert message.startswith(f"{other.folder}: this cell is not finished.")
