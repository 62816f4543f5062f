"""What every audit saw, image by image: kept in a run's folder, so that scores can be computed anew without the model.

``audits/people.npz`` holds who is on the images of each evaluation set; ``audits/<iteration>.npz`` the losses and scores of
each image, in the same order. Both are plain arrays, written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gli import metrics
from gli.data.files import replacing
from gli.data.loading import EVALUATION_SETS
from gli.errors import DataError

FOLDER, PEOPLE = "audits", "people.npz"
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """The losses and scores of one audit.

    Attributes:
        iteration: Number of the unlearning iteration, 0 for the original.
        values: For each evaluation set the values of its images by name (``loss``, ``accuracy``, ...), shape ``(images,)``.
    """

    iteration: int
    values: Mapping[str, Mapping[str, Array]]

    def scores(self, chosen: Mapping[str, npt.NDArray] | None = None) -> dict[str, float]:
        """The published scores, of some of the images.

        Args:
            chosen: For each set which images count, as a mask or as places (which may repeat); a set that is not named
                counts whole.

        Returns:
            Accuracies, ``mia_accuracy``, ``forgetting_score``, ``jsd`` and ``final_score``.
        """
        part = {
            name: {key: value[chosen[name]] if chosen and name in chosen else value for key, value in values.items()}
            for name, values in self.values.items()
        }
        accuracies = {key: float(value.mean()) for key, value in part["test"].items() if key != "loss"}
        return accuracies | metrics.summary(accuracies["accuracy"], part["forget"]["loss"], part["unseen"]["loss"])


def _write(path: Path, arrays: Mapping[str, npt.NDArray]) -> None:
    with replacing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def write_people(run: Path, identities: Mapping[str, npt.NDArray[np.str_]]) -> None:
    """Keep who is on the images of each evaluation set."""
    _write(run / FOLDER / PEOPLE, identities)


def write(run: Path, audit: Audit) -> None:
    """Keep an audit in a run's folder."""
    arrays = {
        f"{name}/{key}": value.astype(np.float32) for name, part in audit.values.items() for key, value in part.items()
    }
    _write(_path(run, audit.iteration), arrays)


def _unreadable(path: Path, why: object) -> DataError:
    return DataError(f"{path}: cannot be read as the record of an audit ({why}). Run again to have it anew.")


def _read(path: Path, kinds: str) -> dict[str, npt.NDArray]:
    """The arrays in a file, each a row of values whose numpy kind is one of some letters."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {key: found[key] for key in found.files}
        if any(value.ndim != 1 or value.dtype.kind not in kinds for value in arrays.values()):
            raise ValueError("an array of another kind")
        return arrays
    except Exception as error:  # A damaged archive, a damaged array, another kind of file: each has its own errors.
        raise _unreadable(path, error) from error


def read_people(run: Path) -> dict[str, npt.NDArray[np.str_]]:
    """Who is on the images of each evaluation set.

    Raises:
        DataError: If the run kept no audits, or the file is damaged or not of the audits beside it.
    """
    if not (run / FOLDER / PEOPLE).is_file():
        raise DataError(
            f"{run}: holds no record of audits ({FOLDER}/{PEOPLE}). Run again with --audit.keep_losses true."
        )
    people = _read(run / FOLDER / PEOPLE, "U")
    _require(run / FOLDER / PEOPLE, people)
    return people


def _require(path: Path, found: Mapping[str, Any]) -> None:
    """Refuse a record that lacks one of the evaluation sets."""
    lacking = [name for name in EVALUATION_SETS if not len(found.get(name, ()))]
    if lacking:
        raise _unreadable(path, f"nothing of {', '.join(lacking)}")


def _path(run: Path, iteration: int) -> Path:
    return run / FOLDER / f"{iteration:06d}.npz"


def read_one(run: Path, iteration: int) -> Audit | None:
    """The audit of one iteration; None where it was not kept.

    Raises:
        DataError: If the file is damaged.
    """
    path = _path(run, iteration)
    if not path.is_file():
        return None
    values: dict[str, dict[str, Array]] = {}
    for name, value in _read(path, "f").items():
        part, _, key = name.partition("/")
        values.setdefault(part, {})[key] = value.astype(np.float64)
    _require(path, values)
    for part, found in values.items():
        if not {"loss", "accuracy"} <= found.keys() or len({len(value) for value in found.values()}) > 1:
            raise _unreadable(path, f"{part} is not whole")
    return Audit(iteration, values)


def check_people(run: Path, audit: Audit, people: Mapping[str, npt.NDArray[np.str_]]) -> None:
    """Refuse an audit whose images are not as many as those that the run has people for.

    Raises:
        DataError: Naming the run and the iteration.
    """
    for name, values in audit.values.items():
        if len(people.get(name, ())) != len(values["loss"]):
            raise DataError(
                f"{run}: the record of iteration {audit.iteration} is of {len(values['loss'])} images of {name}, but "
                f"{FOLDER}/{PEOPLE} is of {len(people.get(name, ()))}. Run again to have both anew."
            )


def read(run: Path) -> list[Audit]:
    """All audits of a run, in the order of their iterations.

    Raises:
        DataError: If a file is damaged.
    """
    iterations = sorted(int(path.stem) for path in (run / FOLDER).glob("[0-9]*.npz") if path.stem.isdecimal())
    return [audit for audit in (read_one(run, iteration) for iteration in iterations) if audit is not None]


def identity_halves(
    people: Mapping[str, npt.NDArray[np.str_]], sets: Sequence[str] = ("test", "unseen"), seed: int = 0
) -> tuple[dict[str, npt.NDArray[np.bool_]], dict[str, npt.NDArray[np.bool_]]]:
    """Two halves of the people in some sets, as masks over their images: one to choose by, one to report.

    Nobody is in both. The halves depend on the people and the seed alone, so that all runs on one data set share them.
    """
    choose, report = {}, {}
    for name in sets:
        everyone = np.unique(people[name])
        half = np.random.default_rng(seed).permutation(everyone)[: len(everyone) // 2]
        choose[name] = np.isin(people[name], half)
        report[name] = ~choose[name]
    return choose, report


def bootstrap(
    audit: Audit, people: Mapping[str, npt.NDArray[np.str_]], draws: int = 100, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """How far the scores of one audit would move with other people of the same kind.

    People, not images, are drawn with replacement in every evaluation set, since pictures of one person are alike.

    Args:
        audit: The audit.
        people: Who is on its images, for each set.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        For each score the 2.5 % and 97.5 % quantile of its values in the resamples.

    Raises:
        ValueError: If there are no draws.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    generator = np.random.default_rng(seed)
    places = {
        name: [np.flatnonzero(inverse == person) for person in range(inverse.max() + 1)]
        for name, inverse in ((name, np.unique(people[name], return_inverse=True)[1]) for name in audit.values)
    }
    samples: dict[str, list[float]] = {}
    for _ in range(draws):
        chosen = {
            name: np.concatenate([each[person] for person in generator.integers(0, len(each), len(each))])
            for name, each in places.items()
        }
        for key, value in audit.scores(chosen).items():
            samples.setdefault(key, []).append(value)
    return {key: tuple(np.quantile(values, (0.025, 0.975)).tolist()) for key, values in samples.items()}
