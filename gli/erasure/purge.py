"""Remove from disk what descends from some people, scan again, and write a receipt.

The purge goes through a store and folders of runs. It lists every file first, notes each in a journal before it is
touched, overwrites, renames and syncs, and scans again: a trace that is left is a failure. Links are never followed,
and what cannot be reached is listed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import unicodedata
import urllib.parse
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from gli.auditing.record import FOLDER as AUDITS
from gli.auditing.record import PEOPLE, read_people
from gli.erasure.store import NOTHING, Noted, pixels_hash
from gli.errors import CheckpointError, DataError, SettingError
from gli.metrics.registry import EVALUATION_SETS
from gli.runs.folder import ORIGINALS
from gli.runs.read import LOG, SETTINGS
from gli.runs.spec import SPEC
from gli.system.console import loading
from gli.system.digest import DIGEST_BYTES, digest, file_hash, folded_name
from gli.system.files import load_yaml, read_csv, read_yaml, unquote_cell
from gli.system.ledger import (
    DOOMED,
    canonical,
    has_other_names,
    is_regular,
    parse_canonical,
    read_bytes,
    remove_remains,
    replace_contents,
    sha256,
    sha256_file,
    shred,
    sync_folder,
)

# -- traces in bytes ---------------------------------------------------------------------------------------------------

#: Shorter names, and names of digits only, occur by chance: they are looked for in fields that hold people only.
LEAST_NAME = 3
#: Rows of pixels that are looked for in each picture: the most varied ones.
PIXEL_ROWS = 4
#: A row with fewer different bytes, such as one of a plain background, may be anybody's.
LEAST_VARIETY = 12
#: What binary formats write between the lowest byte of a length and the text.
_TAILS = (b"", bytes(3), bytes(7))
_LETTER = rb"[A-Za-z0-9\x80-\xff]"


def is_searchable(name: str) -> bool:
    """Return whether a name can be looked for among other text."""
    return len(name) >= LEAST_NAME and not name.isdigit()


def spellings(name: str) -> set[str]:
    """Return a name as files may have it: composed and decomposed, and escaped for JSON, YAML, HTML and addresses."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")} | {name}
    escapes: tuple[Callable[[str], str], ...] = (
        lambda text: json.dumps(text)[1:-1],
        lambda text: yaml.safe_dump(text, default_style='"', width=10**6).strip()[1:-1],
        html.escape,
        urllib.parse.quote,
    )
    return forms | {escape(form) for form in forms for escape in escapes}


def _pattern_of(name: str) -> list[bytes]:
    """Return patterns of a name in UTF-8 and Latin-1; programs that fold lines break it at its blanks."""
    codes = ("utf-8", "latin-1") if name.isprintable() and max(map(ord, name)) < 256 else ("utf-8",)
    return [rb"\s+".join(re.escape(word) for word in name.encode(code).split()) for code in codes]


