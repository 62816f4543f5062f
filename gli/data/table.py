"""Anyone's faces, from a CSV: a file, an identity, and one or more label columns.

For example::

    file,identity,age
    anna/1.jpg,anna,adult
    anna/2.jpg,anna,child
    ben/1.jpg,ben,child

One label column makes a multi-class task, whose classes are the values found in it. Several make a multi-label task, and
each must then be yes/no: ``1``/``0``, ``1``/``-1``, ``yes``/``no`` or ``true``/``false``. A column called ``split`` with the
words ``retain``, ``forget``, ``test`` and ``unseen`` gives the sets for ``split="given"``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gli.data.datamodule import FaceDataModule, Split
from gli.data.faces import Faces, ImageFiles
from gli.data.splits import SPLITS
from gli.data.tasks import MultiClass, MultiLabel, Task
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import Row, inside, read_csv, require_folder

YES, NO = {"1", "yes", "true"}, {"0", "-1", "no", "false"}
MAX_CLASSES = 1000


class FaceTable(FaceDataModule):
    """Anyone's images, named in a CSV file.

    Args:
        root: Folder that the file names in the table are relative to.
        csv: The table, relative to ``root`` or a path of its own.
        file: Name of the column with the file names.
        identity: Name of the column that says who is on the image.
        labels: Names of the label columns; None for every column that is not otherwise named.
        task: ``multi_class``, ``multi_label``, or None to infer it from the number of label columns.
        classes: Names of the classes in the order of their numbers; None for the sorted values of the column (as numbers
            where all are).
        split: ``identity`` (the sets are dealt out), ``given`` (the table's ``split`` column, refused where a person is
            in two sets), ``published`` (the same column, such people counted in a warning).
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.
    """

    label = "table"

    def __init__(
        self,
        root: str,
        csv: str = "faces.csv",
        file: str = "file",
        identity: str = "identity",
        labels: list[str] | None = None,
        task: Literal["multi_class", "multi_label"] | None = None,
        classes: list[str] | None = None,
        split: Split = "identity",
        **kwargs: Any,
    ) -> None:
        super().__init__(split=split, **kwargs)
        self.root, self.csv = Path(root), Path(root) / csv
        self.columns = {"file": file, "identity": identity}
        self.labels, self.kind, self.classes = labels, task, classes

    def table(self) -> Faces:
        """Read the CSV file.

        Raises:
            DataError: If the folder, the file or a column is absent, or a value cannot be a label.
            SettingError: If the settings do not fit the table.
        """
        require_folder(self.root, "The folder that the table's file names are relative to", "Set --data.root.")
        file, identity = self.columns["file"], self.columns["identity"]
        rows = read_csv(self.csv, [file, identity, *(self.labels or [])])
        for row in rows:
            inside(self.root, row[file], f"{self.csv}, line {row.line}")
            if not row[identity]:
                raise DataError(f"{self.csv}, line {row.line}: the identity is empty. Say who is on the image.")
        names = self.labels or [name for name in rows[0] if name not in (file, identity, "split")]
        if not names:
            raise DataError(f"{self.csv}, line 1: there is no label column beside {file!r} and {identity!r}. Add one.")
        if "" in names:
            raise DataError(
                f"{self.csv}, line 1: a column has no name. Name it, or name the label columns with data.labels."
            )
        task, labels = self._labels(rows, names)
        return Faces(
            images=ImageFiles(self.root, [row[file] for row in rows]),
            labels=labels,
            identities=np.array([row[identity] for row in rows]),
            task=task,
            published=self._given(rows),
        )

    def _labels(self, rows: list[Row], names: list[str]) -> tuple[Task, npt.NDArray[np.int64]]:
        kind = self.kind or ("multi_class" if len(names) == 1 else "multi_label")
        if kind == "multi_label":
            return MultiLabel(tuple(names)), np.array([self._yes_or_no(rows, name) for name in names]).T.copy()
        if len(names) > 1:
            raise SettingError(f"A multi-class task has one label column, but data.labels names {', '.join(names)}.")
        values = [row[names[0]] for row in rows]
        classes = self.classes or _sorted(set(values))
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise DataError(
                f"{self.csv}: the label column {names[0]!r} has {len(classes)} different values; "
                f"a class label has 2 to {MAX_CLASSES}."
            )
        if len(set(classes)) != len(classes):
            raise SettingError(f"data.classes names a class twice: {', '.join(classes)}. Name each once.")
        for row, value in zip(rows, values, strict=True):
            line = row.line
            if not value:
                raise DataError(
                    f"{self.csv}, line {line}: the label {names[0]!r} is empty. Fill it in, or take the row out."
                )
            if value not in classes:
                raise DataError(
                    f"{self.csv}, line {line}: unknown class {value!r} in {names[0]!r}.{did_you_mean(value, classes)} "
                    f"data.classes has {', '.join(classes)}."
                )
        return MultiClass(tuple(classes)), np.array([classes.index(value) for value in values], dtype=np.int64)

    def _yes_or_no(self, rows: list[Row], name: str) -> list[int]:
        for row in rows:
            if row[name].lower() not in YES | NO:
                raise DataError(
                    f"{self.csv}, line {row.line}: {row[name]!r} in the label column {name!r} is neither yes nor no (1 or 0, "
                    "1 or -1). Name the label columns with data.labels if this is not one."
                )
        return [int(row[name].lower() in YES) for row in rows]

    def _given(self, rows: list[Row]) -> dict[str, npt.NDArray[np.int64]] | None:
        if "split" not in rows[0] or self.split == "identity":
            return None
        for row in rows:
            if row["split"] not in SPLITS:
                raise DataError(
                    f"{self.csv}, line {row.line}: unknown split {row['split']!r}.{did_you_mean(row['split'], SPLITS)} "
                    f"It is one of {', '.join(SPLITS)}."
                )
        given = np.array([row["split"] for row in rows])
        return {name: np.flatnonzero(given == name).astype(np.int64) for name in SPLITS}


def _sorted(values: set[str]) -> list[str]:
    """Sorted as numbers where all are numbers; NaN is none."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        return sorted(values)
    if any(map(math.isnan, numbers.values())):
        return sorted(values)
    return sorted(values, key=lambda value: (numbers[value], value))
