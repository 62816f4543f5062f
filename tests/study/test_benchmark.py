"""The runs of a benchmark: which there are, and what makes one of them done."""

from __future__ import annotations

from pathlib import Path

import pytest

from gli.engine.fit import method_names
from gli.runs.configs import expand
from gli.runs.spec import RunSpec, finished_run
from gli.study.benchmark import finished_runs, read_grid, runs_of
from tests.helpers.benchmarks import CONFIGS, write_benchmark


@pytest.fixture
def runs(tmp_path):
    """Return the runs of a small benchmark."""

    def make(**changes) -> list[RunSpec]:
        path = write_benchmark(tmp_path, **changes)
        return runs_of(read_grid(path), path, tmp_path / "out", tmp_path / "originals")

    return make


def finish(run: RunSpec, name: str = "lightning_logs/x/version_0") -> Path:
    """Write the log of a run, and record that it is finished."""
    (run.folder / name).mkdir(parents=True)
    (run.folder / name / "metrics.csv").touch()
    run.finish(run.folder / name, 1.5)
    return run.folder / name


def test_each_backbone_repeats_the_grid(runs):
    planned = runs(backbones=["resnet18_slim", "resnet18"], variants={"Slow": {"config": "li_synthetic"}})
    assert [run.row for run in planned if run.method["init_args"]["backbone"] == "resnet18"] == [
        "FineTune, resnet18",
        "NegGrad, resnet18",
        "Slow, resnet18",
    ]
    assert len({run.folder for run in planned}) == len(planned) == 6


def test_settings_of_a_method_override_those_of_all(runs):
    methods = {"FineTune": {"model.lr": 0.5}, "NegGrad": {}}
    fine_tune, neg_grad = runs(methods=methods, settings={"model.lr": 0.1, "data.people": 24})
    assert (fine_tune.method["init_args"]["lr"], neg_grad.method["init_args"]["lr"]) == (0.5, 0.1)
    assert fine_tune.data["init_args"]["people"] == 24


def test_seeds_come_one_after_the_other_with_the_original_first(runs):
    planned = runs(methods=["GLI", "Original"], seeds=[2, 1], seed_data=True)
    assert [(run.seed, run.row) for run in planned] == [(2, "Original"), (2, "GLI"), (1, "Original"), (1, "GLI")]
    assert [run.data["init_args"]["seed"] for run in planned] == [2, 2, 1, 1]
    assert [run.after for run in planned] == [
        frozenset(),
        {planned[0].folder},
        frozenset(),
        {planned[2].folder},
    ]


def test_configurations_are_found_beside_the_benchmark_or_above_it_or_among_the_shipped_ones(tmp_path):
    grid = tmp_path / "elsewhere/grid.yaml"
    grid.parent.mkdir()
    grid.write_text("data: synthetic\nmethods: [LI, GLI]\n")
    own = "model: {class_path: LI, init_args: {lr: 0.125}}\ndata: SyntheticFaces\n"
    (tmp_path / "li_synthetic.yaml").write_text(own)
    li, gli = runs_of(read_grid(grid), grid, tmp_path / "out", tmp_path)
    assert li.method["init_args"]["lr"] == 0.125
    assert gli.method["class_path"] == "gli.methods.GLI"


def test_every_shipped_benchmark_finds_its_configurations(tmp_path):
    for path in sorted((CONFIGS / "benchmark").glob("*.yaml")):
        grid = read_grid(path).restricted(seeds=[0])
        if path.stem != "synthetic":  # Resolving all settings takes long: the first two, and those with their own.
            assert all(expand(entry.config, path, method_names()) for entry in grid.entries.values())
            names = [name for place, name in enumerate(grid.entries) if place < 2 or grid.entries[name].settings]
            grid = grid.restricted(methods=names)
        planned = runs_of(grid, path, tmp_path, tmp_path / "originals")
        assert len(planned) == len(grid.entries)
        assert "Original" not in grid.entries or planned[0].row.startswith("Original")
        assert len({run.key for run in planned}) == len(planned), path


def test_a_finished_run_is_one_until_its_settings_change(runs):
    run, other = runs()
    assert run.run is None
    folder = finish(run)
    assert run.run == folder == finished_run(run.folder)
    assert other.run is None
    changed, _ = runs(settings={"model.lr": 0.3})
    assert changed.folder == run.folder
    assert changed.run is None
    assert finished_run(run.folder) == folder
    (folder / "metrics.csv").unlink()
    assert run.run is None


def test_a_damaged_record_counts_as_missing(runs):
    run, _ = runs()
    finish(run)
    damaged = ["", "[]", "{}", "3", '{"key": 1}', '{"run": 3, "key": 1}', "[" * 9000, '{"run": "../x", "key": 0}']
    for record in damaged:
        (run.folder / "done.json").write_text(record)
        assert run.run is None, record
        assert finished_run(run.folder) is None, record


def test_the_finished_runs_of_a_benchmark_are_found_in_its_folder(runs, tmp_path):
    run, other = runs()
    folder = finish(run)
    other.folder.mkdir(parents=True)
    finished, (message,) = finished_runs(tmp_path / "out")
    assert finished == [folder]
    assert message.startswith(f"{other.folder}: this cell is not finished.")
