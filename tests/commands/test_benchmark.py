"""``gli benchmark``: cells run once, also after kills and failures, and are reported."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from gli.commands.main import main
from gli.runs.read import read_log
from gli.study.benchmark import benchmark as run_benchmark
from gli.study.benchmark import read_grid
from tests.helpers.benchmarks import CONFIGS, TINY, finished_cells, write_benchmark
from tests.helpers.forks import Fork
from tests.helpers.processes import eventually

pytestmark = pytest.mark.usefixtures("forked_jobs")


def benchmark(config, output, originals=Path("lightning_logs/originals"), **options):
    """Run a benchmark; return a message for each cell without a result."""
    return run_benchmark(config, read_grid(config), output, originals, **options)


@pytest.fixture
def make_grid(tmp_path, monkeypatch):
    """Write a small benchmark, and work in its folder."""
    monkeypatch.chdir(tmp_path)
    return lambda **changes: write_benchmark(tmp_path, **changes)


def test_a_grid_is_run_and_reported_and_then_found_done(make_grid, tmp_path):
    claim = {"of": "FineTune", "with": "NegGrad", "score": "accuracy", "at": "end", "claim": "Fine-tuning is harmless"}
    config = make_grid(seeds=[0, 1], seed_data=True, resamples=3, compare=[claim])
    arguments = ["benchmark", "--config", str(config), "--output", "out", "--jobs", "2"]
    assert main(arguments) == 0
    out = tmp_path / "out"
    first = finished_cells(out)
    assert set(first) == {"FineTune-seed0", "FineTune-seed1", "NegGrad-seed0", "NegGrad-seed1"}
    assert {"results.csv", "results.json", "results.md", "report.html"} <= {path.name for path in out.iterdir()}
    contents = json.loads((out / "results.json").read_text())
    assert [line["method"] for line in contents["lines"]] == ["Original", "FineTune", "NegGrad"]
    assert [len(line["runs"]) for line in contents["lines"]] == [2, 2, 2]
    assert all("accuracy_low" in row for row in contents["results"])
    for name, done in first.items():
        run = out / "cells" / name / done["run"]
        assert [row["iteration"] for row in read_log(run)] == [0, 2]
        assert {"config.yaml", "cost.json", "audits"} <= {path.name for path in run.iterdir()}
    # One original for each seed, shared by the cells.
    assert len(list((tmp_path / "lightning_logs/originals").glob("*.ckpt"))) == 2
    assert "training, s" in (out / "results.md").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")} == stamps
    # The report of the folder is that of the benchmark.
    assert main(["report", "out", "--output", "again", "--resamples", "3"]) == 0
    again = json.loads((tmp_path / "again/results.json").read_text())
    (compared,) = contents.pop("comparisons")
    assert (compared["claim"], compared["seeds"]) == ("Fine-tuning is harmless", [0, 1])
    assert compared["low"] <= compared["difference"] <= compared["high"]
    assert again.pop("comparisons") == []
    assert again == contents


def test_a_cell_whose_settings_changed_is_run_again_and_no_other(make_grid, tmp_path):
    config = make_grid()
    benchmark(config, output=tmp_path / "out")
    before = finished_cells(tmp_path / "out")
    settings = tmp_path / "configs/tuned/neg_grad_synthetic.yaml"  # The configuration of the cell refers to it.
    assert "lr: 0.03" in settings.read_text()
    settings.write_text(settings.read_text().replace("lr: 0.03", "lr: 0.02"))
    benchmark(config, output=tmp_path / "out")
    after = finished_cells(tmp_path / "out")
    assert after["FineTune-seed0"] == before["FineTune-seed0"]
    assert after["NegGrad-seed0"]["key"] != before["NegGrad-seed0"]["key"]


def test_a_failed_cell_is_named_in_the_report_and_the_others_run(make_grid, tmp_path, capsys):
    variants = {"Broken": {"config": "cfk_synthetic", "settings": {"model.k": 99}}}
    assert main(["benchmark", "--config", str(make_grid(variants=variants)), "--output", "out"]) == 1
    assert "Broken, seed 0: gli: model.k is 99" in capsys.readouterr().err
    assert set(finished_cells(tmp_path / "out")) == {"FineTune-seed0", "NegGrad-seed0"}
    assert "Broken, seed 0" in (tmp_path / "out/results.md").read_text()
    (failure,) = json.loads((tmp_path / "out/results.json").read_text())["failed"]
    assert failure.startswith("Broken, seed 0")


def test_a_benchmark_without_a_finished_cell_ends_with_the_reasons(make_grid, capsys):
    config = make_grid(methods={"CFk": {"model.k": 99}})
    assert main(["benchmark", "--config", str(config), "--output", "out"]) == 2
    assert "No cell of the benchmark was finished. CFk, seed 0: gli: model.k is 99" in capsys.readouterr().err


def test_a_killed_benchmark_continues_and_ends_like_an_undisturbed_one(make_grid, tmp_path):
    config = make_grid(methods=["FineTune", "NegGrad", "LI"])
    process = Fork(["benchmark", "--config", str(config), "--output", "killed"], tmp_path)
    assert eventually(lambda: bool(finished_cells(tmp_path / "killed")), 120)
    process.kill()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("cells/*/done.json")}
    assert before
    assert len(before) < 3
    assert benchmark(config, output=tmp_path / "killed") == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert benchmark(config, output=tmp_path / "whole") == []
    logs = {
        name: {
            cell: read_log(tmp_path / name / "cells" / cell / done["run"])
            for cell, done in finished_cells(tmp_path / name).items()
        }
        for name in ("killed", "whole")
    }
    assert logs["killed"] == logs["whole"]
    assert len(logs["whole"]) == 3


def test_an_interrupted_benchmark_stops_its_cells_and_says_how_to_continue(make_grid, tmp_path):
    config = make_grid(settings={"data.people": 24, "trainer.max_steps": 100000, "trainer.max_epochs": -1})
    process = Fork(["benchmark", "--config", str(config), "--output", "out"], tmp_path)
    try:
        assert eventually((tmp_path / "out/cells/FineTune-seed0/log.txt").exists, seconds=120)
        os.kill(process.pid, signal.SIGINT)
        done = process.wait(60)
    finally:
        process.kill()
    assert done.returncode == 130
    printed = done.stderr
    assert "gli benchmark: stopped. The same command runs the cells that are not finished." in printed
    assert "Traceback" not in printed
    assert not finished_cells(tmp_path / "out")


def test_the_results_are_the_same_whether_one_cell_runs_at_a_time_or_two(make_grid, tmp_path, monkeypatch):
    """On as many threads each: sums over another number of threads are rounded otherwise."""
    monkeypatch.setattr("gli.engine.local.usable_cores", lambda: 1)
    config = make_grid(methods=["Original", "FineTune", "NegGrad"])
    benchmark(config, output=tmp_path / "one")
    benchmark(config, output=tmp_path / "two", jobs=2, originals=tmp_path / "others")
    contents = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")]
    means = [{line["method"]: line["mean"] for line in content["lines"]} for content in contents]
    assert means[0] == means[1]
    assert list(means[0]) == ["Original", "FineTune", "NegGrad"]


def test_only_the_methods_and_seeds_asked_for_are_run(make_grid, tmp_path):
    arguments = ["--methods", "NegGrad", "--seeds", "5", "--output", "out", "--select", "held_out"]
    # Half of the people of 24 are too few for an attack.
    config = make_grid(settings={**TINY, "data.people": 60})
    assert main(["benchmark", "--config", str(config), *arguments]) == 0
    assert set(finished_cells(tmp_path / "out")) == {"NegGrad-seed5"}
    contents = json.loads((tmp_path / "out/results.json").read_text())
    assert contents["select"] == "held_out"
    # Paths inside the working folder are short.
    assert {row["run"].split("/")[0] for row in contents["results"]} == {"out"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "GLY"], "has no 'GLY'"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: no such configuration"),
        (["--config", "benchmark/synthetik"], "Did you mean 'benchmark/synthetic'?"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message, make_grid, capsys):
    assert main(["benchmark", "--config", str(make_grid()), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named_before_any_cell_is_run(tmp_path, capsys):
    place = tmp_path / "a_file"
    place.touch()
    for config in (str(CONFIGS / "benchmark/synthetic.yaml"), "benchmark/synthetic"):
        assert main(["benchmark", "--config", config, "--output", str(place)]) == 2
        assert f"gli benchmark: {place}: the benchmark cannot be written" in capsys.readouterr().err
