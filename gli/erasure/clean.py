"""New contents of a known file without some people: audits, tables, JSON, YAML, text. Pure functions of bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from gli.erasure.search import Traces
from gli.system.files import load_yaml

#: Word in place of a name.
INSTEAD = "erased"
#: Longest text that is rewritten; longer ones are removed.
MAX_TEXT = 64 << 20


def cleaned(name: str, data: bytes, traces: Traces) -> bytes | None:
    """Return a text file without the names of some people.

    Rows of tables, entries of lists in JSON, and lines of other text that name somebody are left out; in YAML the name
    is replaced, so that settings keep their form.

    Args:
        name: Name of the file; its ending says what it is.
        data: Its contents.
        traces: What to remove.

    Returns:
        The new contents; None if the file cannot be rewritten and has to go.
    """
    if len(data) > MAX_TEXT or b"\0" in data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    ending = name.rpartition(".")[2].lower()
    if ending in ("html", "svg", "xml"):
        return None
    try:
        if ending == "csv":
            new = _rows(text, traces)
        elif ending == "json":
            new = json.dumps(_value(json.loads(text), traces), indent=1)
        elif ending in ("yaml", "yml"):
            new = _settings(text, traces)
        else:
            new = "".join(line for line in text.splitlines(keepends=True) if not _names(line, traces))
    except (ValueError, csv.Error, yaml.YAMLError, RecursionError):
        return None
    return new.encode() if new else None


def _names(text: str, traces: Traces) -> bool:
    return traces.is_name(text.strip()) or bool(traces.found_in(text.encode()))


def _rows(text: str, traces: Traces) -> str:
    """Return a CSV file without the rows that name somebody; an empty text if only the header would be left."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    kept = [row for row in rows[1:] if not any(_names(field, traces) for field in row)]
    if not kept or any(_names(field, traces) for field in rows[0]):
        return ""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n" if "\r\n" in text else "\n").writerows([rows[0], *kept])
    return file.getvalue()


def _value(value: Any, traces: Traces) -> Any:
    """Return nested values without entries that name somebody, and with names in other text replaced."""
    if isinstance(value, Mapping):
        return {key: _value(item, traces) for key, item in value.items() if not _names(str(key), traces)}
    if isinstance(value, list):
        return [_value(item, traces) for item in value if not _names_somebody(item, traces)]
    if isinstance(value, str):
        return INSTEAD if traces.is_name(value) else traces.without_names(value, INSTEAD)
    return value


def _names_somebody(item: Any, traces: Traces) -> bool:
    """Return whether an entry of a list is, or directly holds, the name of somebody."""
    texts = item.values() if isinstance(item, Mapping) else [item]
    return any(isinstance(text, str) and _names(text, traces) for text in texts)


def _settings(text: str, traces: Traces) -> str:
    """Return YAML with the names in it replaced."""
    text = traces.without_names(text, INSTEAD)
    contents = load_yaml(text)
    short = _short(contents, traces)
    return yaml.safe_dump(short, sort_keys=False) if short != contents else text


def _short(value: Any, traces: Traces) -> Any:
    """Return nested values with those that are a name, also a short one or a number, replaced."""
    if isinstance(value, Mapping):
        return {key: _short(item, traces) for key, item in value.items()}
    if isinstance(value, list):
        return [
            INSTEAD if isinstance(item, int | str) and traces.is_name(str(item)) else _short(item, traces)
            for item in value
        ]
    return INSTEAD if isinstance(value, str) and traces.is_name(value) else value


def named_rows(people: Mapping[str, npt.NDArray[Any]], traces: Traces) -> dict[str, npt.NDArray[np.bool_]]:
    """Return for each evaluation set of a run which of its images show some people."""
    return {name: np.isin(values.astype(str), list(traces.names)) for name, values in people.items()}


def without_rows(data: bytes, named: Mapping[str, npt.NDArray[np.bool_]]) -> bytes | None:
    """Return an archive of a run's audits without the images of some people.

    Args:
        data: Contents of the archive: arrays called ``<set>`` or ``<set>/<column>``.
        named: For each set which images to leave out.

    Returns:
        The new contents; None if a set would be empty, or the archive cannot be read.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        kept = {}
        for key, values in arrays.items():
            rows = named.get(key.partition("/")[0])
            if rows is not None and rows.all():
                return None
            kept[key] = values if rows is None else values[~rows]
    except Exception:  # Damaged archives and arrays each raise errors of their own; such a file has to go.
        return None
    file = io.BytesIO()
    np.savez_compressed(file, **kept)
    return file.getvalue()