@dataclass(frozen=True)
class Traces:
    """What to look for."""

    names: Sequence[str]  # Names of the people.
    files: Sequence[str] = ()  # Names of their files, with folders.
    digests: frozenset[str] = frozenset()  # Hexadecimal digests of their files.
    rows: Sequence[bytes] = ()  # Rows of their pixels as bytes.
    weights: frozenset[str] = field(default_factory=frozenset)  # SHA-256 of weights that remember them.
    columns: frozenset[str] = frozenset()  # Columns of tables that hold people, next to those that are known.
    gone: Noted = NOTHING  # What was noted of photographs that are deleted already.

    @cached_property
    def _pattern(self) -> re.Pattern[bytes] | None:
        spelt = {each for name in self.names if is_searchable(name) for each in spellings(name)}
        names = [name.encode() for name in self.names if is_searchable(name)]
        choices = {choice for each in spelt for choice in _pattern_of(each)} - {b""}
        files = [file.encode() for file in sorted(self.files, key=len, reverse=True) if len(file) > LEAST_NAME]
        parts = []
        if names:
            longest_first = sorted(choices, key=lambda choice: (-len(choice), choice))
            parts.append(rb"(?<!%b)(?:%b)(?!%b)" % (_LETTER, b"|".join(longest_first), _LETTER))
        # Pickles and other binary formats write the length in front of a text, and no blank behind it.
        parts += [re.escape(bytes([len(each)]) + tail + each) for each in names if len(each) < 256 for tail in _TAILS]
        if files:  # A file of that name in another folder is another file.
            choice = b"|".join(map(re.escape, files))
            parts.append(rb"(?<![A-Za-z0-9\x80-\xff/._-])(?:%b)(?!%b)" % (choice, _LETTER))
        return re.compile(b"|".join(parts)) if parts else None

    @cached_property
    def _fields(self) -> frozenset[str]:
        return frozenset((*map(folded_name, self.names), *self.files))

    @cached_property
    def _encoded(self) -> list[tuple[bytes, int]]:
        """Names as NumPy and other programs keep them in arrays, with the bytes per character."""
        wide = [(name.encode(f"utf-{8 * width}-le"), width) for name in self.names for width in (2, 4)]
        return [(text, width) for text, width in wide if len(text) >= LEAST_NAME * width and not _digits(text)]

    def name_in(self, data: bytes) -> bool:
        """Return whether a name is in bytes, as a word of its own."""
        if self._pattern is not None and self._pattern.search(data):
            return True
        return any(_is_word(data, text, width) for text, width in self._encoded)

    def is_name(self, text: str) -> bool:
        """Return whether a field is a name, in any spelling, or the name of a file."""
        return folded_name(text) in self._fields or text in self._fields

    def without_names(self, text: str, instead: str) -> str:
        """Return a text with every name replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(instead.encode(), text.encode()).decode()

    def found_in(self, data: bytes) -> str:
        """Return what is in bytes: ``a name``, ``a digest`` or ``a row of pixels``; an empty string for nothing."""
        if self.name_in(data):
            return "a name"
        lower = data.lower() if self.digests else b""
        for each in self.digests:
            if each.encode() in lower or bytes.fromhex(each) in data:
                return "a digest"
        if self.gone.files and any(map(self.is_digest, _digests_in(data.lower()))):
            return "a digest"
        return "a row of pixels" if any(row in data for row in self.rows) else ""

    def is_digest(self, hexadecimal: str) -> bool:
        """Return whether a digest is that of a photograph, deleted ones included."""
        return hexadecimal in self.digests or (
            bool(self.gone.files) and file_hash(self.gone.key, hexadecimal) in self.gone.files
        )

    def in_cache(self, path: Path) -> bool:
        """Return whether a pixel cache holds a photograph that is deleted already."""
        if not self.gone.pixels or not CACHE.fullmatch(path.name):
            return False
        with suppress(ValueError, OSError, EOFError):
            return any(pixels_hash(self.gone.key, slot) in self.gone.pixels for slot in np.load(path, mmap_mode="r"))
        return False


#: Name of a pixel cache.
CACHE = re.compile(r"pixels-\d+-\w+\.npy")
_HEX = re.compile(rb"[0-9a-f]{32,}")
_HEX_DIGITS = 2 * DIGEST_BYTES


def _digests_in(data: bytes) -> Iterator[str]:
    """Yield what may be content hashes of gli in bytes: alone, or one after the other as in arrays."""
    for match in _HEX.finditer(data):
        run = match[0].decode()
        if len(run) % _HEX_DIGITS == 0:
            yield from (run[start : start + _HEX_DIGITS] for start in range(0, len(run), _HEX_DIGITS))


def _digits(text: bytes) -> bool:
    return text.replace(b"\0", b"").isdigit()


def _is_word(data: bytes, text: bytes, width: int) -> bool:
    """Return whether a wide text is in bytes, with no letter or digit before and after it."""
    start = data.find(text)
    while start >= 0:
        sides = data[max(0, start - width) : start], data[start + len(text) : start + len(text) + width]
        if not any(len(side) == width and not any(side[1:]) and chr(side[0]).isalnum() for side in sides):
            return True
        start = data.find(text, start + 1)
    return False


def digests_of(data: bytes) -> set[str]:
    """Return digests by which a file may be known: gli's own, SHA-256, SHA-1 and MD5."""
    known = (hashlib.sha256, hashlib.sha1, hashlib.md5)
    return {digest(data), *(each(data, usedforsecurity=False).hexdigest() for each in known)}


def rows_of_pixels(pixels: npt.NDArray[np.uint8]) -> list[bytes]:
    """Return the most varied rows of a picture: as they are, their green values alone, and both in float32 from 0 to 1.

    Caches have the colours of a pixel side by side; tensors often have one colour after the other.

    Args:
        pixels: Shape ``(size, size, 3)``.
    """
    variety = [len(np.unique(row)) for row in pixels]
    chosen = sorted(range(len(pixels)), key=lambda number: -variety[number])[:PIXEL_ROWS]
    rows = [pixels[number] for number in chosen if variety[number] >= LEAST_VARIETY]
    arrays = [each for row in rows for each in (row, row[:, 1]) if len(np.unique(each)) >= LEAST_VARIETY]
    return [form.tobytes() for each in arrays for form in (each, (each / np.float32(255)).astype(np.float32))]


