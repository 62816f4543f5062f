"""Run the cells of a benchmark, several at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gli.commands.cells import Cell
from gli.errors import GLIError
from gli.system.children import end_with_parent
from gli.system.console import console

LOG = "log.txt"
#: States of a cell.
WAITING, RUNNING, DONE, FAILED = ".", "running", "done", "failed"
#: Seconds between two looks at the running processes.
POLL_SECONDS = 0.2


def run_cell(cell: Cell, threads: int, device: int | None) -> None:
    """Run a cell; call in a process of its own, whose output goes into the log of the cell.

    Args:
        cell: The cell.
        threads: Number of threads of torch.
        device: Number of the GPU to use; None to leave the choice to torch.

    Raises:
        SystemExit: With status 2 after an error that the user can correct, and 1 after any other.
    """
    end_with_parent()
    shutil.rmtree(cell.folder, ignore_errors=True)
    cell.folder.mkdir(parents=True)
    log = os.open(cell.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    import torch

    from gli.commands.fit import run
    from gli.commands.main import silence_lightning

    torch.set_num_threads(threads)
    silence_lightning()
    start = time.perf_counter()
    try:
        command = run(cell.arguments)
    except (GLIError, SystemExit) as error:
        print(f"gli: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    cell.finish(Path(str(command.trainer.log_dir)), time.perf_counter() - start)


def reason_of_failure(cell: Cell) -> str:
    """Return a message for a failed cell: the last line of its log."""
    lines: list[str] = []
    with suppress(OSError):
        lines = (cell.folder / LOG).read_text(errors="replace").strip().splitlines()
    reason = lines[-1].strip() if lines else "ended without a message"
    return f"{cell.title}, seed {cell.seed}: {reason} ({cell.folder / LOG})"


class Board:
    """The state of each cell, and an estimate of the time left."""

    def __init__(self, cells: Sequence[Cell], jobs: int) -> None:
        self.cells, self.jobs = cells, jobs
        self.states = {cell: WAITING if cell.run is None else DONE for cell in cells}
        self._start = time.monotonic()
        self._starts: dict[Cell, float] = {}
        self._durations: list[float] = []

    def start(self, cell: Cell) -> None:
        """Mark a cell as running."""
        self.states[cell], self._starts[cell] = RUNNING, time.monotonic()

    def end(self, cell: Cell, status: int) -> None:
        """Mark a cell as done or failed, by the exit status of its process."""
        self.states[cell] = DONE if status == 0 and cell.run is not None else FAILED
        self._durations.append(time.monotonic() - self._starts[cell])

    def those(self, *states: str) -> list[Cell]:
        """Return the cells that are in one of some states."""
        return [cell for cell, state in self.states.items() if state in states]

    def is_ready(self, cell: Cell) -> bool:
        """Return whether no other cell still has to train the original that a cell starts from."""
        if cell.name == "Original":
            return True
        wanted = ("Original", cell.seed, cell.backbone)
        return not any((other.name, other.seed, other.backbone) == wanted for other in self.those(WAITING, RUNNING))

    def time_left(self) -> str:
        """Return a line about the time so far and the time left, estimated from the cells that have ended."""
        now = time.monotonic()
        line = f"{len(self.those(DONE, FAILED))} of {len(self.cells)} cells, {_minutes(now - self._start)} so far"
        left = len(self.those(WAITING, RUNNING))
        if not left or not self._durations:
            return line
        mean = sum(self._durations) / len(self._durations)
        spent = sum(min(mean, now - self._starts[cell]) for cell in self.those(RUNNING))
        return f"{line}, about {_minutes(max(0.0, left * mean - spent) / self.jobs)} left"

    def __rich__(self) -> Group:
        """Return the grid: a row for each method, a column for each seed."""
        table = Table(box=None)
        table.add_column("")
        seeds = sorted({cell.seed for cell in self.cells})
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        for title in dict.fromkeys(cell.title for cell in self.cells):
            states = {cell.seed: self._text(cell) for cell in self.cells if cell.title == title}
            table.add_row(title, *(states.get(seed, "") for seed in seeds))
        return Group(table, Text(self.time_left()))

    def _text(self, cell: Cell) -> str:
        state = self.states[cell]
        return _minutes(time.monotonic() - self._starts[cell]) if state == RUNNING else state


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _number_of_gpus() -> int:
    import torch

    return torch.cuda.device_count()  # Does not initialise CUDA, which a forked process could not use.


def run_cells(cells: Sequence[Cell], jobs: int) -> list[str]:
    """Run the cells that are not done yet.

    Args:
        cells: The cells.
        jobs: Number of cells to run at once; each gets its share of the processor's cores, and of the GPUs.

    Returns:
        A message for each cell that failed.
    """
    board = Board(cells, jobs)
    # The server imports everything once and forks a process for each cell: no start-up time, and no shared state.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gli.commands.fit"])
    gpus, threads = _number_of_gpus(), max(1, (os.cpu_count() or 1) // jobs)
    running: dict[int, tuple[BaseProcess, Cell]] = {}
    live = Live(board, console=console, refresh_per_second=1) if console.is_terminal else None
    try:
        if live:
            live.start()
        while board.those(WAITING, RUNNING):
            for slot in sorted(set(range(jobs)) - set(running)):
                cell = next(filter(board.is_ready, board.those(WAITING)), None)
                if cell is None:
                    break
                device = slot % gpus if gpus else None
                process: BaseProcess = context.Process(target=run_cell, args=(cell, threads, device))
                process.start()
                board.start(cell)
                running[slot] = (process, cell)
            time.sleep(POLL_SECONDS)
            for slot, (process, cell) in list(running.items()):
                if process.exitcode is not None:
                    del running[slot]
                    board.end(cell, process.exitcode)
                    if live is None:
                        line = f"{cell.title}, seed {cell.seed}: {board.states[cell]}. {board.time_left()}"
                        console.print(line, soft_wrap=True)
    finally:
        for process, _ in running.values():
            process.terminate()
        if live:
            live.stop()
    return [reason_of_failure(cell) for cell in board.those(FAILED)]
