from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import yaml
from rich.console import Console

from gli.engine.build import _chosen
from gli.engine.execute import Board, Record, execute, failures, make_executor
from gli.engine.fit import specify
from gli.errors import SettingError
from gli.runs.spec import RunSpec
from tests.helpers.tiny import TINY, a_run

pytestmark = pytest.mark.usefixtures("forked_jobs")


def make_run(folder: Path, row: str, column: str = "seed 0", after: Path | None = None) -> RunSpec:
    return a_run(folder / f"{row}-{column}", row=row, column=column, after=frozenset({after} if after else ()))


def test_time_left_is_estimated_from_the_jobs_that_have_ended(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("gli.engine.execute.time.monotonic", lambda: clock[0])
    jobs = [make_run(tmp_path, name) for name in "abcd"]
    board = Board(jobs, slots=1)
    assert board.time_left() == "0 of 4 runs, 0:00 so far"
    board.start(jobs[0])
    clock[0] += 60
    board.end(Record(jobs[0], "failed", None))
    board.start(jobs[1])
    clock[0] += 20
    assert board.time_left() == "1 of 4 runs, 1:20 so far, about 2:40 left"


def test_runs_wait_until_those_before_them_have_ended(tmp_path):
    original = make_run(tmp_path, "Original")
    gli, other = make_run(tmp_path, "GLI", after=original.folder), make_run(tmp_path, "LI", after=tmp_path / "done")
    executor = Recorder(fails={"Original"})  # A failed original is trained again by the run that needs it.
    records = execute([gli, original, other], executor, slots=3)
    assert [folder.name.partition("-")[0] for folder in executor.folders] == ["Original", "LI", "GLI"]
    assert [(record.spec.row, record.state) for record in records] == [
        ("GLI", "done"),
        ("Original", "failed"),
        ("LI", "done"),
    ]
    (failure,) = failures(records)  # It ended well, but without a finished run.
    assert failure.startswith("Original, seed 0: ended without a message")


def test_the_reason_of_a_failure_is_the_last_line_of_the_log(tmp_path):
    job = make_run(tmp_path, "GLI, resnet18", "seed 3")
    assert job.reason_of_failure().startswith("GLI, resnet18, seed 3: ended without a message")
    job.folder.mkdir()
    job.log.write_bytes(b"first\ngli: model.k is 99\xff\n\n")
    assert job.reason_of_failure() == f"GLI, resnet18, seed 3: gli: model.k is 99\ufffd ({job.log})"


@pytest.mark.parametrize("count", [3, 12])
def test_the_table_shows_each_job_or_counts_many(tmp_path, count):
    jobs = [make_run(tmp_path, "GLI", f"seed {number}") for number in range(count)]
    board = Board(jobs, slots=1)
    board.start(jobs[0])
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(board)
    text = console.export_text()
    assert ("seed 2" in text) is (count == 3)
    assert f"0 of {count} runs" in text


class Recorder:
    """Runs nothing, but records a finished run for each folder."""

    def __init__(self, fails: frozenset[str] | set[str] = frozenset()) -> None:
        self.folders: list[Path] = []
        self.fails, self.closed = fails, False

    def submit(self, arguments, *, log):
        folder = Path(arguments[-1])
        self.folders.append(folder)
        if folder.name.partition("-")[0] not in self.fails:
            (folder / "run").mkdir()
            (folder / "run/metrics.csv").touch()
            RunSpec.read(folder).finish(folder / "run", 1.0)
        future = Future()
        future.set_result(0)
        return future

    def close(self) -> None:
        self.closed = True


def test_finished_runs_are_not_repeated_and_the_executor_is_closed(tmp_path):
    runs = [make_run(tmp_path, name) for name in "ab"]
    first, second = Recorder(), Recorder()
    assert failures(execute(runs, first)) == []
    assert first.folders == [run.folder for run in runs]
    assert [record.run for record in execute(runs, second)] == [run.folder / "run" for run in runs]
    assert second.folders == []
    assert first.closed
    assert second.closed


def test_an_iterator_is_asked_for_a_run_when_there_is_room_for_one_and_a_run_asked_for_twice_runs_once(tmp_path):
    ended, asked = [], []

    def runs():
        for name in ("a", "b", "b", "c"):
            asked.append((name, len(ended)))
            yield make_run(tmp_path, name)

    executor = Recorder()
    execute(runs(), executor, ended=lambda record: ended.append(record.spec.row))
    assert asked == [("a", 0), ("b", 1), ("b", 2), ("c", 3)]
    assert ended == ["a", "b", "b", "c"]
    assert len(executor.folders) == 3


def test_a_run_of_wrong_settings_fails_with_its_message_and_the_next_one_runs(tmp_path):
    wrong = make_run(tmp_path, "wrong")
    wrong = replace(
        wrong, method={"class_path": "gli.methods.CFk", "init_args": {"k": 99, **wrong.method["init_args"]}}
    )
    executor = make_executor(1)
    failed, done = execute([wrong, make_run(tmp_path, "right")], executor)
    assert failed.state == "failed"
    assert wrong.reason_of_failure().startswith("wrong, seed 0: gli: model.k is 99")
    assert done.run is not None


# -- keys --------------------------------------------------------------------------------------------------------------


def key_of(*flags: str, **place) -> str:
    return specify(["--model=FineTune", *TINY, *flags], **place).key


def test_the_key_is_that_of_the_resolved_settings_and_not_of_the_folders(tmp_path):
    key = key_of()
    assert key_of("--model.lr=0.001", "--data.seed=0") == key_of("--data.seed=0", "--model.lr=1e-3")
    (tmp_path / "a.yaml").write_text("# Bytes do not matter.\nmodel: {class_path: FineTune}\n")
    assert specify([f"--config={tmp_path / 'a.yaml'}", *TINY]).key == key
    for neutral in (
        "--data.num_workers=1",
        "--data.cache_dir=x",
        "--trainer.default_root_dir=x",
        "--figures.send_faces=true",
    ):
        assert key_of(neutral) == key
    assert key_of(folder=tmp_path, originals=tmp_path, row="a", resumes=True) == key
    for matters in ("--model.lr=0.5", "--seed_everything=1", "--trainer.max_steps=1", "--checkpoint.monitor=null"):
        assert key_of(matters) != key


def test_files_that_settings_name_count_by_their_content(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("identity,set\na,forget\n")
    key = key_of(f"--data.assignment={people}")
    (tmp_path / "other.csv").write_text(people.read_text())
    assert key_of(f"--data.assignment={tmp_path / 'other.csv'}") == key
    people.write_text("identity,set\na,retain\n")
    assert key_of(f"--data.assignment={people}") != key


def test_a_specification_comes_back_from_its_folder(tmp_path):
    run = replace(make_run(tmp_path, "a"), originals=tmp_path / "originals", resumes=True)
    run.prepare()
    again = RunSpec.read(run.folder)
    assert (again, again.key, again.command) == (run, run.key, run.command)


def test_a_table_named_relative_to_the_root_counts_by_its_content(tmp_path):
    def key():
        data = {"class_path": "gli.data.FaceTable", "init_args": {"root": str(tmp_path), "csv": "faces.csv"}}
        return RunSpec({}, data, {}, {}, 0).key

    (tmp_path / "faces.csv").write_text("file,identity\na.png,a\n")
    before = key()
    (tmp_path / "faces.csv").write_text("file,identity\na.png,b\n")
    assert key() != before


def test_the_settings_of_a_run_specify_the_same_run_again(tmp_path):
    path = tmp_path / "config.yaml"
    spec = specify(["--model=FineTune", *TINY])
    contents = {**spec.settings, "originals": str(tmp_path / "kept"), "ckpt_path": None, "weights_only": None}
    path.write_text(yaml.safe_dump(contents))
    again = specify([f"--config={path}"], originals=tmp_path / "other")
    assert (again.key, again.originals) == (spec.key, tmp_path / "kept")
    with pytest.raises(SettingError, match="ckpt_path is x; several runs cannot share it"):
        specify([f"--config={path}", "--ckpt_path=x"])


def test_a_run_that_was_asked_to_end_early_failed_unless_that_counts(tmp_path):
    class Stopping(Recorder):
        def submit(self, arguments, *, log):
            future = super().submit(arguments, log=log)
            (Path(arguments[-1]) / "done.json").rename(Path(arguments[-1]) / "stopped.json")
            return future

    run = make_run(tmp_path, "a")
    (record,) = execute([run], Stopping())
    assert (record.state, record.run) == ("failed", None)
    assert failures([record]) == [f"a, seed 0: was asked to end early ({run.folder / 'stop'})"]
    assert [each.state for each in execute([run], Stopping(), stopped_counts=True)] == ["stopped"]


def test_callbacks_of_the_user_come_before_those_of_every_run():
    given = L.Callback()
    method = SimpleNamespace(default_epochs=lambda recipe: 1)
    assert _chosen({"callbacks": [given]}, method, None)["callbacks"][0] is given
