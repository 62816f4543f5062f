"""Run a grid of methods and seeds on one data set, and report the results.

    gli benchmark --config benchmark/synthetic --methods GLI SCRUB --seeds 0 1 --jobs 2

Each cell of the grid is an ordinary run of the configuration <method>_<data>, in a folder and a process of its own. A
cell that is done runs again only if its settings have changed. A cell that was killed starts again. A cell that fails
is named in the report, and the other cells run all the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gli.commands.main import add_executor_options, make_parser
from gli.commands.parse import run_command
from gli.engine.board import run_jobs
from gli.engine.choose import make_executor
from gli.errors import DataError
from gli.reporting import SELECTIONS, Select
from gli.reporting.claims import Claims
from gli.reporting.write import write_report
from gli.runs.configs import resolve
from gli.runs.folder import LOGS, ORIGINALS
from gli.runs.read import read_run
from gli.study.cells import cells_of
from gli.study.grid import read_grid, read_pairs
from gli.system.files import writable


def benchmark(
    config: Path,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    backbones: Sequence[str] | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    output: Path | None = None,
    originals: Path = Path(LOGS, ORIGINALS),
    select: Select | None = None,
    audit: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Path, list[str]]:
    """Run a benchmark and write its report.

    Args:
        config: Configuration of the benchmark.
        methods: Methods and variants to run; None for all.
        seeds: Seeds; None for those of the configuration.
        backbones: Backbones; None for those of the configuration.
        jobs: Number of cells to run at once.
        cluster: Address of a Ray cluster to run them on, or ``local``; None for processes of this machine.
        output: Folder of cells and report; ``benchmark_<data>`` by default.
        originals: Folder of the original models.
        select: Which audit of a run is reported; None for what the configuration says.
        audit: Folder of an audit of the same methods, to show beside the scores.
        settings: Settings of all cells, by dotted name, besides those of the configuration.

    Returns:
        The folder of the report, and a message for every cell without a result.

    Raises:
        GLIError: If a setting is wrong, or no cell gave a result.
    """
    grid = read_grid(config).restricted(methods, seeds, backbones).changed(settings or {})
    folder = (output or Path(f"benchmark_{grid.data}")).absolute()
    with writable(folder, content="the benchmark", setting="--output"):
        folder.mkdir(parents=True, exist_ok=True)
    cells = cells_of(grid, config, folder, originals.absolute())
    planned = [cell.job for cell in cells]
    failed = run_jobs(planned, make_executor(jobs, cluster), slots=jobs)
    finished = {job.run: cell.name for job, cell in zip(planned, cells, strict=True)}
    names = {_relative(run): name for run, name in finished.items() if run is not None}
    runs = [read_run(run) for run in names]
    if not runs:
        raise DataError("No cell of the benchmark was finished. " + " ".join(failed))
    with writable(folder, content="the report", setting="--output"):
        claims = Claims(grid.compare, names)
        without_result = write_report(runs, folder, select or grid.select, grid.resamples, failed, audit, claims)
    return folder, [*failed, *without_result]


def _relative(path: Path) -> Path:
    """Return a path relative to the working directory where it is inside it."""
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


def main(args: Sequence[str]) -> int:
    """Run ``gli benchmark``; return the exit status.

    Returns:
        0; 1 where a cell has no result; 2 after an error that the user can correct.
    """
    parser = make_parser("benchmark", __doc__)
    parser.add_argument("--config", required=True, help="configuration of the benchmark, such as benchmark/synthetic")
    parser.add_argument("--methods", nargs="+", help="only these methods and variants")
    parser.add_argument("--seeds", nargs="+", type=int, help="these seeds instead of the configuration's")
    parser.add_argument("--backbones", nargs="+", help="these backbones instead of the configuration's")
    add_executor_options(parser)
    parser.add_argument(
        "--set", nargs="+", metavar="NAME=VALUE", default=[], help="settings of all runs, such as data.split=identity"
    )
    parser.add_argument("--output", type=Path, help="folder of cells and report (default: benchmark_<data set>)")
    parser.add_argument("--originals", type=Path, default=Path(LOGS, ORIGINALS), help="folder of the original models")
    parser.add_argument("--select", choices=list(SELECTIONS), help="which audit of a run is reported")
    parser.add_argument("--audit", type=Path, help="folder of an audit of the same methods, to show beside the scores")
    options = parser.parse_args(args)
    interrupted = "stopped. The same command runs the cells that are not finished."
    return run_command("gli benchmark", lambda: _benchmark(options), interrupted)


def _benchmark(options: argparse.Namespace) -> int:
    settings = vars(options)
    settings["settings"] = read_pairs("--set", settings.pop("set"))
    folder, failed = benchmark(Path(resolve(settings.pop("config"))), **settings)
    for message in failed:
        print(f"gli benchmark: without a result: {message}", file=sys.stderr)
    print(folder / "report.html")
    return 1 if failed else 0
