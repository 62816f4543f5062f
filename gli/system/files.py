"""Read text tables and YAML with clear errors; write files whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from gli.errors import DataError, did_you_mean
from gli.system.console import console

#: Longer paths cannot be opened, and resolving them takes seconds.
MAX_PATH = 4096
#: Upper limit for the values of a YAML file: nested references can expand a few lines to billions of values.
MAX_VALUES = 100_000


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; replace ``path`` by it on success, remove it otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write nested values as JSON, whole or not at all; numbers that JSON cannot express, such as NaN, become null."""
    write_text(path, json_text(value))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all; a value that a row does not have is empty."""
    with atomic_write(path) as temporary:
        text = csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)])
        temporary.write_text(text, encoding="utf-8", newline="")


def json_text(value: Any) -> str:
    """Return nested values as JSON; numbers that JSON cannot express, such as NaN, become null."""
    return json.dumps(_finite(value), indent=1)


def _finite(value: Any) -> Any:
    """Return a value with every number that is not finite replaced by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def file_lock(path: Path, activity: str) -> Iterator[None]:
    """Hold a lock that only one process holds at a time; the lock of a killed process is free.

    Processes that wait say what its holder is doing: ``activity``.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        console.print(f"Another process is {activity}; waiting for it to finish.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files that killed processes left below a folder; call only if no other process writes there."""
    for temporary in folder.rglob(f".{name}.*.part"):
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def writable(
    folder: Path, megabytes: float = 0, *, content: str = "the pixel cache", setting: str = "--data.cache_dir"
) -> Iterator[None]:
    """Turn a write error inside the block into a DataError that names the folder, its content and its setting.

    ``megabytes`` is the size of what is written; 0 if it is small.
    """
    try:
        yield
    except OSError as error:
        room = f" It needs {megabytes:,.0f} MB." if megabytes else ""
        raise DataError(
            f"{folder}: {content} cannot be written ({error.strerror or error}).{room} Point {setting} to a folder "
            "with room that you may write to."
        ) from error


def require_folder(folder: Path, content: str, hint: str) -> Path:
    """Return the folder; DataError with its expected ``content`` and a ``hint`` if it does not exist."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {content} was expected here. {hint}")
    return folder


def read_text(path: Path) -> str:
    """Return the text of a file, with newline characters as line ends.

    Raises:
        DataError: If the file does not exist, is not UTF-8, or holds NUL characters.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except (OSError, ValueError) as error:  # A ValueError if the path itself is impossible.
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({why}). Check the path and the folder it is in.") from error
    before, nul, _ = text.partition("\0")
    if nul:
        line = before.count("\n") + 1
        raise DataError(f"{path}, line {line}: holds a NUL character, so it is not plain text. Save it as UTF-8.")
    return text


def load_yaml(text: str | bytes) -> Any:
    """Return the value of a YAML text: plain values only, no code.

    Raises:
        yaml.YAMLError: If it is not YAML, has a value that Python cannot represent, or expands by references to more
            than ``MAX_VALUES`` values.
    """
    try:
        value = yaml.safe_load(text)
        size = _size(value, {})
    except yaml.YAMLError:
        raise
    except Exception as error:  # Values that YAML allows and Python does not raise errors of many kinds.
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
    if size > MAX_VALUES:
        raise yaml.YAMLError(f"more than {MAX_VALUES:,} values; use fewer references (&name, *name)")
    return value


def read_yaml(path: Path, kind: str) -> Any:
    """Return the value of a YAML file, see :func:`load_yaml`.

    ``kind`` is the kind of file for the message, such as ``a configuration``.

    Raises:
        DataError: If the file does not exist or cannot be read.
    """
    try:
        return load_yaml(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as {kind} ({why}). Check the path and the contents.") from error


def _size(value: Any, sizes: dict[int, int]) -> int:
    """Return the number of values in a nested value; one that is referred to again is traversed once."""
    if not isinstance(value, Mapping | list | tuple | set):
        # str and encode raise at integers with too many digits and at lone surrogates.
        if b"\0" in str(value).encode():
            raise ValueError("a NUL character")
        return 1
    if id(value) not in sizes:
        sizes[id(value)] = MAX_VALUES  # If the value contains itself, it is too large.
        children = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        sizes[id(value)] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[id(value)]


class Row(dict[str, str]):
    """A row of a CSV file by column name, with the file and its line number."""

    path: Path
    line: int

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}, line {self.line}"


#: Beginnings of a cell that spreadsheets take for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def quote_cell(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula, with an apostrophe in front; numbers stay as they are.

    :func:`unquote_cell` is the inverse.
    """
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def unquote_cell(cell: str) -> str:
    """Return a cell without the apostrophe of :func:`quote_cell`."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'").startswith(FORMULA) else cell


def csv_text(rows: Iterable[Iterable[Any]], line_end: str = "\r\n") -> str:
    """Return rows as the text of a CSV file, which :func:`read_csv` reads; no cell is a formula for a spreadsheet."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=line_end).writerows(map(quote_cell, row) for row in rows)
    return file.getvalue()


def read_csv(path: Path, required: Sequence[str], *, exact: bool = False) -> list[Row]:
    """Return the rows of a CSV file with a header line; see :func:`unquote_cell` for cells that begin with ``'``.

    Args:
        path: The file.
        required: Columns that the file must have.
        exact: Refuse other columns.

    Raises:
        DataError: If the file does not exist or has no rows, a column is missing or unexpected, or a row has another
            number of fields than the header.
    """
    # splitlines would also split at form feeds, which a field may contain.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    lines, starts, start = [], [], 1
    try:
        for line in reader:
            lines.append(line)
            starts.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {start}: is not a CSV file ({error}). Fields with commas or quotes need quoting."
        ) from error
    header = [unquote_cell(name.strip()) for name in lines[0]] if lines else []
    if len(set(header)) != len(header):
        raise DataError(f"{path}, line 1: a column name is repeated: {', '.join(header)}. Use each name once.")
    for name in required:
        if name not in header:
            raise DataError(
                f"{path}, line 1: the column {name!r} is missing.{did_you_mean(name, header)} "
                f"Found {', '.join(header) or 'nothing'}; required are {', '.join(required)}."
            )
    extra = [name for name in header if name not in required]
    if exact and extra:
        raise DataError(
            f"{path}, line 1: unexpected column {extra[0]!r}. Remove it: this file has exactly the columns "
            f"{', '.join(required)}."
        )
    rows = []
    for number, line in zip(starts[1:], lines[1:], strict=True):
        if not line:
            continue
        if len(line) != len(header):
            raise DataError(f"{path}, line {number}: {len(line)} fields, but the header has {len(header)}.")
        row = Row(zip(header, (unquote_cell(value.strip()) for value in line), strict=True))
        row.path, row.line = path, number
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: has no rows below its header.")
    return rows


def inside(root: Path, name: str, where: str) -> str:
    """Return the name of a file below ``root`` unchanged.

    ``where`` is file and line of the name, for the message.

    Raises:
        DataError: If the name is empty or absolute, or leads out of ``root`` by ``..`` or by a link.
    """
    if not name or "\0" in name:
        raise DataError(f"{where}: an image name is empty or holds a NUL character.")
    if len(name) > MAX_PATH:
        raise DataError(f"{where}: an image name of {len(name)} characters ({name[:40]!r}...) is too long. Shorten it.")
    home = os.path.realpath(root)
    if os.path.isabs(name) or not os.path.realpath(os.path.join(home, name)).startswith(os.path.join(home, "")):
        raise DataError(
            f"{where}: {name!r} is outside {root}. Image names must be relative to that folder and stay in it."
        )
    return name
