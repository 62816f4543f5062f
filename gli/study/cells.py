"""The cells of a benchmark: one run each, in a folder of its own."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gli.engine.job import Job, finished_run
from gli.errors import DataError, SettingError
from gli.runs.configs import argument, contents_of, find_config
from gli.study.grid import Entry, Grid
from gli.system.digest import digest

#: Folder of the cells in that of a benchmark.
CELLS = "cells"


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        name: Name of the method or variant.
        seed: The seed.
        backbone: The backbone; None for that of the configuration.
        config: File of the configuration.
        settings: Arguments of ``gli fit`` that the result depends on.
        folder: Folder of the cell.
        originals: Folder of the original models.
        after: Folder of the cell of the original that this one starts from, if the grid has it.
    """

    name: str
    seed: int
    backbone: str | None
    config: Path
    settings: tuple[str, ...]
    folder: Path
    originals: Path
    after: frozenset[Path] = frozenset()

    @property
    def title(self) -> str:
        """Name in tables and messages."""
        return self.name if self.backbone is None else f"{self.name}, {self.backbone}"

    @property
    def arguments(self) -> list[str]:
        """Arguments of ``gli``."""
        places = [f"--trainer.default_root_dir={self.folder}", f"--originals={self.originals}"]
        return ["fit", f"--config={self.config}", *self.settings, *places]

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on: the settings, and all files that hold some of them.

        Raises:
            DataError: If a file cannot be read.
        """
        return digest(*contents_of(self.config), *self.settings)

    @property
    def job(self) -> Job:
        """The run of this cell as a job; it waits for the original's own cell."""
        key = ""
        with suppress(OSError, DataError):  # A configuration cannot be read: the run will fail and name it.
            key = self.key
        return Job(self.title, f"seed {self.seed}", self.folder, tuple(self.arguments), key, self.after)


def finished_runs(benchmark: Path) -> tuple[list[Path], list[str]]:
    """Return the folders of the finished runs of a benchmark, and a message for every cell that is not finished.

    Args:
        benchmark: Folder of the benchmark.

    Raises:
        DataError: If it has no cells.
    """
    folders = sorted(path for path in (benchmark / CELLS).iterdir() if path.is_dir())
    if not folders:
        raise DataError(f"{benchmark}: has no cells. Run the benchmark first.")
    runs = {folder: finished_run(folder) for folder in folders}
    unfinished = [
        f"{folder}: this cell is not finished. Repeat the benchmark to finish it."
        for folder, run in runs.items()
        if run is None
    ]
    return [run for run in runs.values() if run is not None], unfinished


def cells_of(grid: Grid, benchmark: Path, output: Path, originals: Path) -> list[Cell]:
    """Return the cells of a grid, seed by seed, originals first.

    Args:
        grid: The grid.
        benchmark: File of the benchmark; the configurations of the methods are looked for near it.
        output: Folder of the benchmark's results.
        originals: Folder of the original models, which the cells share.

    Raises:
        SettingError: If a method has no configuration, or two cells have the same folder.
    """
    entries = sorted(grid.entries.items(), key=lambda item: item[0] != "Original")
    configs = {name: _config_of(name, entry, benchmark) for name, entry in entries}
    cells = []
    for seed, backbone, (name, entry) in itertools.product(grid.seeds, grid.backbones or (None,), entries):
        settings: dict[str, Any] = {"seed_everything": seed, "trainer.enable_progress_bar": False}
        settings |= {**grid.settings, **entry.settings}
        settings |= {"data.seed": seed} if grid.seed_data else {}
        settings |= {"model.backbone": backbone} if backbone else {}
        folder = _folder_of(output, name, seed, backbone)
        original = _folder_of(output, "Original", seed, backbone)
        waits = "Original" in grid.entries and name != "Original"
        cells.append(
            Cell(
                name,
                seed,
                backbone,
                config=configs[name],
                settings=tuple(argument(key, value) for key, value in settings.items()),
                folder=folder,
                originals=originals,
                after=frozenset({original} if waits else ()),
            )
        )
    if len({cell.folder for cell in cells}) < len(cells):
        raise SettingError(
            "Two cells of the benchmark have the same name and seed. Name each method, variant and seed once."
        )
    return cells


def _folder_of(output: Path, name: str, seed: int, backbone: str | None) -> Path:
    stem = re.sub(r"[^A-Za-z0-9]+", "_", f"{name} {backbone or ''}").strip("_")
    return output / CELLS / f"{stem}-seed{seed}"


def _config_of(name: str, entry: Entry, benchmark: Path) -> Path:
    try:
        return find_config(entry.config, near=benchmark)
    except SettingError as error:
        raise SettingError(f"{name}: {error}") from error
