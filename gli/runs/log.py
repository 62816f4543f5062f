"""The log of a run: TensorBoard events, and ``metrics.csv``, which a resumed run continues."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from gli.runs.read import LOG, read_rows
from gli.system.files import write_table


class MetricsLog(Logger):
    """Write ``metrics.csv``: one row per call, columns sorted by name.

    Every row is on disk when the call returns. A new column rewrites the file, whole or not at all.

    Args:
        root: Folder of all runs.
        name: Folder of the runs of this kind.
        version: Number (``version_<n>``) or name of the folder of this run.
        iteration: Iteration after which the run continues; later rows are dropped. None for a new run.
    """

    def __init__(self, root: Path, name: str, version: int | str, iteration: int | None = None) -> None:
        super().__init__()
        self._root, self._name, self._version = root, name, version
        self.path = root / name / (version if isinstance(version, str) else f"version_{version}") / LOG
        self._last_kept = -1 if iteration is None else iteration
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """Name of the folder of the runs of this kind."""
        return self._name

    @property
    def version(self) -> int | str:
        """Number or name of this run's folder."""
        return self._version

    @property
    def save_dir(self) -> str:
        """Folder of all runs."""
        return str(self._root)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: a run's settings are in its ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        if self._columns is None:
            self._columns = self._keep_rows()
        row = {**metrics, "step": step}
        if row.keys() <= set(self._columns):
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            return
        rows: list[Mapping[str, Any]] = [*read_rows(self.path)] if self.path.is_file() else []
        self._columns = sorted({*self._columns, *row})
        write_table(self.path, self._columns, [*rows, row])

    def _keep_rows(self) -> list[str]:
        """Keep the rows that an earlier process wrote, up to the iteration it reached; return their columns."""
        if not self.path.is_file():
            return []
        rows = [row for row in read_rows(self.path) if float(row["step"]) <= self._last_kept]
        if not rows:
            self.path.unlink()
            return []
        columns = sorted(rows[0])
        write_table(self.path, columns, rows)
        return columns


def loggers(root: Path, name: str, version: int | str, iteration: int | None = None) -> list[Logger]:
    """Return TensorBoard and CSV loggers that both write into ``root/name/version``, see :class:`MetricsLog`."""
    purge = None if iteration is None else iteration + 1
    return [
        TensorBoardLogger(root, name, version, default_hp_metric=False, purge_step=purge),
        MetricsLog(root, name, version, iteration),
    ]
