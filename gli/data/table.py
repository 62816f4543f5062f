"""Faces of the user's own, from a CSV file with a file name, an identity, and one or more label columns.

For example::

    file,identity,age
    anna/1.jpg,anna,adult
    anna/2.jpg,anna,child
    ben/1.jpg,ben,child

With one label column, the task is multi-class, and the classes are the values in the column. With several, the task is
multi-label, and the values must be yes or no: ``1``/``0``, ``1``/``-1``, ``yes``/``no`` or ``true``/``false``. A column
called ``split`` with the values ``retain``, ``forget``, ``test`` and ``unseen`` defines the sets for ``split="given"``.
Without it, a keyed hash of the identities assigns people to sets, so that nobody changes sets when rows are added or
removed.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, ImageFiles
from gli.data.people_lists import columns_of, is_table
from gli.data.split_plan import SPLITS, Split
from gli.data.tasks import MultiClass, MultiLabel, Task, check_labels
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import Row, inside, read_csv, require_folder

#: Values of yes/no labels, in lower case.
YES, NO = {"1", "yes", "true"}, {"0", "-1", "no", "false"}
MAX_CLASSES = 1000


class FaceTable(FaceDataModule):
    """Images that a CSV file lists.

    Args:
        root: Folder that the file names in the table are relative to.
        csv: Path of the table, absolute or relative to ``root``.
        file: Name of the column with the file names.
        identity: Name of the column with the identity of the person on each image.
        labels: Names of the label columns; None for all columns that have no other meaning.
        task: ``multi_class``, ``multi_label``, or None to infer it from the number of label columns.
        classes: Names of the classes in the order of their numbers; None for the sorted values of the column, in
            numerical order if all are numbers.
        split: ``stable`` (by a keyed hash of the identity), ``identity`` (a shuffle, which moves people when rows are
            added or removed), ``given`` (the ``split`` column of the table; an error if a person is in two sets),
            ``published`` (the same column; a warning if a person is in two sets).
        held_out: People on whom the original model was never trained; also a CSV file with the columns of the table,
            whose rows are then added to the table.
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
        split: Split = "stable",
        held_out: list[str | int] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(split=split, held_out=held_out, **kwargs)
        self.identity_column = identity
        self.root, self.csv = Path(root), Path(root) / csv
        self.columns = {"file": file, "identity": identity}
        self.labels, self.kind, self.classes = labels, task, classes

    def table(self) -> Faces:
        """Read the CSV file and return the face table.

        Raises:
            DataError: If the folder, the file or a column does not exist, an identity is empty, or a value is not a
                valid label or split.
            SettingError: If the settings do not fit the table.
        """
        require_folder(self.root, "The folder that the table's file names are relative to", "Set --data.root.")
        file, identity = self.columns["file"], self.columns["identity"]
        rows = read_csv(self.csv, [file, identity, *(self.labels or [])])
        names = self.labels or [name for name in rows[0] if name not in (file, identity, "split")]
        if not names:
            raise DataError(f"{self.csv}, line 1: there is no label column besides {file!r} and {identity!r}. Add one.")
        if "" in names:
            raise DataError(
                f"{self.csv}, line 1: a column has no name. Name it, or list the label columns in data.labels."
            )
        classes = self.classes or _sorted({row[names[0]] for row in rows})
        rows += self._held_out_rows({row[file] for row in rows}, [file, identity, *names])
        for row in rows:
            inside(self.root, row[file], row.where)
            if not row[identity]:
                raise DataError(f"{row.where}: the identity is empty. Name the person on the image.")
        task, labels = self._labels(rows, names, classes)
        identities = np.array([row[identity] for row in rows])
        remedy = "give one column with the class, or data.task multi_label if each column is a question of its own."
        check_labels(task, labels, identities, "" if self.kind else remedy)
        return Faces(
            images=ImageFiles(self.root, [row[file] for row in rows]),
            labels=labels,
            identities=identities,
            task=task,
            published=self._split_column(rows),
        )

    def _held_out_rows(self, files: set[str], columns: list[str]) -> list[Row]:
        """Return the rows of a table of held-out people, with some columns, whose files are not in the table itself."""
        if not isinstance(self.held_out, str) or not os.path.isfile(self.held_out):
            return []  # Names; or no file, which is an error when the split is made.
        path = Path(self.held_out)
        if not is_table(path) or columns[0] not in columns_of(path):
            return []
        required = columns if self.split in ("stable", "identity") else [*columns, "split"]
        return [row for row in read_csv(path, required) if row[columns[0]] not in files]

    def _labels(self, rows: list[Row], names: list[str], classes: list[str]) -> tuple[Task, npt.NDArray[np.int64]]:
        """Return the task and the labels of all rows, from the label columns and the classes of a multi-class task."""
        kind = self.kind or ("multi_class" if len(names) == 1 else "multi_label")
        if kind == "multi_label":
            return MultiLabel(tuple(names)), np.array([self._binary_labels(rows, name) for name in names]).T.copy()
        if len(names) > 1:
            raise SettingError(f"A multi-class task has one label column, but data.labels names {', '.join(names)}.")
        values = [row[names[0]] for row in rows]
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise DataError(
                f"{self.csv}: the label column {names[0]!r} has {len(classes)} different values; "
                f"a class label has 2 to {MAX_CLASSES}."
            )
        if len(set(classes)) != len(classes):
            raise SettingError(f"data.classes names a class twice: {', '.join(classes)}. Name each once.")
        for row, value in zip(rows, values, strict=True):
            if not value:
                raise DataError(f"{row.where}: the label {names[0]!r} is empty. Fill it in, or remove the row.")
            if value not in classes:
                raise DataError(
                    f"{row.where}: unknown class {value!r} in {names[0]!r}.{did_you_mean(value, classes)} "
                    f"data.classes has {', '.join(classes)}."
                )
        return MultiClass(tuple(classes)), np.array([classes.index(value) for value in values], dtype=np.int64)

    def _binary_labels(self, rows: list[Row], name: str) -> list[int]:
        """Return 1 (yes) or 0 (no) for each row of a label column."""
        for row in rows:
            if row[name].lower() not in YES | NO:
                raise DataError(
                    f"{row.where}: {row[name]!r} in the label column {name!r} is neither yes nor no "
                    "(1 or 0, 1 or -1). If this is not a label column, name the label columns with data.labels."
                )
        return [int(row[name].lower() in YES) for row in rows]

    def _split_column(self, rows: list[Row]) -> dict[str, npt.NDArray[np.int64]] | None:
        """Return the row numbers of each set by the ``split`` column; None if it does not exist or is not used."""
        if "split" not in rows[0] or self.split in ("stable", "identity"):
            return None
        for row in rows:
            if row["split"] not in SPLITS:
                raise DataError(
                    f"{row.where}: unknown split {row['split']!r}.{did_you_mean(row['split'], SPLITS)} "
                    f"It is one of {', '.join(SPLITS)}."
                )
        column = np.array([row["split"] for row in rows])
        return {name: np.flatnonzero(column == name).astype(np.int64) for name in SPLITS}


def _sorted(values: set[str]) -> list[str]:
    """Sort values in numerical order if all are numbers, otherwise in alphabetical order; NaN is not a number."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        return sorted(values)
    if any(map(math.isnan, numbers.values())):
        return sorted(values)
    return sorted(values, key=lambda value: (numbers[value], value))
