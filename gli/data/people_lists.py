"""Lists of people in settings: names, a text file with one name per line, or a CSV table with a column of names."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from gli.data.splits import parse_names
from gli.errors import DataError, SettingError
from gli.system.files import read_csv, read_text

#: A list of people in a setting, or the path of a file with their names.
PeopleList = Sequence[str | int] | str


def read_people_list(
    setting: str, value: PeopleList, known: Collection[str] = (), column: str | None = None
) -> list[str]:
    """Return the names of people in a setting, each once.

    Args:
        setting: Name of the setting, for messages.
        value: The names; or the path of a text file with one name per line; or, where ``column`` is given, of a CSV
            table (its name ends in ``.csv``) with that column.
        known: Names in the table; a ``#`` in such a name is part of it.
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
        return list(dict.fromkeys(parse_names(read_text(path).split("\n"), known)))
    rows = read_csv(path, [column])
    for row in rows:
        if not row[column]:
            raise DataError(f"{row.where}: the identity is empty. Name the person.")
    return list(dict.fromkeys(row[column] for row in rows))


def is_table(path: Path) -> bool:
    """Return whether a list of people is a CSV table, by the end of its name."""
    return path.suffix.lower() == ".csv"


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a CSV table.

    Raises:
        DataError: If the file cannot be read.
    """
    first, _, _ = read_text(path).partition("\n")
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error as error:
        raise DataError(f"{path}, line 1: is not the header of a CSV file ({error}).") from error
