"""Records of audits: per-image values kept in a run's folder, so that scores can be recomputed without the model.

``audits/people.npz`` holds the identity on each image of each evaluation set, ``audits/rows.npz`` its row number in the
face table; ``audits/<iteration>.npz`` the per-image columns (``<set>/<column>``) in the same order, and the names of
those columns that are accuracies. Margins of photographs that are shown otherwise than upright are columns such as
``margin@transposed``; a record need not have them. All are plain arrays, each file written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from gli.auditing import UPRIGHT
from gli.errors import DataError
from gli.metrics.registry import EVALUATION_SETS, LOSS, MARGIN, Audited, compute_score, compute_scores
from gli.system.files import atomic_write

FOLDER, PEOPLE, ROWS = "audits", "people.npz", "rows.npz"
#: Stands between the name of a column and the view of the photographs.
VIEW = "@"
#: Array of a record that names the columns that are accuracies.
ACCURACIES = "accuracies"
Array = npt.NDArray[np.float64]
People = Mapping[str, npt.NDArray[np.str_]]
Rows = Mapping[str, npt.NDArray[np.int64]]
_Values = TypeVar("_Values", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Record:
    """The per-image values of one audit."""

    iteration: int  # Unlearning iteration, 0 for the original.
    #: For each evaluation set its per-image columns by name (``loss``, ``accuracy``, ...), shape ``(images,)``.
    values: Mapping[str, Mapping[str, Array]]
    accuracies: Set[str] = frozenset({"accuracy"})  # Names of the columns whose mean over the test set is an accuracy.

    def scores(self, chosen: Mapping[str, npt.NDArray[Any]] | None = None) -> dict[str, float]:
        """Compute the scores that a report shows, optionally of a subset of the images.

        ``chosen`` has a mask or row numbers (which may repeat) for each evaluation set; a set that is not named counts
        whole.
        """
        return compute_scores(self._chosen(chosen), self.accuracies, "report")

    def score(self, name: str, chosen: Mapping[str, npt.NDArray[Any]] | None = None) -> float:
        """Compute one score, optionally of a subset of the images as in :meth:`scores`; NaN where there is none."""
        return compute_score(self._chosen(chosen), name)

    def _chosen(self, chosen: Mapping[str, npt.NDArray[Any]] | None) -> Audited:
        sets = {
            name: {key: value[chosen[name]] if chosen and name in chosen else value for key, value in values.items()}
            for name, values in self.values.items()
        }
        return Audited(sets)

    def restricted(self, rows: Mapping[str, npt.NDArray[Any]]) -> Record:
        """Return the audit of a subset of the images, chosen as in :meth:`scores`."""
        return replace(self, values=self._chosen(rows).sets)


@dataclass(frozen=True)
class Records:
    """The records of a run's audits, read once."""

    run: Path  # Folder of the run.
    audits: Mapping[int, Record]  # The audits by their iteration.
    people: People  # Identity on each image of each evaluation set; empty where the run kept none.
    rows: Rows | None  # Row number of each image in the face table; None where the run kept none.

    def audit(self, iteration: int) -> Record:
        """Return the audit of an iteration; DataError if it was not kept, or the run kept no identities."""
        if iteration not in self.audits:
            raise DataError(
                f"{self.run}: the audit of iteration {iteration} was not kept. Run again with --audit.keep_losses "
                "true, or report with --select final_score and without --resamples and --compare."
            )
        if not self.people:
            raise _without_people(self.run)
        return self.audits[iteration]


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **cast("dict[str, Any]", arrays))


def write_people(run: Path, identities: People, rows: Rows | None = None) -> None:
    """Write identity and row number of each image of each evaluation set into a run's folder."""
    if rows is not None:
        _write_arrays(run / FOLDER / ROWS, rows)
    _write_arrays(run / FOLDER / PEOPLE, identities)


def write_record(run: Path, audit: Record) -> None:
    """Write an audit into a run's folder: margins as float64, all other values as float32."""
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{name}/{key}": value.astype(np.float64 if key.startswith(MARGIN) else np.float32)
        for name, values in audit.values.items()
        for key, value in values.items()
    }
    _write_arrays(_path(run, audit.iteration), {**arrays, ACCURACIES: np.array(sorted(audit.accuracies))})