# -- contents of files -------------------------------------------------------------------------------------------------

#: Larger contents are searched in pieces that overlap.
PIECE = 64 << 20
#: Longest trace across the border of two pieces.
OVERLAP = 1 << 16
#: Pictures that are decoded in one piece of a file.
MOST_PICTURES = 10_000
PNG = b"\x89PNG\r\n\x1a\n"
#: A picture inside a page.
DATA_URI = re.compile(rb"data:image/[a-z+]+;base64,([A-Za-z0-9+/=]{16,})")
#: What damaged archives raise.
DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, ValueError, EOFError)


def contents_of(path: Path) -> Iterator[bytes]:
    """Yield the contents of a file in pieces: as they are, unpacked, and as pixels.

    Members of archives that were stored without compression are in the bytes of the archive. Damaged archives and
    pictures are left as they are.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        yield from _pieces(file)
        file.seek(0)
        try:
            if start == b"PK":
                with zipfile.ZipFile(file) as archive:
                    for member in archive.infolist():
                        if member.compress_type != zipfile.ZIP_STORED:
                            with archive.open(member) as unpacked:
                                yield from _pieces(unpacked)
            elif start == b"\x1f\x8b":
                yield from _overlapping(_gunzipped(file))
        except DAMAGED:
            return


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the rest of a file in pieces that overlap, and the pixels of the pictures in each."""
    for piece in _overlapping(iter(lambda: file.read(PIECE), b"")):
        yield piece
        yield from pixels_in(piece)


