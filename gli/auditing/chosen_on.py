"""Check by the records of runs that the people who chose the settings are not the people who are reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gli.auditing.record import FOLDER, PEOPLE, read_people
from gli.errors import DataError
from gli.metrics.registry import EVALUATION_SETS
from gli.runs.membership import read_membership
from gli.runs.read import SETTINGS
from gli.system.files import read_yaml

NOT_DECLARED = "not declared: if the people of this audit chose the settings of the methods, it is too favourable"
#: Settings of a data module that say which table its names are from.
TABLE = ("root", "csv", "seed", "people", "pictures")


def who_chose(reported: Sequence[Path], rehearsals: Sequence[Path]) -> str:
    """Return a sentence about the people who chose the settings of runs; not declared without rehearsals.

    Raises:
        DataError: If somebody is in both, if a folder holds no run or one that is no rehearsal, or if its people are
            from another table, so that names cannot be compared.
    """
    if not rehearsals:
        return NOT_DECLARED
    runs = [run for folder in rehearsals for run in _runs_below(folder)]
    tables = {folder: _table(folder) for folder in [*reported, *runs]}
    people = {run: _people(run) for run in runs}
    for folder in reported:
        for run in runs:
            if tables[run] != tables[folder]:
                raise DataError(f"--chosen-on {run}: its people are from another table than those of {folder}.")
            both = sorted(_people(folder) & people[run])
            if both:
                raise DataError(
                    f"--chosen-on {run}: {len(both)} people chose the settings and are reported by {folder} too "
                    f"({', '.join(both[:3])}{', ...' if len(both) > 3 else ''}). Search again with data.rehearsal."
                )
    count = len(set().union(*people.values()))
    return (
        f"{count} other people, in {len(runs)} rehearsals; by the records nobody of them is forgotten or compared here"
    )


def _people(run: Path) -> set[str]:
    people = read_people(run)
    return {str(name) for subset in EVALUATION_SETS for name in people[subset]}


def _table(folder: Path) -> list[str]:
    """Return the settings of a run that say which table its names are from."""
    path = folder / SETTINGS
    config = read_yaml(path, "the settings of a run")
    try:
        data = config["data"]
        settings = data.get("init_args") or {}
        return [str(data["class_path"]).rpartition(".")[2], *(str(settings.get(name)) for name in TABLE)]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as the settings of a run ({error}).") from error


def _runs_below(folder: Path) -> list[Path]:
    """Return the rehearsals in a folder, itself included, without the training of their originals."""
    runs = sorted(path.parent.parent for path in folder.glob(f"**/{FOLDER}/{PEOPLE}"))
    runs = [run for run in runs if (run / SETTINGS).is_file()]
    if not runs:
        raise DataError(f"--chosen-on {folder}: holds no run with records of its audits ({FOLDER}/{PEOPLE}).")
    for run in runs:
        membership = read_membership(run)
        if membership is None or not membership.rehearsal:
            raise DataError(f"--chosen-on {run}: is no rehearsal. Search again with data.rehearsal.")
    return runs
