from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from gli.engine.board import Board, run_jobs
from gli.engine.executor import Executor, Resources
from gli.engine.job import Job, finish, read_arguments
from gli.engine.local import Local


def make_job(folder: Path, row: str, column: str = "seed 0", after: Path | None = None) -> Job:
    return Job(row, column, folder / f"{row}-{column}", ("fit",), "key", frozenset({after} if after else ()))


def test_time_left_is_estimated_from_the_jobs_that_have_ended(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("gli.engine.board.time.monotonic", lambda: clock[0])
    jobs = [make_job(tmp_path, name) for name in "abcd"]
    board = Board(jobs, slots=1)
    assert board.time_left() == "0 of 4 runs, 0:00 so far"
    board.start(jobs[0])
    clock[0] += 60
    board.end(jobs[0], 1)
    board.start(jobs[1])
    clock[0] += 20
    assert board.time_left() == "1 of 4 runs, 1:20 so far, about 2:40 left"


def test_a_job_that_ends_well_without_a_finished_run_has_failed(tmp_path):
    job = make_job(tmp_path, "GLI")
    board = Board([job], slots=1)
    board.start(job)
    board.end(job, 0)
    assert board.states == {job: "failed"}


def test_jobs_wait_until_those_before_them_have_ended(tmp_path):
    original = make_job(tmp_path, "Original")
    gli, other = make_job(tmp_path, "GLI", after=original.folder), make_job(tmp_path, "LI", after=tmp_path / "done")
    board = Board([original, gli, other], slots=2)
    assert [job for job in board.jobs if board.is_ready(job)] == [original, other]
    board.start(original)
    assert not board.is_ready(gli)
    board.end(original, 1)  # A failed original is trained again by the run that needs it.
    assert board.is_ready(gli)


def test_the_reason_of_a_failure_is_the_last_line_of_the_log(tmp_path):
    job = make_job(tmp_path, "GLI, resnet18", "seed 3")
    assert job.reason_of_failure().startswith("GLI, resnet18, seed 3: ended without a message")
    job.folder.mkdir()
    job.log.write_bytes(b"first\ngli: model.k is 99\xff\n\n")
    assert job.reason_of_failure() == f"GLI, resnet18, seed 3: gli: model.k is 99\ufffd ({job.log})"


@pytest.mark.parametrize("count", [3, 12])
def test_the_table_shows_each_job_or_counts_many(tmp_path, count):
    jobs = [make_job(tmp_path, "GLI", f"seed {number}") for number in range(count)]
    board = Board(jobs, slots=1)
    board.start(jobs[0])
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(board)
    text = console.export_text()
    assert ("seed 2" in text) is (count == 3)
    assert f"0 of {count} runs" in text


class Recorder:
    """Runs no command, but records a finished run for it."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.closed = False

    def submit(self, command, *, log, resources=Resources()):
        from concurrent.futures import Future

        self.commands.append(command)
        folder = Path(command[-1])
        (folder / "run").mkdir()
        (folder / "run/metrics.csv").touch()
        finish(folder, read_arguments(folder)[1], folder / "run", 1.0)
        future = Future()
        future.set_result(0)
        return future

    def close(self) -> None:
        self.closed = True


def test_finished_jobs_are_not_repeated_and_the_executor_is_closed(tmp_path):
    jobs = [make_job(tmp_path, name) for name in "ab"]
    first, second = Recorder(), Recorder()
    assert run_jobs(jobs, first) == []
    assert [command[-1] for command in first.commands] == [str(job.folder) for job in jobs]
    assert run_jobs(jobs, second) == []
    assert second.commands == []
    assert first.closed
    assert second.closed


def test_a_job_of_wrong_settings_fails_with_its_message_and_the_next_one_runs(tmp_path):
    wrong = Job("GLY", "seed 0", tmp_path / "wrong", ("fit", "--model=GLY"), "key")
    executor: Executor = Local(1)
    (failure,) = run_jobs([wrong], executor)
    assert failure.startswith("GLY, seed 0: gli: --model GLY: no such class. Did you mean 'GLI'?")