def _overlapping(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each piece with the end of the one before it in front."""
    before = b""
    for piece in pieces:
        yield before + piece
        before = piece[-OVERLAP:]


def _gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what a gzip file holds, in pieces; what a damaged or cut one holds before the damage counts."""
    unpack = zlib.decompressobj(47)
    waiting = file.read(PIECE)
    while waiting:
        yield unpack.decompress(waiting, PIECE)
        waiting = unpack.unconsumed_tail or (b"" if unpack.eof else file.read(PIECE))


def pixels_in(data: bytes) -> Iterator[bytes]:
    """Yield the RGB values of the PNG pictures in bytes, and of pictures of any kind inside of a page."""
    start = data.find(PNG)
    for _ in range(MOST_PICTURES):
        if start < 0:
            break
        end = data.find(b"IEND", start)
        if end < 0:
            break
        yield from _pixels(data[start : end + 8])
        start = data.find(PNG, start + 1)
    for match in DATA_URI.finditer(data):
        try:
            yield from _pixels(base64.b64decode(match[1]))
        except binascii.Error:
            continue


def _pixels(data: bytes) -> Iterator[bytes]:
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            pixels = image.convert("RGB").tobytes()
    except Exception:  # Damaged pictures raise errors of many kinds; they have no pixels.
        return
    yield pixels


# -- runs and what descends from people --------------------------------------------------------------------------------

RECEIPT, JOURNAL = "purge.json", "purge.journal"
#: Sets that the model of a run, or the original that it starts from, was trained on.
TRAINED = {"forget", "retain"}
#: Method whose training leaves the forget set out.
NEVER_SEES_FORGET = "Retrained"
#: Endings of files that hold weights.
WEIGHTS = (".ckpt", ".pt", ".pth", ".safetensors", ".onnx", ".bin")
CHECKPOINT_FOLDER = "checkpoints"
#: Folders of Weights & Biases and MLflow.
TRACKERS = ("wandb", "mlruns", "mlartifacts")


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run."""
    return any((folder / name).exists() for name in (SETTINGS, LOG, CHECKPOINT_FOLDER, f"{AUDITS}/{PEOPLE}"))


def runs_below(folder: Path) -> list[Path]:
    """Return the folders of runs in a folder, itself included; links are not followed."""
    return [Path(parent) for parent, _, _ in os.walk(folder) if is_run(Path(parent)) and Path(parent).name != ORIGINALS]


def tracker_folders(folder: Path) -> list[Path]:
    """Return the folders below a folder in which Weights & Biases or MLflow keep what runs sent them."""
    return [Path(parent, name) for parent, names, _ in os.walk(folder) for name in names if name in TRACKERS]


def holds_gli_files(folder: Path) -> bool:
    """Return whether a folder is one that gli writes: a folder of runs or originals, or a pixel cache."""
    if is_run(folder) or (folder / JOURNAL).is_file() or all(path.suffix == ".lock" for path in folder.iterdir()):
        return True  # A purge may leave nothing but its receipt and its journal, and nothing at all of a cache.
    patterns = ("*/version_*/", f"{ORIGINALS}/*.ckpt", "pixels-*-*.npy", "digests-*.npy", "original_*/*/", "version_*/")
    if any(next(folder.glob(pattern), None) is not None for pattern in patterns):
        return True
    return folder.name == ORIGINALS and next(folder.glob("*.ckpt"), None) is not None


@dataclass(frozen=True)
class Run:
    """A run and what it has to do with some people."""

    folder: Path  # Its folder.
    data: tuple[str, ...]  # The settings that say which people its data has; empty if they cannot be read.
    method: str  # Class name of the method.
    people: Mapping[str, Any] | None  # Names on each image of each evaluation set; None if the run kept none.
    traces: bool  # Whether a file of it other than an audit holds a trace.
    trackers: tuple[str, ...] = ()  # Loggers that wrote elsewhere.

    def audited(self, traces: Traces) -> set[str]:
        """Return the evaluation sets that hold photographs of the people."""
        return {name for name, rows in named_rows(self.people or {}, traces).items() if rows.any()}

    def only_evaluated(self, traces: Traces) -> bool:
        """Return whether the run has photographs of the people and its model was never trained on them."""
        sets = self.audited(traces)
        trained = {"retain"} if self.method == NEVER_SEES_FORGET else TRAINED
        return bool(sets) and not sets & trained


def read_run_of(folder: Path, traces: Traces) -> Run:
    """Return a run and what it has to do with some people."""
    data: tuple[str, ...] = ()
    method, found, trackers = "", False, []
    with suppress(DataError, KeyError, TypeError, AttributeError):
        config = read_yaml(folder / SETTINGS, "the settings of a run")
        section = config["data"]
        arguments = section.get("init_args") or {}
        data = (
            str(section["class_path"]).rpartition(".")[2],
            *(str(arguments.get(name)) for name in ("root", "csv", "seed")),
        )
        method = str(config["model"]["class_path"]).rpartition(".")[2]
        trackers = _trackers((config.get("trainer") or {}).get("logger"))
        found = _in_table(arguments, traces) or _is_drawn(data[0], arguments, traces)
    people = None
    with suppress(DataError):
        people = read_people(folder)
    if not found:
        with suppress(OSError):
            found = bool(traces.found_in((folder / SETTINGS).read_bytes()))
    return Run(folder, data, method, people, found, tuple(trackers))


def _trackers(logger: Any) -> list[str]:
    """Return the loggers of a run that wrote outside of its folder."""
    loggers = logger if isinstance(logger, list) else [logger]
    names = [
        str(each["class_path"]).rpartition(".")[2]
        for each in loggers
        if isinstance(each, Mapping) and "class_path" in each
    ]
    return [name for name in names if name not in ("TensorBoardLogger", "CSVLogger", "MetricsLog")]


def _in_table(arguments: Mapping[str, Any], traces: Traces) -> bool:
    """Return whether the table of a run still exists and lists somebody."""
    if not arguments.get("root"):
        return False
    column = str(arguments.get("identity") or "identity")
    with suppress(DataError):
        rows = read_csv(Path(str(arguments["root"])) / str(arguments.get("csv") or "faces.csv"), [column])
        return any(traces.is_name(row[column]) for row in rows)
    return False


def _is_drawn(data: str, arguments: Mapping[str, Any], traces: Traces) -> bool:
    """Return whether the drawn people of a run have one of the names."""
    if data != "SyntheticFaces":
        return False
    people = arguments.get("people")
    count = people if isinstance(people, int) else 0
    return any(name.startswith("person") and name[6:].isdigit() and int(name[6:]) < count for name in traces.names)


def read_runs(folders: Sequence[Path], traces: Traces) -> list[Run]:
    """Return the runs in some folders."""
    return [read_run_of(folder, traces) for each in folders for folder in runs_below(each)]


def related_runs(runs: Sequence[Run], traces: Traces) -> dict[Path, Run]:
    """Return the runs that have to do with some people, by folder: first those of which only the data says so.

    A run is related if its audits, settings or table name somebody, or if its data is that of a related run.
    """
    direct = [run for run in runs if run.traces or run.audited(traces)]
    data = {run.data for run in direct if run.data}
    indirect = [run for run in runs if run.data in data and run not in direct]
    return {run.folder: run for run in [*indirect, *direct]}


def owners(folders: Sequence[Path], runs: Sequence[Run], related: Mapping[Path, Run]) -> dict[Path, Run | None]:
    """Return whose files are below a folder: a related run, or None for a run that has nothing to do with the people.

    The folder with the specification of a related run is part of the run. A folder that looks like a run and does not
    say which people it has, such as one with checkpoints only, belongs to the run around it.
    """
    found: dict[Path, Run | None] = {}
    for run in related.values():
        for parent in (run.folder, *run.folder.parents):
            if not any(parent.is_relative_to(folder) for folder in folders):
                break
            if (parent / SPEC).is_file():
                found[parent] = run
                break
    telling = [run for run in runs if run.data or run.people is not None or run.folder in related]
    return found | {run.folder: related.get(run.folder) for run in telling}


# -- fields of tables and settings -------------------------------------------------------------------------------------


def named_rows(people: Mapping[str, npt.NDArray[Any]], traces: Traces) -> dict[str, npt.NDArray[np.bool_]]:
    """Return for each evaluation set of a run which of its images show some people."""
    texts = {name: values.astype(str) for name, values in people.items()}
    return {name: np.isin(each, list(filter(traces.is_name, np.unique(each)))) for name, each in texts.items()}


#: Columns and keys that hold one person, and keys that hold several; a number under the latter is a count.
PERSON_KEYS = frozenset(["identity", "person", "person_id", "subject", "name"])
PEOPLE_KEYS = frozenset(["identities", "forget_identities", "held_out", "people", "persons", "subjects", "names"])
#: Names of text files and tables without a header that list people.
PEOPLE_FILES = PERSON_KEYS | PEOPLE_KEYS | {"requests", "forget"}


def people_in(name: str, text: str, columns: Iterable[str] = ()) -> Iterator[str]:
    """Yield what stands where a file has its people: in columns and under keys for them, or in a file named for them.

    Args:
        name: Name of the file; its ending says what it is.
        text: Its contents.
        columns: Further columns of tables that hold people.

    Raises:
        ValueError: If it cannot be parsed.
    """
    listed = Path(name).stem.lower() in PEOPLE_FILES
    if name.endswith(".csv"):
        table = [*csv.reader(io.StringIO(text, newline="")), []]
        header, rows = table[0], table[1:]
        known = PERSON_KEYS | {"names", *columns}
        chosen = {number for number, column in enumerate(header) if column in known or column.strip().lower() in known}
        if listed and not chosen:
            yield from (unquote_cell(cell) for row in table for cell in row)
        yield from (unquote_cell(cell) for row in rows for number, cell in enumerate(row) if number in chosen)
    elif name.endswith(".txt"):
        yield from map(str.strip, text.splitlines() if listed else ())
    else:
        yield from _people(load_yaml(text), "people" if listed else "")


def _people(value: Any, key: str) -> Iterator[str]:
    """Yield the people in nested values.

    Args:
        value: The values.
        key: The key that they are under.
    """
    if isinstance(value, Mapping):
        if key in PEOPLE_KEYS:
            yield from map(str, value)
        for each, item in value.items():
            by_set = key in PEOPLE_KEYS and each in ("retain", *EVALUATION_SETS)
            yield from _people(item, key if by_set else str(each).lower())
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping | list):
                yield from _people(item, key)
            elif key in PEOPLE_KEYS | PERSON_KEYS:
                yield str(item)
    elif (key in PERSON_KEYS and type(value) is int) or (key in PEOPLE_KEYS | PERSON_KEYS and isinstance(value, str)):
        yield str(value)


# -- the purge ---------------------------------------------------------------------------------------------------------

SCHEMA = "gli-purge-receipt/1"
REMOVED, REWRITTEN, RENAMED = "removed", "rewritten", "renamed"
#: Word in place of a name in paths.
INSTEAD = "erased"
LOCKS = (".lock",)
#: Endings of checkpoints that may have a record of their training images.
CHECKPOINTS = (".ckpt", ".pt", ".pth")
#: Endings of files whose fields are compared with names that are too short to be searched for.
FIELDS = (".csv", ".yaml", ".yml", ".json", ".txt")


@dataclass(frozen=True)
class Action:
    """What happens to a file."""

    path: Path  # The file.
    kind: str  # ``removed``, ``rewritten`` or ``renamed``.
    reason: str  # Why, without a name.


@dataclass
class Scope:
    """Where a purge works and what it looks for."""

    folders: dict[str, Path]  # The folders by their name in the receipt, such as ``store`` or ``logs``.
    traces: Traces  # What to look for.
    keep: frozenset[Path] = frozenset()  # Files that are not touched, such as the new weights, but searched.
    always: Sequence[Path] = ()  # Files, and folders below which every file is removed.
    later: frozenset[Path] = frozenset()  # Files that the caller changes itself at the end.
    exceptions: list[str] = field(default_factory=list)  # What could not be reached, one sentence each.

    def spares(self, path: Path) -> bool:
        """Return whether a file is left alone: the caller changes it, or a process may hold it as a lock.

        The lock of a run that was killed goes with the folder of the run.
        """
        locked = path.name in LOCKS and not any(path.is_relative_to(doomed) for doomed in self.always)
        return locked or path in self.later

    def shown(self, path: Path) -> str:
        """Return the path of a file as in the receipt: below the name of its folder, with names of people replaced."""
        for name, folder in self.folders.items():
            with suppress(ValueError):
                relative = self.traces.without_names(path.relative_to(folder).as_posix(), INSTEAD)
                parts = [INSTEAD if self.traces.is_name(part) else part for part in relative.split("/")]
                shown = "/".join(parts).encode(errors="backslashreplace").decode()  # Names may be no UTF-8.
                return f"{name}/{shown}"
        raise SettingError(f"{path}: is outside of the folders of this purge.")


def check_folder(folder: Path) -> Path:
    """Return the real path of a folder of runs.

    Raises:
        SettingError: If it is a link, does not exist, or holds nothing that gli writes.
    """
    if folder.is_symlink():
        raise SettingError(f"{folder}: is a link. Name the folder itself.")
    if not folder.is_dir():
        raise SettingError(f"{folder}: no such folder. Nothing was changed.")
    if not holds_gli_files(folder):
        nested = [each for each in ("lightning_logs", "data/cache") if (folder / each).is_dir()]
        hint = f" Did you mean {folder / nested[0]}?" if nested else ""
        raise SettingError(f"{folder}: holds no runs and no pixel cache of gli, so nothing was changed.{hint}")
    return folder.resolve()


def files_of(scope: Scope) -> Iterator[Path]:
    """Yield the plain files in the folders of a purge once each, and list links and unreadable folders."""
    seen: set[Path] = set()

    def unreadable(error: OSError) -> None:
        _add(scope, f"{scope.shown(Path(str(error.filename)))}: cannot be read ({error.strerror}).")

    for folder in scope.folders.values():
        for parent, folders, names in os.walk(folder, onerror=unreadable):
            for name in [*folders, *names]:
                path = Path(parent, name)
                if path.is_symlink():
                    _add(scope, f"{scope.shown(path)}: a link, which was not followed.")
                elif is_regular(path) and path not in seen:
                    seen.add(path)
                    yield path


def _add(scope: Scope, exception: str) -> None:
    if exception not in scope.exceptions:
        scope.exceptions.append(exception)


def trace_in(path: Path, traces: Traces) -> str:
    """Return what a file holds of the people, also packed or in a picture; an empty string for nothing.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        found = next(filter(None, map(traces.found_in, contents_of(path))), "")
        return found or ("a photograph" if traces.in_cache(path) else "")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), so it cannot be searched.") from error


