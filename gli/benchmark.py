"""A grid of methods and seeds on one data set, and the report of what came out.

    gli benchmark --config configs/benchmark_synthetic.yaml --methods GLI SCRUB --seeds 0 1 --jobs 2

Each cell of the grid is an ordinary run of ``configs/<method>_<data>.yaml`` in a folder of its own, in a process of its
own. A cell that is done is not run again unless its settings have changed; one that was killed begins anew; one that
fails is named in the report, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gli.cli import carry_out
from gli.data.faces import digest
from gli.data.files import inside, read_yaml, replacing, writable
from gli.errors import DataError, GLIError, SettingError, did_you_mean
from gli.processes import end_with_parent
from gli.progress import console
from gli.report import SELECTS, write
from gli.results import read_run
from gli.runs import snake_case

DONE, LOG = "done.json", "log.txt"
_FILE_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Grid:
    """What ``configs/benchmark_<data>.yaml`` says.

    Attributes:
        data: Data set: the cells' configurations are ``<method>_<data>.yaml`` beside the benchmark's.
        methods: The methods by their names, with settings of each by dotted name; the file may give a list of names.
        seeds: The seeds.
        seed_data: Whether a seed draws other people too (``data.seed``), as drawn faces can.
        backbones: Backbones, each a grid of its own; none for that of the configurations.
        settings: Settings of all cells, by dotted name; those of a method or variant go before.
        variants: Further cells: a name, and the ``config`` and ``settings`` that it stands for.
        select: Which audit of a run is reported, see :func:`gli.results.choose`.
        draws: Resamples of the people for the limits of every run.
    """

    data: str
    methods: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int] = (0,)
    seed_data: bool = False
    backbones: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    select: str = "final_score"
    draws: int = 0


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        name: The method, or the variant.
        seed: The seed.
        backbone: The backbone; None for that of the configuration.
        config: The configuration.
        arguments: What the command line adds to it.
        folder: Where it runs.
    """

    name: str
    seed: int
    backbone: str | None
    config: Path
    arguments: tuple[str, ...]
    folder: Path

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name if self.backbone is None else f"{self.name}, {self.backbone}"

    @property
    def key(self) -> str:
        """A hash of all that the run depends on: its settings and the files that they are in."""
        texts = [self.config.read_text()]
        texts += [
            (self.config.parent / name).read_text()
            for name in re.findall(r"^\w+: (\S+\.yaml)$", texts[0], re.MULTILINE)
        ]
        # Where it runs does not matter.
        return digest(
            *texts, *(one for one in self.arguments if "default_root_dir" not in one and "originals" not in one)
        )

    def done(self) -> dict[str, Any] | None:
        """What is known of the finished run; None where there is none with these settings."""
        with suppress(OSError, ValueError, TypeError, LookupError, RecursionError, DataError):  # Whatever it may hold.
            found = json.loads((self.folder / DONE).read_text())
            run = inside(self.folder, found["run"], str(self.folder / DONE))
            if found["key"] == self.key and (self.folder / run / "metrics.csv").exists():
                return found
        return None


