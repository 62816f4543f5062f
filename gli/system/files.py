"""Reading text tables and writing files so that they are whole or not there."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from gli.errors import DataError, did_you_mean
from gli.system.console import console

#: Longer paths cannot be opened, and to follow them part by part takes seconds.
MAX_PATH = 4096
#: A file of settings holds some hundred; references to references make as many as one likes in a few lines.
MAX_VALUES = 100_000


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path aside to write to; on success it takes the place of ``path`` in one step, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


@contextmanager
def file_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file that only one process holds at a time; a killed one lets go of it.

    Args:
        path: The lock file.
        what: What the holder does, for those who wait.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        console.print(f"Another process is {what}; waiting for its end.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left aside of files of this name; call where no other process can be writing."""
    for aside in folder.rglob(f".{name}.*.part"):
        with suppress(FileNotFoundError):
            aside.unlink()


@contextmanager
def writable(
    folder: Path, megabytes: float = 0, *, what: str = "the pixel cache", setting: str = "--data.cache_dir"
) -> Iterator[None]:
    """Say which folder it is, and which setting names it, when something cannot be written into it.

    Args:
        folder: The folder.
        megabytes: What is going to be written; 0 where that is little.
        what: What is written, for the message.
        setting: What names the folder.

    Raises:
        DataError: In place of any ``OSError`` inside the block.
    """
    try:
        yield
    except OSError as error:
        room = f" It needs {megabytes:,.0f} MB." if megabytes else ""
        raise DataError(
            f"{folder}: {what} cannot be written ({error.strerror or error}).{room} Point {setting} to a folder with "
            "room that you may write to."
        ) from error


def require_folder(folder: Path, what: str, hint: str) -> Path:
    """The folder itself.

    Raises:
        DataError: If it is not there; the message names it, what was expected in it, and ``hint``.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. {what} is looked for here. {hint}")
    return folder


def read_text(path: Path) -> str:
    """The file's text; every line ends with a newline character, however it ends in the file.

    Raises:
        DataError: If it is absent or not UTF-8, or holds NUL characters.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except (OSError, ValueError) as error:  # A ValueError where the path itself holds what no path can.
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({why}). Check the path and the folder it is in.") from error
    before, nul, _ = text.partition("\0")
    if nul:
        line = before.count("\n") + 1
        raise DataError(f"{path}, line {line}: holds a NUL character, so it is not plain text. Save it as UTF-8.")
    return text


def load_yaml(text: str | bytes, load: Callable[[Any], Any] = yaml.safe_load) -> Any:
    """What a YAML text says: plain values only, no code.

    Args:
        text: The text.
        load: What reads it.

    Raises:
        yaml.YAMLError: If it is not YAML, says what Python has no value for, or refers to parts of itself until it has
            no end or very many values.
    """
    try:
        found = load(text)
        size = _size(found, {})
    except yaml.YAMLError:
        raise
    except Exception as error:  # Scalars and nestings that YAML allows and Python does not raise errors of many kinds.
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
    if size > MAX_VALUES:
        raise yaml.YAMLError(f"more than {MAX_VALUES:,} values; write less of it by reference (&name, *name)")
    return found


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds, see :func:`load_yaml`.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        DataError: If it is absent or cannot be read.
    """
    try:
        return load_yaml(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as {what} ({why}). Check the path, and what the file says.") from error


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values there are in a value written out; parts that are there by reference are counted once only."""
    if not isinstance(value, Mapping | list | tuple | set):
        # Raises at a number of more digits than Python writes out, and at half a character.
        if b"\0" in str(value).encode():
            raise ValueError("a NUL character")
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_VALUES  # Should it hold itself, it is too large.
        parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


class Row(dict[str, str]):
    """A row of a CSV file by column name, and the line that it stands in."""

    line: int


def read_csv(path: Path, required: Sequence[str], *, exact: bool = False) -> list[Row]:
    """The rows of a CSV file with a header line.

    Args:
        path: The file.
        required: Columns that must be there.
        exact: Whether no other column may be there.

    Raises:
        DataError: If the file is absent, empty, lacks a column, has one too many, or a row is of another length.
    """
    # Not splitlines: it also ends lines at form feeds and the like, which may stand inside a field.
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
    header = [name.strip() for name in lines[0]] if lines else []
    if len(set(header)) != len(header):
        raise DataError(f"{path}, line 1: a column name stands there twice: {', '.join(header)}. Name each once.")
    for name in required:
        if name not in header:
            raise DataError(
                f"{path}, line 1: the column {name!r} is missing.{did_you_mean(name, header)} "
                f"Found {', '.join(header) or 'nothing'}; wanted {', '.join(required)}."
            )
    extra = [name for name in header if name not in required]
    if exact and extra:
        raise DataError(
            f"{path}, line 1: unexpected column {extra[0]!r}. Take it out: this file has exactly the columns "
            f"{', '.join(required)}."
        )
    rows = []
    for number, line in zip(starts[1:], lines[1:], strict=True):
        if not line:
            continue
        if len(line) != len(header):
            raise DataError(f"{path}, line {number}: {len(line)} fields, but the header has {len(header)}.")
        row = Row(zip(header, (value.strip() for value in line), strict=True))
        row.line = number
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: holds no rows below its header.")
    return rows


def inside(root: Path, name: str, where: str) -> str:
    """The name of a file below ``root``, as given.

    Raises:
        DataError: If the name is absolute or leads out of ``root``, by ``..`` or by a link; ``where`` says which line.
    """
    if not name or "\0" in name:
        raise DataError(f"{where}: an image name is empty or holds a NUL character.")
    if len(name) > MAX_PATH:
        raise DataError(f"{where}: an image name of {len(name)} characters ({name[:40]!r}...) is no path. Shorten it.")
    home = os.path.realpath(root)
    if os.path.isabs(name) or not os.path.realpath(os.path.join(home, name)).startswith(os.path.join(home, "")):
        raise DataError(
            f"{where}: {name!r} leads out of {root}. Image names are relative to that folder and stay in it."
        )
    return name
