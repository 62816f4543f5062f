"""``gli benchmark``: a grid of methods and seeds on one data set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from gli.commands.parse import Flag
from gli.reporting import Select
from gli.runs.folder import LOGS, ORIGINALS

HELP = """Run a grid of methods and seeds on one data set, and report the results.

    gli benchmark --config benchmark/synthetic --methods GLI SCRUB --seeds 0 1 --jobs 2

Each cell of the grid is an ordinary run of the configuration <method>_<data>, in a folder and a process of its own. A
cell that is done runs again only if its settings have changed. A cell that was killed starts again. A cell that fails
is named in the report, and the other cells run all the same.
"""
INTERRUPTED = "stopped. The same command runs the cells that are not finished."


def benchmark(
    *,
    config: str,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    backbones: Sequence[str] | None = None,
    jobs: int = 1,
    cluster: Annotated[str | None, Flag(metavar="ADDRESS")] = None,
    settings: Annotated[Sequence[str], Flag("--set", metavar="NAME=VALUE")] = (),
    output: Path | None = None,
    originals: Path = Path(LOGS, ORIGINALS),
    select: Select | None = None,
    audit: Path | None = None,
) -> int:
    """Run a benchmark and write its report.

    Args:
        config: Configuration of the benchmark, such as benchmark/synthetic.
        methods: Only these methods and variants.
        seeds: These seeds instead of the configuration's.
        backbones: These backbones instead of the configuration's.
        jobs: Number of runs at once.
        cluster: Ray cluster to run them on: HOST:PORT, or local.
        settings: Settings of all runs, such as data.split=identity.
        output: Folder of cells and report (default: benchmark_<data set>).
        originals: Folder of the original models.
        select: Which audit of a run is reported.
        audit: Folder of an audit of the same methods, to show beside the scores.
    """
    from gli.runs.configs import resolve
    from gli.study import benchmark as study
    from gli.study.settings import read_pairs

    path = Path(resolve(config))
    grid = study.read_grid(path).restricted(methods, seeds, backbones, read_pairs("--set", settings))
    folder = (output or Path(f"benchmark_{grid.data}")).absolute()
    failed = study.benchmark(path, grid, folder, originals, jobs, cluster, select, audit)
    for message in failed:
        print(f"gli benchmark: without a result: {message}", file=sys.stderr)
    print(folder / "report.html")
    return 1 if failed else 0