def read_grid(path: Path) -> Grid:
    """Read a benchmark's configuration.

    Raises:
        SettingError: If the file is absent or says something that a benchmark has not.
    """
    try:
        found = read_yaml(path, "the configuration of a benchmark")
    except DataError as error:
        raise SettingError(str(error)) from error
    if not isinstance(found, Mapping):
        raise SettingError(
            f"{path}: holds no settings. It names data, methods and seeds; see configs/benchmark_synthetic.yaml."
        )
    known = Grid.__dataclass_fields__
    for name in found:
        if name not in known:
            raise SettingError(
                f"{path}: there is no setting {name!r}.{did_you_mean(str(name), known)} Known: {', '.join(known)}."
            )
    if isinstance(found.get("methods"), list):
        found = {**found, "methods": {str(name): {} for name in found["methods"]}}
    kinds = {
        "data": str,
        "methods": dict,
        "seeds": list,
        "seed_data": bool,
        "backbones": list,
        "settings": dict,
        "variants": dict,
        "select": str,
        "draws": int,
    }
    for name, kind in kinds.items():
        if name not in found and name in ("data", "methods"):
            raise SettingError(f"{path}: {name} is missing.")
        if name in found and not _is(found[name], kind):
            raise SettingError(f"{path}: {name} is {found[name]!r}, no {kind.__name__}.")
    for name in ("methods", "variants"):
        for one, said in found.get(name, {}).items():
            if not isinstance(one, str) or not isinstance(said, dict):
                raise SettingError(f"{path}: {name} has {one!r}: {said!r}; it takes a name and settings.")
    for one, what in found.get("variants", {}).items():
        if not isinstance(what.get("config"), str) or not isinstance(what.get("settings", {}), dict):
            raise SettingError(
                f"{path}: variants has {one!r}: {what!r}; it takes the name of a config and settings by name."
            )
    if not _FILE_NAME.fullmatch(found["data"]):
        raise SettingError(f"{path}: data is {found['data']!r}; it is the last part of the configurations' names.")
    for seed in found.get("seeds", []):
        if not _is(seed, int) or not 0 <= seed < 2**32:
            raise SettingError(f"{path}: seeds has {seed!r}, no whole number from 0 to {2**32 - 1}.")
    for backbone in found.get("backbones", []):
        if not isinstance(backbone, str):
            raise SettingError(f"{path}: backbones has {backbone!r}, no name.")
    if found.get("draws", 0) < 0:
        raise SettingError(f"{path}: draws is {found['draws']}; it must not be negative.")
    every = {f"methods: {name}": own for name, own in found["methods"].items()}
    every |= {f"variants: {name}": what.get("settings", {}) for name, what in found.get("variants", {}).items()}
    for where, own in {**every, "settings": found.get("settings", {})}.items():
        _check_settings(f"{path}, {where}", own)
    return Grid(**found)


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a kind; yes and no are no numbers here."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _check_settings(where: str, settings: Mapping[Any, Any]) -> None:
    """Refuse settings that cannot be handed on by a command line."""
    for name, value in settings.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name):
            raise SettingError(f"{where}: {name!r} is no setting's name. It looks like model.lr.")
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{where}: {name} is {value!r}: {error}. Put it in quotes.") from error


def cells(grid: Grid, configs: Path, output: Path, originals: Path) -> list[Cell]:
    """The cells of a grid, seed by seed, the originals first.

    Args:
        grid: The grid.
        configs: Folder of the configurations.
        output: Folder of the benchmark.
        originals: Folder of the original models, which the cells share.

    Raises:
        SettingError: If a method has no configuration, or two cells would share a folder.
    """
    found = []
    wanted: dict[str, tuple[str, Mapping[str, Any]]]
    wanted = {name: (f"{snake_case(name)}_{grid.data}", own) for name, own in grid.methods.items()}
    wanted |= {name: (what.get("config", ""), what.get("settings", {})) for name, what in grid.variants.items()}
    for seed in grid.seeds:
        for backbone in grid.backbones or (None,):
            for name, (config, own) in sorted(wanted.items(), key=lambda item: item[0] != "Original"):
                path = configs / f"{config}.yaml"
                if not _FILE_NAME.fullmatch(config) or not os.path.isfile(path):
                    ending = f"_{grid.data}"
                    known = [
                        one.stem.removesuffix(ending) for one in configs.glob("*.yaml") if one.stem.endswith(ending)
                    ]
                    hint = did_you_mean(snake_case(name), known)
                    raise SettingError(f"{name}: there is no configuration {path}.{hint}")
                settings: dict[str, Any] = {**grid.settings, **own}
                settings |= {"data.seed": seed} if grid.seed_data else {}
                settings |= {"model.backbone": backbone} if backbone else {}
                stem = re.sub(r"[^A-Za-z0-9]+", "_", f"{name} {backbone or ''}").strip("_")
                folder = output / "cells" / f"{stem}-seed{seed}"
                places = {"trainer.default_root_dir": folder, "originals": originals}
                said = {"seed_everything": seed, "trainer.enable_progress_bar": False, **settings, **places}
                arguments = tuple(
                    f"--{key}={json.dumps(value) if not isinstance(value, str | Path) else value}"
                    for key, value in said.items()
                )
                found.append(Cell(name, seed, backbone, path, arguments, folder))
    if len({cell.folder for cell in found}) < len(found):
        raise SettingError(
            "Two cells of the grid have the same name and seed; name each method, variant and seed once."
        )
    return found