def plan_actions(scope: Scope) -> list[Action]:
    """List what has to happen to the files, changing none.

    The files by which a run is recognised come last, so that after a kill the same files are listed again.
    """
    folders = list(scope.folders.values())
    runs = read_runs(folders, scope.traces)
    related = related_runs(runs, scope.traces)
    owned = owners(folders, runs, related)
    for run in related.values():
        for tracker in run.trackers:
            _add(scope, f"{scope.shown(run.folder)}: also logged to {tracker}. Look there.")
    for path in (each for folder in folders for each in tracker_folders(folder)):
        _add(scope, f"{scope.shown(path)}: a tracker's folder. It was searched, but figures in it may show the people.")
    labels = {folder.parent.name.rpartition("_")[2] for folder in related}
    actions = []
    for path in files_of(scope):
        if scope.spares(path) and not (path.name in LOCKS and path.parent in related):
            continue
        action = _action(path, scope, owned, labels)
        if action is not None:
            actions.append(action)
    marks = [mark for run in related.values() for mark in _marks(run, scope.traces)]
    order = {mark: number for number, mark in enumerate(marks, 1)}
    return sorted(actions, key=lambda action: order.get(action.path, 0))


def _marks(run: Run, traces: Traces) -> list[Path]:
    """Return the files that relate a run to the people, the one that does so by itself last."""
    settings, people = run.folder / SETTINGS, run.folder / AUDITS / PEOPLE
    return [settings, people] if run.audited(traces) else [people, settings]


