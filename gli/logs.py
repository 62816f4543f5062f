"""The log of a run: TensorBoard's curves, and ``metrics.csv``, which a resumed run goes on with."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from gli.data.files import replacing


class _Writer(ExperimentWriter):
    """Keeps the rows that a former process wrote, up to an iteration, and never leaves half a file."""

    def __init__(self, log_dir: str, iteration: int | None) -> None:
        self._iteration = iteration
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        until = -1 if self._iteration is None else self._iteration
        rows = [row for row in read_rows(path) if float(row["step"]) <= until]
        if rows:
            self.metrics_keys = sorted(rows[0])
            self._write(rows)
        else:
            path.unlink()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._write(read_rows(Path(self.metrics_file_path)))

    def _write(self, rows: list[dict[str, str]]) -> None:
        with replacing(Path(self.metrics_file_path)) as aside, aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log; one that a kill cut off is left out."""
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return list(csv.DictReader(whole.split("\n"), restkey=""))


class MetricsLog(CSVLogger):
    """``metrics.csv`` of a run, which a resumed run goes on with.

    Args:
        root: Folder of all runs.
        name: Folder of the runs of this kind.
        version: Folder of this run.
        iteration: Iteration after which the run goes on; rows beyond it are dropped. None for a new run.
    """

    def __init__(self, root: str | Path, name: str, version: int | str, iteration: int | None = None) -> None:
        super().__init__(root, name, version, flush_logs_every_n_steps=1)
        self._iteration = iteration

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, on the first process only."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir, self._iteration)
        return self._experiment


def loggers(root: Path, name: str, version: int | str, iteration: int | None = None) -> list[Logger]:
    """TensorBoard and CSV, both into ``root/name/version``.

    Args:
        root: Folder of all runs.
        name: Folder of the runs of this kind.
        version: Folder of this run.
        iteration: Iteration after which the run goes on; what was logged beyond it is dropped. None for a new run.
    """
    purge = None if iteration is None else iteration + 1
    return [
        TensorBoardLogger(root, name, version, default_hp_metric=False, purge_step=purge),
        MetricsLog(root, name, version, iteration),
    ]
