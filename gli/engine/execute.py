"""The scheduler: execute runs, each key once, here or on a cluster, with one live table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gli.errors import SettingError
from gli.runs.spec import RunSpec
from gli.system.console import console

#: States of a run.
WAITING, RUNNING, DONE, STOPPED, FAILED = ".", "running", "done", "stopped", "failed"
#: Seconds between two looks at the running processes, and between two calls of ``watch`` for one run.
POLL_SECONDS, WATCH_SECONDS = 0.1, 1.0
#: Number of columns up to which the table shows each run; with more, it counts the finished ones.
MOST_COLUMNS = 10
#: Script that runs a folder, and the module with its imports, from which local runs are forked.
SCRIPT, PRELOADED = Path(__file__).with_name("job.py"), "gli.engine.fit"


class Executor(Protocol):
    """The seam between runs and the machines that run them; it runs as many at once as there is room for."""

    def submit(self, arguments: Sequence[str], *, log: Path) -> Future[int]:
        """Run ``python -P ARGUMENTS`` as soon as there is room, with its output in a log file, which is replaced.

        The future has the exit status; negative for the number of the signal that ended the script.
        """
        ...

    def close(self) -> None:
        """Stop all jobs, running or waiting, and leave no process behind."""
        ...


def make_executor(jobs: int = 1, cluster: str | None = None) -> Executor:
    """Return the executor of a command line: local processes, or a Ray cluster.

    ``cluster`` is an address, or ``local`` for a private one on this machine. Raises SettingError if ``jobs`` is less
    than 1, or Ray is not installed.
    """
    if jobs < 1:
        raise SettingError(f"--jobs is {jobs}; it must be at least 1.")
    if cluster is None:
        from gli.engine.local import Local

        return Local(jobs, preload=[PRELOADED])
    from gli.engine.cluster import Cluster

    return Cluster(cluster, jobs)


@dataclass(frozen=True)
class Record:
    """How a run ended."""

    spec: RunSpec  # The run.
    state: str  # ``DONE``, ``STOPPED`` (asked to end early) or ``FAILED``.
    run: Path | None  # Folder of its log; None where it failed.

    @classmethod
    def of(cls, spec: RunSpec, stopped_counts: bool = True) -> Record:
        """Return the record in the folder of a run that has ended; see :func:`execute`."""
        run, stopped = spec.run, spec.stopped_run if stopped_counts else None
        return cls(spec, DONE if run else STOPPED if stopped else FAILED, run or stopped)


def failures(records: Iterable[Record]) -> list[str]:
    """Return a message for each run that failed."""
    return [record.spec.reason_of_failure() for record in records if record.state == FAILED]


class Board:
    """The state of each run, and an estimate of the time left."""

    def __init__(self, specs: Sequence[RunSpec], slots: int) -> None:
        self.specs, self.slots = specs, slots
        self.states = {spec.folder: WAITING if spec.run is None else DONE for spec in specs}
        self._start = time.monotonic()
        self._starts: dict[Path, float] = {}
        self._durations: list[float] = []

    def start(self, spec: RunSpec) -> None:
        """Mark a run as running."""
        self.states[spec.folder], self._starts[spec.folder] = RUNNING, time.monotonic()

    def end(self, record: Record) -> None:
        """Mark a run as ended."""
        self.states[record.spec.folder] = record.state
        self._durations.append(time.monotonic() - self._starts[record.spec.folder])

    def time_left(self) -> str:
        """Return a line about the time so far and the time left, estimated from the runs that have ended."""
        now, count = time.monotonic(), Counter(self.states.values())
        left = count[WAITING] + count[RUNNING]
        line = f"{len(self.states) - left} of {len(self.states)} runs, {_minutes(now - self._start)} so far"
        if not left or not self._durations:
            return line
        mean = sum(self._durations) / len(self._durations)
        running = [folder for folder, state in self.states.items() if state == RUNNING]
        spent = sum(min(mean, now - self._starts[folder]) for folder in running)
        return f"{line}, about {_minutes(max(0.0, left * mean - spent) / self.slots)} left"

    def __rich__(self) -> Group:
        """Return the table: a row for each method, a column for each seed, or counts."""
        columns = sorted({spec.column for spec in self.specs}, key=lambda name: (len(name), name))
        table = Table(box=None)
        table.add_column("")
        counted = len(columns) > MOST_COLUMNS
        for column in ["done", "running", "failed", "of"] if counted else columns:
            table.add_column(column, justify="right")
        for row in dict.fromkeys(spec.row for spec in self.specs):
            specs = [spec for spec in self.specs if spec.row == row]
            if counted:
                count = Counter(self.states[spec.folder] for spec in specs)
                table.add_row(row, *(str(count[state]) for state in (DONE, RUNNING, FAILED)), str(len(specs)))
            else:
                texts = {spec.column: self._text(spec) for spec in specs}
                table.add_row(row, *(texts.get(column, "") for column in columns))
        return Group(table, Text(self.time_left()))

    def _text(self, spec: RunSpec) -> str:
        state = self.states[spec.folder]
        return _minutes(time.monotonic() - self._starts[spec.folder]) if state == RUNNING else state


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@dataclass
class _Running:
    """A running process, and the runs that it is for: more than one if the same run is asked for again."""

    specs: list[RunSpec]
    future: Future[int]
    watched: float = field(default_factory=time.monotonic)


def execute(
    specs: Iterable[RunSpec],
    executor: Executor,
    *,
    slots: int = 1,
    ended: Callable[[Record], None] | None = None,
    watch: Callable[[RunSpec], None] | None = None,
    stopped_counts: bool = False,
) -> list[Record]:
    """Execute runs that are not finished yet; a finished run is never repeated.

    Args:
        specs: The runs: a sequence, or an iterator that is asked for the next run whenever there is room for one.
        executor: Executes them; closed at the end, also after an interruption.
        slots: Number of runs at once.
        ended: Called for each run that has ended, also for one that was finished before.
        watch: Called about once a second for each running run; it may ask it to end (:meth:`RunSpec.stop`).
        stopped_counts: Whether a run that was asked to end early counts as finished; otherwise it failed.

    Returns:
        The records in the order in which the runs ended; those of a sequence in its order.
    """
    listed = list(specs) if isinstance(specs, Sequence) else None
    waiting, more = list(listed or ()), iter(() if listed is not None else specs)
    board = None if listed is None else Board(listed, slots)
    live = Live(board, console=console, refresh_per_second=1) if board and console.is_terminal else None
    running: dict[Path, _Running] = {}
    records: list[Record] = []

    def next_ready() -> RunSpec | None:
        """Return the first run whose predecessors have ended; None where there is none at present."""
        pending = {*running, *(spec.folder for spec in waiting)}
        ready = next((place for place, spec in enumerate(waiting) if not spec.after & pending), None)
        return next(more, None) if ready is None else waiting.pop(ready)

    def end(spec: RunSpec) -> None:
        records.append(Record.of(spec, stopped_counts))
        if ended is not None:
            ended(records[-1])

    try:
        if live:
            live.start()
        while True:
            while len(running) < slots and (spec := next_ready()) is not None:
                if spec.folder in running:
                    running[spec.folder].specs.append(spec)
                elif spec.run is not None or (stopped_counts and spec.stopped_run is not None):
                    end(spec)
                else:
                    spec.prepare()
                    future = executor.submit([str(SCRIPT), str(spec.folder.absolute())], log=spec.log)
                    running[spec.folder] = _Running([spec], future)
                    if board:
                        board.start(spec)
            if not running:
                break
            time.sleep(POLL_SECONDS)
            for folder, process in list(running.items()):
                if process.future.done():
                    del running[folder]
                    for spec in process.specs:
                        end(spec)
                    if board:
                        board.end(records[-1])
                        if live is None:
                            title, state = process.specs[0].title, records[-1].state
                            console.print(f"{title}: {state}. {board.time_left()}", soft_wrap=True)
                elif watch is not None and time.monotonic() - process.watched > WATCH_SECONDS:
                    process.watched = time.monotonic()
                    watch(process.specs[0])
    finally:
        executor.close()
        if live:
            live.stop()
    if listed is not None:
        order = {id(spec): place for place, spec in enumerate(listed)}
        records.sort(key=lambda record: order[id(record.spec)])
    return records