def _action(path: Path, scope: Scope, owned: Mapping[Path, Run | None], labels: set[str]) -> Action | None:
    traces = scope.traces
    if path in scope.keep:
        reason = "digests of the photographs in a checkpoint that is kept"
        return Action(path, REWRITTEN, reason) if _recorded(path, traces) else None
    if path.name.startswith(DOOMED):
        return Action(path, REMOVED, "left by an interrupted purge")
    if any(each == path or each in path.parents for each in scope.always):
        released = path.suffix in WEIGHTS and path in scope.always
        reason = "weights that were released before" if released else "a file of the runs of these people"
        return Action(path, REMOVED, reason)
    run = next((owned[parent] for parent in path.parents if parent in owned), None)
    original = path.parent.name == ORIGINALS and path.suffix in WEIGHTS
    original = original and path.stem.partition("-")[0].rpartition("_")[2] in labels
    if (run is not None or original) and not _never_saw(path, None if original else run, traces):
        reason = "a file of a run on the data of these people" if run else "an original trained on the same data"
        return Action(path, REMOVED, reason)
    if path.suffix in WEIGHTS and traces.weights and sha256_file(path) in traces.weights:
        return Action(path, REMOVED, "weights that remember the people")
    try:
        found = trace_in(path, traces) or ("a name" if _short_field(path, traces) else "")
    except DataError as error:
        _add(scope, str(error))
        return None
    if found:
        return Action(path, REMOVED, f"{found} in it")
    parts = path.relative_to(_folder(path, scope)).parts
    if any(traces.is_name(part) or traces.name_in(part.encode()) for part in parts):
        return Action(path, RENAMED, "a name in its path")
    return None


