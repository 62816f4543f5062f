"""People in settings: names, a text file with one name per line, a CSV table, or a store of erasure requests."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.data.split_plan import SPLITS, SplitSettings, SplitTable
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import read_csv, read_text
from gli.system.ledger import KEY_FILE, LEDGER, erased_in, open_ledger

#: Number of cohorts where ``cohorts`` is not set.
COHORTS = 4
#: A list of people in a setting, or the path of a file with their names.
PeopleList = Sequence[str | int] | str


def read_split_settings(given: Mapping[str, Any], table: SplitTable, identity_column: str) -> SplitSettings:
    """Return the settings of a split, with the people in their files.

    Args:
        given: Settings of the data module by name, with paths of files.
        table: The table; people of a store of erasure requests are refused in it.
        identity_column: Column of the names in a CSV file of people.

    Raises:
        SettingError: If there is no such file, or two settings contradict each other.
        DataError: If a file cannot be read, or somebody is in the table whom the store has erased.
    """
    forget, held_out, erased = given["forget_identities"], given["held_out"], given["erased"]
    assignment = given["assignment"]
    if assignment is not None and forget is not None:
        raise SettingError("data.assignment and data.forget_identities both say whom to forget. Give one of them.")
    # One of the two files is enough: a store without the other must not be taken for a list of names.
    if isinstance(erased, str) and any(os.path.lexists(os.path.join(erased, name)) for name in (LEDGER, KEY_FILE)):
        refuse_erased(Path(erased), table.identities, table.digests)
        erased = None
    if assignment is not None or given["split"] not in ("identity", "stable"):
        held_out = None  # The test and unseen people are given.
    lists = {
        "forget_identities": forget and read_people_list("forget_identities", forget, table.names),
        "held_out": held_out and read_people_list("held_out", held_out, table.names, identity_column),
        "erased": read_people_list("erased", erased or (), table.names, identity_column),
        "assignment": None if assignment is None else read_assignment(Path(assignment), set(table.identities.tolist())),
    }
    return SplitSettings(**{**given, **lists})


def read_people_list(
    setting: str, value: PeopleList, in_table: Collection[str] = (), column: str | None = None
) -> list[str]:
    """Return the names of people in a setting, each once.

    Args:
        setting: Name of the setting, for messages.
        value: The names; or the path of a text file with one name per line; or, where ``column`` is given, of a CSV
            table (its name ends in ``.csv``) with that column.
        in_table: Names in the table; a ``#`` in such a name is part of it.
        column: Column of the names in a CSV table.

    Raises:
        SettingError: If there is no such file.
        DataError: If the file cannot be read, has no such column, or a name in it is empty.
    """
    if not isinstance(value, str):
        return list(dict.fromkeys(str(name) for name in value))
    if not os.path.isfile(value):
        where = "" if os.path.isabs(value) else f" in {Path.cwd()}, the current folder"
        raise SettingError(
            f"{setting}: {value}: no such file{where}. The file has one name per line; to give a single name, write "
            f"'[{value}]'."
        )
    path = Path(value)
    if column is None or not is_table(path):
        return list(dict.fromkeys(parse_names(read_text(path).split("\n"), in_table)))
    rows = read_csv(path, [column])
    for row in rows:
        if not row[column]:
            raise DataError(f"{row.where}: the identity is empty. Name the person.")
    return list(dict.fromkeys(row[column] for row in rows))


def is_table(path: Path) -> bool:
    """Return whether a list of people is a CSV table, by the end of its name."""
    return path.suffix.lower() == ".csv"


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a CSV table; DataError if the file cannot be read."""
    first, _, _ = read_text(path).partition("\n")
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error as error:
        raise DataError(f"{path}, line 1: is not the header of a CSV file ({error}).") from error


def parse_names(lines: Iterable[str], in_table: Collection[str] = ()) -> list[str]:
    """Return the names in the lines of a text: one per line, without blank lines and ``#`` comments.

    A ``#`` starts a comment only at the start of a line or after a space, and never in a line that is a name
    ``in_table``: the part before the ``#`` could be the name of another person.
    """
    stripped = (line.strip() for line in lines)
    names = (line if line in in_table else re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in stripped)
    return [name for name in names if name]


def read_assignment(path: Path, in_table: Collection[str]) -> dict[str, str]:
    """Return the set of each person in a CSV file with the columns ``identity`` and ``set``.

    Raises:
        DataError: If the file cannot be read, a person is not in the table or is named twice, or there is no such set.
    """
    sets: dict[str, str] = {}
    for row in read_csv(path, ("identity", "set"), exact=True):
        where, name = f"{path}, line {row.line}", row["identity"]
        if name not in in_table:
            raise DataError(f"{where}: nobody is called {name!r}.{did_you_mean(name, in_table)}")
        if row["set"] not in SPLITS:
            raise DataError(f"{where}: there is no set {row['set']!r}; the sets are {', '.join(SPLITS)}.")
        if name in sets:
            raise DataError(f"{where}: {name!r} is assigned twice. Name each person once.")
        sets[name] = row["set"]
    return sets


def read_cohorts(given: int | str | None) -> tuple[int, int | dict[str, int]]:
    """Return the number of cohorts, and the cohort of each household that a file names, or the number again.

    Args:
        given: The number, ``COHORTS`` for None; or a CSV file with the columns ``identity`` (or household) and
            ``cohort``.

    Raises:
        SettingError: If the number is less than 2.
        DataError: If the file cannot be read, or a cohort is not a number from 0.
    """
    if not isinstance(given, str):
        number = COHORTS if given is None else given
        if number < 2:
            raise SettingError(f"data.cohorts is {given}; it must be at least 2.")
        return number, number
    cohorts = {}
    for row in read_csv(Path(given), ("identity", "cohort"), exact=True):
        if not (row["cohort"].isascii() and row["cohort"].isdecimal()):
            raise DataError(f"{row.where}: {row['cohort']!r} is not a cohort. Cohorts are numbered from 0.")
        cohorts[row["identity"]] = int(row["cohort"])
    return max(cohorts.values(), default=-1) + 1, cohorts


def refuse_erased(store: Path, identities: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_]) -> None:
    """Refuse rows of people, or of files, whose keyed hash is in the ledger of a store.

    Args:
        store: Folder of the store.
        identities: Name of the person of each row.
        digests: Content hash of each row.

    Raises:
        DataError: With the request that erased the first of them, and the row; or if the store cannot be read.
    """
    ledger = open_ledger(store)
    erased = erased_in(ledger.read())
    for row, (name, digest) in enumerate(zip(identities.tolist(), digests.tolist(), strict=True)):
        request = erased.request_of(ledger.key, name, digest.decode())
        if request is not None:
            raise DataError(
                f"Row {row + 1} of the table shows somebody who was erased by request {request} ({store}). Remove the "
                "row and its photograph."
            )
