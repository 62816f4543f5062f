"""``gli report``: run folders and benchmark folders in, a report or one message out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gli.commands.main import main
from tests.helpers.run_folders import RunFolders, write_run


@pytest.fixture
def make_run(tmp_path: Path) -> RunFolders:
    """Write run folders as ``gli fit`` does."""
    return RunFolders(tmp_path)


def write_cell(benchmark: Path, name: str, done: object = None, **options: object) -> Path:
    """Write a finished cell of a benchmark, as gli 0.1 does; return the folder of its run."""
    run = f"lightning_logs/{name}_synthetic/version_0"
    folder = write_run(benchmark / "cells" / name / run, name, **options)  # type: ignore[arg-type]
    text = json.dumps({"key": "0123", "run": run, "seconds": 1.5}) if done is None else str(done)
    (benchmark / "cells" / name / "done.json").write_text(text)
    return folder


def reported(output: Path) -> set[str]:
    return {row["run"] for row in json.loads((output / "results.json").read_text())["results"]}


def test_runs_are_reported_with_confidence_intervals(make_run, tmp_path, capsys):
    folders = [make_run(method) for method in ("GLI", "LI")]
    output = tmp_path / "out"
    assert main(["report", *map(str, folders), "--output", str(output), "--resamples", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(output / "report.html")
    assert reported(output) == set(map(str, folders))
    results = json.loads((output / "results.json").read_text())["results"]
    assert all(row["accuracy_low"] <= row["accuracy_high"] for row in results)


def test_an_evaluation_of_a_checkpoint_is_no_run_of_its_own(make_run, tmp_path, capsys):
    run, evaluation = make_run(), make_run()
    with (evaluation / "config.yaml").open("a") as file:
        file.write("ckpt_path: best.ckpt\nverbose: true\n")  # As gli test and gli validate write it.
    output = tmp_path / "out"
    assert main(["report", str(run), str(evaluation), "--output", str(output)]) == 0
    assert "left out" not in capsys.readouterr().err
    assert reported(output) == {str(run)}
    assert main(["report", str(evaluation), "--output", str(output)]) == 2
    assert f"{evaluation}: is a folder of gli test or gli validate" in capsys.readouterr().err


def test_the_folder_of_a_benchmark_means_its_finished_cells(make_run, tmp_path, capsys):
    benchmark, output = tmp_path / "benchmark_synthetic", tmp_path / "out"
    finished = {str(write_cell(benchmark, name)) for name in ("GLI", "LI")}
    for name, done in (("CFk", ""), ("SCRUB", '{"run": "../GLI"}'), ("EUk", "[]"), ("UNSIR", '{"run": "nowhere"}')):
        write_cell(benchmark, name, done)
    (benchmark / "cells/NegGrad").mkdir()
    alone = make_run("FineTune")
    assert main(["report", str(benchmark), str(alone), "--output", str(output)]) == 0
    assert reported(output) == finished | {str(alone)}
    messages = capsys.readouterr().err
    for name in ("CFk", "SCRUB", "EUk", "UNSIR", "NegGrad"):
        assert f"left out: {benchmark / 'cells' / name}: this cell is not finished" in messages
    assert len(json.loads((output / "results.json").read_text())["failed"]) == 5


def test_a_benchmark_that_was_moved_is_reported_where_it_is(tmp_path):
    write_cell(tmp_path / "before", "GLI")
    shutil.move(tmp_path / "before", tmp_path / "after")
    assert main(["report", str(tmp_path / "after"), "--output", str(tmp_path / "out")]) == 0
    assert reported(tmp_path / "out") == {str(tmp_path / "after/cells/GLI/lightning_logs/GLI_synthetic/version_0")}


@pytest.mark.parametrize("unfinished", [True, False])
def test_a_benchmark_without_a_finished_cell_is_refused(unfinished, tmp_path, capsys):
    (tmp_path / "benchmark/cells").mkdir(parents=True)
    if unfinished:
        write_cell(tmp_path / "benchmark", "GLI", "{}")
    assert main(["report", str(tmp_path / "benchmark"), "--output", str(tmp_path / "out")]) == 2
    message = "is not finished. Repeat the benchmark" if unfinished else f"{tmp_path / 'benchmark'}: has no cells"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_named_twice_counts_once(make_run, tmp_path):
    folder = make_run()
    assert main(["report", str(folder), str(folder), "--output", str(tmp_path / "out")]) == 0
    assert [line["runs"] for line in json.loads((tmp_path / "out/results.json").read_text())["lines"]][-1] == [
        str(folder)
    ]


def spoil_config(folder):
    (folder / "config.yaml").write_text("model: [")


def spoil_log(folder):
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,high\n")


def empty_log(folder):
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_config, "config.yaml: cannot be read as the settings of a run"),
        (spoil_log, "metrics.csv: cannot be read as the log of a run"),
        (empty_log, "metrics.csv: holds no audit"),
        (lambda folder: (folder / "metrics.csv").unlink(), "metrics.csv: no such log"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: no such file"),
        (lambda folder: (folder / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml: cannot be read"),
        (lambda folder: (folder / "config.yaml").write_text("model: 3\ndata: 4\n"), "config.yaml: cannot be read"),
    ],
)
def test_a_folder_that_is_not_a_run_is_named(spoil, message, make_run, tmp_path, capsys):
    folder = make_run()
    spoil(folder)
    assert main(["report", str(folder), "--output", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert str(folder) in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_cut_off_is_left_out_and_named(make_run, tmp_path, capsys):
    whole, cut, output = make_run(), tmp_path / "version_1", tmp_path / "out"
    cut.mkdir()
    assert main(["report", str(whole), str(cut), "--output", str(output)]) == 0
    assert f"left out: {cut / 'config.yaml'}: no such file" in capsys.readouterr().err
    assert str(cut) in (output / "report.html").read_text()
    assert reported(output) == {str(whole)}
    assert len(json.loads((output / "results.json").read_text())["failed"]) == 1


def test_a_mistyped_folder_ends_the_command(make_run, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["report", str(make_run()), str(tmp_path / "version_2"), "--output", str(output)]) == 2
    assert f"{tmp_path / 'version_2' / 'config.yaml'}: no such file" in capsys.readouterr().err
    assert not output.exists()


def test_runs_of_several_data_sets_are_not_compared(make_run, capsys, tmp_path):
    folders = [make_run(), make_run(data="MUFAC")]
    assert main(["report", *map(str, folders), "--output", str(tmp_path / "out")]) == 2
    assert "several data sets (MUFAC, SyntheticFaces)" in capsys.readouterr().err


def test_a_claim_is_decided(make_run, tmp_path):
    folders = [str(make_run(method, seed)) for method in ("GLI", "LI") for seed in (0, 1)]
    claims = ["--compare", "GLI>LI:accuracy@end", "--compare", "LI>Original:accuracy"]
    assert main(["report", *folders, "--output", str(tmp_path / "out"), *claims]) == 0
    comparisons = json.loads((tmp_path / "out/results.json").read_text())["comparisons"]
    assert [each["seeds"] for each in comparisons] == [[0, 1], [0, 1]]


def test_a_mistyped_claim_is_refused_before_anything_is_written(make_run, tmp_path, capsys):
    assert main(["report", str(make_run()), "--output", str(tmp_path / "out"), "--compare", "GLI>LI:accuracy"]) == 2
    assert "--compare GLI>LI:accuracy: there is no 'LI' in the table of methods" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_negative_number_of_resamples_is_refused(make_run, capsys):
    assert main(["report", str(make_run()), "--resamples", "-1"]) == 2
    assert "--resamples is -1; it must not be negative" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named_with_the_setting(make_run, tmp_path, capsys):
    run, place = make_run(), tmp_path / "a_file"
    place.touch()
    assert main(["report", str(run), "--output", str(place)]) == 2
    printed = capsys.readouterr().err
    assert f"gli report: {place}: the report cannot be written" in printed
    assert "Point --output to a folder" in printed