def _never_saw(path: Path, run: Run | None, traces: Traces) -> bool:
    """Return whether a file holds weights that were not trained on the people."""
    if path.suffix not in WEIGHTS:
        return False
    return (run is not None and run.only_evaluated(traces)) or _recorded(path, traces) is False


def _folder(path: Path, scope: Scope) -> Path:
    return next(folder for folder in scope.folders.values() if folder in path.parents)


def _short_field(path: Path, traces: Traces) -> bool:
    """Return whether a table or settings have a name too short to be searched for, in a field that holds people."""
    short = Traces([name for name in traces.names if not is_searchable(name)])
    if not short.names or path.suffix not in FIELDS or path.name == LOG or path.stat().st_size > PIECE:
        return False
    with suppress(ValueError, csv.Error, yaml.YAMLError, RecursionError):
        return any(map(short.is_name, people_in(path.name, path.read_bytes().decode("utf-8"), traces.columns)))
    return False


def _recorded(path: Path, traces: Traces) -> bool | None:
    """Return whether a checkpoint's record of its training images has the people; None if that is not known."""
    if path.suffix not in CHECKPOINTS or not (traces.digests or traces.gone.files):
        return None
    with loading():
        from gli.models.training_images import read_training_images
    with suppress(CheckpointError):
        recorded = read_training_images(path)
        return None if recorded is None else any(traces.is_digest(each.decode()) for each in recorded.tolist())
    return None