def run_cell(cell: Cell, threads: int, device: int | None) -> None:
    """Run one cell, in a process of its own; what it says goes into its log.

    The process ends with status 0, 2 after a mistake that the user can mend, 1 after any other.
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

    from gli.cli import quiet
    from gli.command import run

    torch.set_num_threads(threads)
    quiet()
    started = time.perf_counter()
    try:
        command = run(["fit", f"--config={cell.config}", *cell.arguments])
    except (GLIError, SystemExit) as error:
        print(f"gli: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    folder = Path(str(command.trainer.log_dir)).resolve().relative_to(cell.folder.resolve())
    result = {"key": cell.key, "run": str(folder), "seconds": time.perf_counter() - started}
    with replacing(cell.folder / DONE) as aside:
        aside.write_text(json.dumps(result))


def why(cell: Cell) -> str:
    """The last line that a failed cell has said."""
    with suppress(OSError):
        said = (cell.folder / LOG).read_text(errors="replace").strip().splitlines()
        if said:
            return f"{cell.title}, seed {cell.seed}: {said[-1].strip()} ({cell.folder / LOG})"
    return f"{cell.title}, seed {cell.seed}: died without a word ({cell.folder / LOG})"


class Board:
    """The grid as it stands, and how long it will take."""

    def __init__(self, grid: Sequence[Cell], jobs: int) -> None:
        self.grid, self.jobs, self.begun = grid, jobs, time.monotonic()
        self.states: dict[Cell, str] = {cell: "done" if cell.done() else "" for cell in grid}
        self.took: list[float] = []
        self.started: dict[Cell, float] = {}

    def start(self, cell: Cell) -> None:
        """A cell has begun."""
        self.states[cell], self.started[cell] = "runs", time.monotonic()

    def end(self, cell: Cell, status: int) -> None:
        """A cell has ended."""
        self.states[cell] = "done" if status == 0 and cell.done() else "failed"
        self.took.append(time.monotonic() - self.started[cell])

    def time_left(self) -> str:
        """How long the rest will take, by what cells have taken so far."""
        left = sum(state in ("", "runs") for state in self.states.values())
        ended = sum(state in ("done", "failed") for state in self.states.values())
        line = f"{ended} of {len(self.grid)} cells, {_minutes(time.monotonic() - self.begun)} so far"
        if not left or not self.took:
            return line
        mean = sum(self.took) / len(self.took)
        running = sum(
            min(mean, time.monotonic() - self.started[cell]) for cell, state in self.states.items() if state == "runs"
        )
        return f"{line}, about {_minutes(max(0.0, left * mean - running) / self.jobs)} left"

    def __rich__(self) -> Group:
        """The grid: a line for each method, a column for each seed."""
        table = Table(box=None)
        seeds = sorted({cell.seed for cell in self.grid})
        table.add_column("")
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        for name in dict.fromkeys(cell.title for cell in self.grid):
            states = {cell.seed: self._say(cell) for cell in self.grid if cell.title == name}
            table.add_row(name, *(states.get(seed, "") for seed in seeds))
        return Group(table, Text(self.time_left()))

    def _say(self, cell: Cell) -> str:
        state = self.states[cell]
        return _minutes(time.monotonic() - self.started[cell]) if state == "runs" else state or "."


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def devices() -> int:
    """Number of GPUs, without waking them."""
    import torch

    return torch.cuda.device_count()


def work(grid: Sequence[Cell], jobs: int) -> list[str]:
    """Run what is not done yet, so many cells at a time; a message for each that failed."""
    board = Board(grid, jobs)
    waiting = [cell for cell in grid if not board.states[cell]]
    # A server that has imported everything forks a fresh process for each cell: no start-up time, and nothing shared.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gli.command"])
    gpus, threads = devices(), max(1, (os.cpu_count() or 1) // jobs)
    running: dict[int, tuple[BaseProcess, Cell]] = {}
    live = Live(board, console=console, refresh_per_second=1) if console.is_terminal else None
    try:
        if live:
            live.start()
        while waiting or running:
            for slot in set(range(jobs)) - set(running):
                cell = next((cell for cell in waiting if _ready(cell, grid, board)), None)
                if cell is None:
                    break
                waiting.remove(cell)
                process: BaseProcess = context.Process(
                    target=run_cell, args=(cell, threads, slot % gpus if gpus else None)
                )
                process.start()
                board.start(cell)
                running[slot] = (process, cell)
            time.sleep(0.2)
            for slot, (ended, cell) in list(running.items()):
                if ended.exitcode is not None:
                    del running[slot]
                    board.end(cell, ended.exitcode)
                    if live is None:
                        console.print(
                            f"{cell.title}, seed {cell.seed}: {board.states[cell]}. {board.time_left()}", soft_wrap=True
                        )
    finally:
        for unfinished, _ in running.values():
            unfinished.terminate()
        if live:
            live.stop()
    return [why(cell) for cell in grid if board.states[cell] == "failed"]


def _ready(cell: Cell, grid: Sequence[Cell], board: Board) -> bool:
    """Whether the original that a cell needs is not just being trained by another cell."""
    if cell.name == "Original":
        return True
    originals = (one for one in grid if (one.name, one.seed, one.backbone) == ("Original", cell.seed, cell.backbone))
    return all(board.states[one] in ("done", "failed") for one in originals)


def benchmark(
    config: Path,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    backbones: Sequence[str] | None = None,
    jobs: int = 1,
    output: Path | None = None,
    originals: Path = Path("lightning_logs/originals"),
    select: str | None = None,
) -> tuple[Path, list[str]]:
    """Run a benchmark and report it.

    Args:
        config: Its configuration.
        methods: Methods and variants to be run, instead of all.
        seeds: Seeds, instead of the configuration's.
        backbones: Backbones, instead of the configuration's.
        jobs: Cells at a time.
        output: Folder of cells and report; ``benchmark_<data>`` by default.
        originals: Folder of the original models.
        select: Which audit is reported, instead of the configuration's.

    Returns:
        The folder of the report, and a message for every cell without a result.

    Raises:
        GLIError: If the configuration is wrong, or no cell gave a result.
    """
    grid = read_grid(config)
    if jobs < 1:
        raise SettingError(f"--jobs is {jobs}; it must be at least 1.")
    if (select or grid.select) not in SELECTS:
        raise SettingError(f"select is {select or grid.select!r}; it is one of {', '.join(SELECTS)}.")
    known = [*grid.methods, *grid.variants]
    for name in methods or ():
        if name not in known:
            raise SettingError(
                f"--methods: {config} has no {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
    chosen = Grid(
        **{
            **grid.__dict__,
            "methods": {name: own for name, own in grid.methods.items() if not methods or name in methods},
            "variants": {name: what for name, what in grid.variants.items() if not methods or name in methods},
            "seeds": seeds or grid.seeds,
            "backbones": backbones or grid.backbones,
        }
    )
    folder = (output or Path(f"benchmark_{grid.data}")).absolute()
    with writable(folder, what="the benchmark", setting="--output"):
        folder.mkdir(parents=True, exist_ok=True)
    planned = cells(chosen, config.parent, folder, originals.absolute())
    failed = work(planned, jobs)
    found = [(cell, done) for cell, done in ((cell, cell.done()) for cell in planned) if done]
    if not found:
        raise DataError("No cell of the benchmark was finished. " + " ".join(failed))
    finished = []
    for cell, done in found:
        path = cell.folder / done["run"]
        with suppress(ValueError):
            path = path.relative_to(Path.cwd())
        finished.append(read_run(path))
    with writable(folder, what="the report", setting="--output"):
        failed += write(finished, folder, select or grid.select, grid.draws, failed)
    return folder, failed


def main(args: Sequence[str]) -> int:
    """``gli benchmark``; exit status 0, 1 where a cell has failed, or 2 after a mistake that the user can mend."""
    parser = argparse.ArgumentParser(prog="gli benchmark", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, help="configs/benchmark_<data set>.yaml")
    parser.add_argument("--methods", nargs="+", help="only these methods and variants")
    parser.add_argument("--seeds", nargs="+", type=int, help="these seeds instead of the configuration's")
    parser.add_argument("--backbones", nargs="+", help="these backbones instead of the configurations'")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (default: 1)")
    parser.add_argument("--output", type=Path, help="folder of cells and report (default: benchmark_<data set>)")
    parser.add_argument(
        "--originals", type=Path, default=Path("lightning_logs/originals"), help="folder of original models"
    )
    parser.add_argument("--select", choices=list(SELECTS), help="which audit of a run is reported")
    options = parser.parse_args(args)
    return carry_out("gli benchmark", lambda: _benchmark(options), "stopped. The same command goes on where it was.")


def _benchmark(options: argparse.Namespace) -> int:
    folder, failed = benchmark(**vars(options))
    for message in failed:
        print(f"gli benchmark: without a result: {message}", file=sys.stderr)
    print(folder / "report.html")
    return 1 if failed else 0
