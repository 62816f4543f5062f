"""Run jobs on an executor, each once, with one live table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gli.engine.executor import Executor, Resources
from gli.engine.job import Job
from gli.system.console import console

#: States of a job.
WAITING, RUNNING, DONE, FAILED = ".", "running", "done", "failed"
#: Seconds between two looks at the running jobs.
POLL_SECONDS = 0.1
#: Number of columns up to which the table shows each job; with more, it counts the finished ones.
MOST_COLUMNS = 10


class Board:
    """The state of each job, and an estimate of the time left.

    Args:
        jobs: All jobs, in the order in which they start.
        slots: Number of jobs at once, for the estimate.
    """

    def __init__(self, jobs: Sequence[Job], slots: int) -> None:
        self.jobs, self.slots = jobs, slots
        self.states = {job: WAITING if job.run is None else DONE for job in jobs}
        self._start = time.monotonic()
        self._starts: dict[Job, float] = {}
        self._durations: list[float] = []

    def start(self, job: Job) -> None:
        """Mark a job as running."""
        self.states[job], self._starts[job] = RUNNING, time.monotonic()

    def end(self, job: Job, status: int) -> None:
        """Mark a job as done or failed, by its exit status and its record."""
        self.states[job] = DONE if status == 0 and job.run is not None else FAILED
        self._durations.append(time.monotonic() - self._starts[job])

    def those(self, *states: str) -> list[Job]:
        """Return the jobs that are in one of some states."""
        return [job for job, state in self.states.items() if state in states]

    def is_ready(self, job: Job) -> bool:
        """Return whether all jobs that this one waits for have ended."""
        return not job.after & {other.folder for other in self.those(WAITING, RUNNING)}

    def time_left(self) -> str:
        """Return a line about the time so far and the time left, estimated from the jobs that have ended."""
        now = time.monotonic()
        line = f"{len(self.those(DONE, FAILED))} of {len(self.jobs)} runs, {_minutes(now - self._start)} so far"
        left = len(self.those(WAITING, RUNNING))
        if not left or not self._durations:
            return line
        mean = sum(self._durations) / len(self._durations)
        spent = sum(min(mean, now - self._starts[job]) for job in self.those(RUNNING))
        return f"{line}, about {_minutes(max(0.0, left * mean - spent) / self.slots)} left"

    def __rich__(self) -> Group:
        """Return the table: a row for each method, a column for each seed, or counts."""
        columns = sorted({job.column for job in self.jobs}, key=lambda name: (len(name), name))
        table = Table(box=None)
        table.add_column("")
        counted = len(columns) > MOST_COLUMNS
        for column in ["done", "running", "failed", "of"] if counted else columns:
            table.add_column(column, justify="right")
        for row in dict.fromkeys(job.row for job in self.jobs):
            jobs = [job for job in self.jobs if job.row == row]
            if counted:
                count = Counter(self.states[job] for job in jobs)
                table.add_row(row, *(str(count[state]) for state in (DONE, RUNNING, FAILED)), str(len(jobs)))
            else:
                texts = {job.column: self._text(job) for job in jobs}
                table.add_row(row, *(texts.get(column, "") for column in columns))
        return Group(table, Text(self.time_left()))

    def _text(self, job: Job) -> str:
        state = self.states[job]
        return _minutes(time.monotonic() - self._starts[job]) if state == RUNNING else state


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run_jobs(
    jobs: Sequence[Job], executor: Executor, *, slots: int = 1, resources: Resources = Resources(gpus=None)
) -> list[str]:
    """Run the jobs that are not finished yet.

    Args:
        jobs: The jobs, in the order in which they start.
        executor: Runs them. It is closed at the end, also after an interruption.
        slots: Number of jobs to submit at once.
        resources: Share of the machine that each job gets.

    Returns:
        A message for each job that failed.
    """
    board = Board(jobs, slots)
    running: dict[Job, Future[int]] = {}
    live = Live(board, console=console, refresh_per_second=1) if console.is_terminal else None
    try:
        if live:
            live.start()
        while board.those(WAITING, RUNNING):
            for job in board.those(WAITING):
                if len(running) < slots and board.is_ready(job):
                    job.prepare()
                    running[job] = executor.submit(job.command, log=job.log, resources=resources)
                    board.start(job)
            time.sleep(POLL_SECONDS)
            for job, future in list(running.items()):
                if future.done():
                    del running[job]
                    board.end(job, future.result() if future.exception() is None else 1)
                    if live is None:
                        console.print(f"{job.title}: {board.states[job]}. {board.time_left()}", soft_wrap=True)
    finally:
        executor.close()
        if live:
            live.stop()
    return [job.reason_of_failure() for job in board.those(FAILED)]