def _unreadable(path: Path, reason: object) -> DataError:
    return DataError(f"{path}: cannot be read as the record of an audit ({reason}). Repeat the run to write it again.")


def _read_arrays(path: Path, kinds: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays in a file, each 1-D and of a NumPy kind in ``kinds``."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        if any(value.ndim != 1 or value.dtype.kind not in kinds for value in arrays.values()):
            raise ValueError("an array of an unexpected shape or type")
        return arrays
    except (
        Exception
    ) as error:  # Damaged archives, damaged arrays and files of other formats each raise their own errors.
        raise _unreadable(path, error) from error


def read_people(run: Path) -> dict[str, npt.NDArray[np.str_]]:
    """Return the identity on each image of each evaluation set; DataError if it was not kept or is damaged."""
    path = run / FOLDER / PEOPLE
    if not path.is_file():
        raise _without_people(run)
    people = _read_arrays(path, "U")
    _require_sets(path, people)
    return people


def _without_people(run: Path) -> DataError:
    return DataError(
        f"{run}: holds no records of its audits ({FOLDER}/{PEOPLE}). Run again with --audit.keep_losses true."
    )


def _require_sets(path: Path, arrays: Mapping[str, Any]) -> None:
    """Refuse a record that lacks an evaluation set."""
    lacking = [name for name in EVALUATION_SETS if not len(arrays.get(name, ()))]
    if lacking:
        raise _unreadable(path, f"nothing of {', '.join(lacking)}")


def _path(run: Path, iteration: int) -> Path:
    return run / FOLDER / f"{iteration:06d}.npz"


def read_record(run: Path, iteration: int) -> Record | None:
    """Return the audit of an iteration, or None where it was not kept; raise DataError if the file is damaged."""
    path = _path(run, iteration)
    if not path.is_file():
        return None
    arrays = _read_arrays(path, "fU")
    accuracies = arrays.pop(ACCURACIES, None)
    values: dict[str, dict[str, Array]] = {}
    for name, value in arrays.items():
        subset, _, column = name.partition("/")
        if value.dtype.kind != "f":
            raise _unreadable(path, f"{name} holds no numbers")
        values.setdefault(subset, {})[column] = value.astype(np.float64)
    _require_sets(path, values)
    for subset, columns in values.items():
        if not {LOSS, "accuracy"} <= columns.keys() or len({len(value) for value in columns.values()}) > 1:
            raise _unreadable(path, f"{subset} is incomplete")
    # Records of gli 0.1 name no accuracies: there, every column but the loss was one.
    names = values["test"].keys() - {LOSS} if accuracies is None else accuracies.tolist()
    return Record(iteration, values, frozenset(names))


def read_rows(run: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Return the row number of each image of each evaluation set; DataError if not kept (before gli 0.2) or damaged."""
    path = run / FOLDER / ROWS
    if not path.is_file():
        raise DataError(f"{run}: holds no row numbers of its images ({FOLDER}/{ROWS}). Repeat the run to write them.")
    rows = _read_arrays(path, "i")
    _require_sets(path, rows)
    return rows


def margins_of(audit: Record) -> dict[str, Array]:
    """Return the upright margins of each evaluation set, shape ``(images, labels)``; one label in a multi-class task.

    Records of gli 0.1 have losses only. In a multi-class task the margin follows from the loss: log p = -loss.

    Raises:
        DataError: If the record has neither margins nor the loss of a multi-class task.
    """
    result = {}
    for name, columns in audit.values.items():
        names = [column for column in columns if _is_margin(column)]
        if names:
            result[name] = np.stack([columns[column] for column in names], axis=1)
        elif any(column.startswith("accuracy_") for column in columns):
            raise DataError(
                f"The record of iteration {audit.iteration} was written by an earlier version and has no margins of "
                "its labels. Repeat the run to write them."
            )
        else:
            loss = np.maximum(columns[LOSS], np.finfo(np.float32).tiny)
            result[name] = (-loss - np.log(-np.expm1(-loss)))[:, None]
    return result


def _is_margin(column: str) -> bool:
    return VIEW not in column and (column == MARGIN or column.startswith(f"{MARGIN}_"))


def margins_by_view(audit: Record) -> dict[str, dict[str, Array]]:
    """Return the margins by view, ``upright`` first, and evaluation set; see :func:`margins_of`."""
    result = {UPRIGHT: margins_of(audit)}
    for name, columns in audit.values.items():
        for column, values in columns.items():
            _, found, view = column.partition(VIEW)
            if found:
                of_set = result.setdefault(view, {})
                of_set[name] = np.column_stack([*of_set[name].T, values] if name in of_set else [values])
    return result


def with_views(audit: Record, views: Mapping[str, Mapping[str, Array]]) -> Record:
    """Return a record with columns for the margins, ``(images, labels)``, by other view and evaluation set."""
    values = {name: dict(columns) for name, columns in audit.values.items()}
    for view, sets in views.items():
        for name, margins in sets.items():
            labels = [column for column in audit.values[name] if _is_margin(column)] or [MARGIN]
            values[name] |= {f"{label}{VIEW}{view}": each for label, each in zip(labels, margins.T, strict=True)}
    return replace(audit, values=values)


def _recorded(run: Path) -> list[int]:
    """Return the iterations whose audits a run has kept, in no order."""
    return [int(path.stem) for path in (run / FOLDER).glob("[0-9]*.npz") if path.stem.isdecimal()]


def read_model(
    run: Path, iteration: int | None = None
) -> tuple[Record, Mapping[str, npt.NDArray[np.int64]], Mapping[str, Array]]:
    """Return an audit of a run, the last by default: record, row numbers and margins; DataError if there is none."""
    if iteration is None:
        iteration = max(_recorded(run), default=0)
    audit = read_record(run, iteration)
    if audit is None:
        raise DataError(f"{run}: has no record of iteration {iteration}. Run again with --audit.keep_losses true.")
    return audit, read_rows(run), margins_of(audit)


def read_records(run: Path) -> list[Record]:
    """Return all audits of a run in the order of their iterations; DataError if a file is damaged."""
    audits = (read_record(run, iteration) for iteration in sorted(_recorded(run)))
    return [audit for audit in audits if audit is not None]


def read_kept(run: Path, iterations: Iterable[int] | None = None) -> Records:
    """Read what a run kept of some audits, of all by default; audits that were not kept are left out.

    Raises:
        DataError: If a file is damaged, or an audit has another number of images than of identities.
    """
    audits = read_records(run) if iterations is None else [read_record(run, iteration) for iteration in set(iterations)]
    people = read_people(run) if (run / FOLDER / PEOPLE).is_file() else {}
    by_iteration = {audit.iteration: audit for audit in audits if audit is not None}
    for audit in by_iteration.values() if people else ():
        check_people(run, audit, people)
    rows = None
    with suppress(DataError):  # A run of gli 0.1 has none.
        rows = read_rows(run)
    return Records(run, by_iteration, people, rows)


def restrict(values: Mapping[str, _Values], chosen: Mapping[str, npt.NDArray[Any]]) -> dict[str, _Values]:
    """Return one value for each image, such as its identity, of the images chosen as in :meth:`Record.scores`."""
    return {name: column[chosen[name]] if name in chosen else column for name, column in values.items()}


def check_people(run: Path, audit: Record, people: People) -> None:
    """Refuse an audit whose number of images differs from the number of identities, by a DataError."""
    for name, values in audit.values.items():
        images, identities = len(values[LOSS]), len(people.get(name, ()))
        if images != identities:
            raise DataError(
                f"{run}: the record of iteration {audit.iteration} has {images} images of {name}, but "
                f"{FOLDER}/{PEOPLE} has {identities} identities. Repeat the run to write both again."
            )


def split_people_in_half(
    people: People, sets: Sequence[str] = ("test", "unseen"), seed: int = 0
) -> tuple[dict[str, npt.NDArray[np.bool_]], dict[str, npt.NDArray[np.bool_]]]:
    """Split the people of some evaluation sets into two halves, as masks: one to choose by, one to report.

    The halves depend on the people and the seed alone, so that all runs on one data set share them. Nobody is in both.
    """
    choose, report = {}, {}
    for name in sets:
        everyone = np.unique(people[name])
        half = np.random.default_rng(seed).permutation(everyone)[: len(everyone) // 2]
        choose[name] = np.isin(people[name], half)
        report[name] = ~choose[name]
    return choose, report