class Journal:
    """Notes each file before it is touched, so that a purge that was killed keeps its receipt.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[dict[str, Any]]:
        """Return the notes; an incomplete last one does not count."""
        if not self.path.exists():
            return []
        *lines, _ = read_bytes(self.path, "the journal of a purge").split(b"\n")
        return [parse_canonical(line, "a line of the journal") for line in lines]

    def note(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append notes; they are on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            file.seek(data.rfind(b"\n") + 1)
            file.truncate()
            file.write(b"".join(canonical(entry) + b"\n" for entry in entries))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)


def note_of(action: Action, scope: Scope) -> dict[str, Any]:
    """Return the note of a file for journal and receipt. It names nobody."""
    data = action.path.read_bytes() if action.path.stat().st_size <= PIECE else b""
    known = bool(data) and any(map(scope.traces.is_digest, digests_of(data)))
    return {
        "path": scope.shown(action.path),
        "bytes": action.path.stat().st_size,
        # The digest of a photograph would be a trace itself.
        "sha256": None if known else sha256(data) if data else sha256_file(action.path),
        "action": action.kind,
        "reason": action.reason,
    }


def carry_out(actions: Sequence[Action], scope: Scope, journal: Journal) -> None:
    """Note all actions, then do them; files with other names (hard links) are listed."""
    noted = {(entry["path"], entry["action"]) for entry in journal.entries()}
    notes = [note_of(action, scope) for action in actions if not action.path.name.startswith(DOOMED)]
    journal.note([note for note in notes if (note["path"], note["action"]) not in noted])
    for action in actions:
        if has_other_names(action.path):
            _add(
                scope,
                f"{scope.shown(action.path)}: had another name (a hard link), whose contents were left as they are.",
            )
        if action.kind == REWRITTEN:
            _drop_record(action.path, scope.traces)
        elif action.kind == REMOVED:
            shred(action.path)
    for action in actions:
        if action.kind == RENAMED:
            _rename(action.path, scope)
    for folder in [*scope.always, *scope.folders.values()]:
        _remove_empty(folder, folder in scope.always)


def _drop_record(path: Path, traces: Traces) -> None:
    """Rewrite a checkpoint without the people in its record of training images."""
    from gli.models.training_images import drop_training_images, read_training_images

    recorded = read_training_images(path)
    drop = np.array([each for each in (() if recorded is None else recorded) if traces.is_digest(each.decode())])
    copy = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(path, copy)
        drop_training_images(copy, drop)
        replace_contents(path, copy.read_bytes())
    finally:
        shred(copy)


def _rename(path: Path, scope: Scope) -> None:
    """Replace names of people in the path of a file below the folder of the purge."""
    target = _folder(path, scope)
    for part in path.relative_to(target).parts:
        new = INSTEAD if scope.traces.is_name(part) else scope.traces.without_names(part, INSTEAD)
        target /= new
    number = 0
    while target.exists():
        number += 1
        target = target.with_name(f"{target.stem}-{number}{target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        os.replace(path, target)
        sync_folder(target.parent)


def _remove_empty(folder: Path, itself: bool) -> None:
    """Remove empty folders below a folder."""
    for parent, _, _ in os.walk(folder, topdown=False):
        if (itself or Path(parent) != folder) and not any(Path(parent).iterdir()):
            with suppress(OSError):
                Path(parent).rmdir()


def scan(scope: Scope) -> list[str]:
    """Search every file again; return what is left, one sentence each."""
    left = []
    for path in files_of(scope):
        if scope.spares(path):
            continue
        found = trace_in(path, scope.traces)
        if not found and path.suffix in WEIGHTS and path not in scope.keep and scope.traces.weights:
            found = "weights that remember the people" if sha256_file(path) in scope.traces.weights else ""
        relative = path.relative_to(_folder(path, scope)).as_posix()
        if not found and scope.traces.name_in(relative.encode()):
            found = "a name in its path"
        if found:
            left.append(f"{scope.shown(path)}: {found}.")
    return left


def receipt_of(
    scope: Scope, journal: Journal, left: Sequence[str], time: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of the receipt."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in journal.entries():
        first.setdefault((str(entry["path"]), str(entry["action"])), entry)
    short = sum(not is_searchable(name) for name in scope.traces.names)
    limits = ["File systems that copy on write, flash memory and backups may keep old blocks."]
    if short:
        limits.append(
            f"{short} names are too short to be searched for in every file; they were looked for in fields for people."
        )
    return {
        "schema": SCHEMA,
        "time": time,
        "files": sorted(first.values(), key=lambda entry: str(entry["path"])),
        "exceptions": sorted(scope.exceptions),
        "left": list(left),
        "limits": limits,
        **more,
    }


def purge(
    scope: Scope, journal: Journal, *, dry_run: bool = False, before: Callable[[], None] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """List, and unless ``dry_run`` remove, what descends from the people; search again.

    Args:
        scope: Where, and what to look for.
        journal: Notes each file before it is touched.
        dry_run: List only.
        before: Called after the listing and before the first change.

    Returns:
        The files and what happens to each, and what is left.
    """
    if not dry_run:
        for folder in scope.folders.values():
            remove_remains(folder)
    actions = plan_actions(scope)
    if dry_run:
        return [note_of(action, scope) for action in actions], []
    if before is not None:
        before()
    carry_out(actions, scope, journal)
    again = plan_actions(scope)  # Removing a file may leave others that only its name protected.
    if again:
        carry_out(again, scope, journal)
    return journal.entries(), scan(scope)
