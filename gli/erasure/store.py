"""The store: a folder of plain files that holds requests, batches, the ledger and what was released.

store.yaml            settings; nothing in it names a person
key                   random key of the pseudonyms, readable by its owner only
requests.csv          open requests (private)
copies.csv            copies of the photographs of open requests (private)
ledger.jsonl          one line per step, with a hash chain
weights/current.pt    the classifier that the next batch starts from
cohorts/              networks of cohorts, where the store is planned for erasure
batches/<name>/       one batch: batch.json, evidence.json, model.pt, purge.json; its runs until they are purged
releases/<name>/      the files to ship: weights, model card, certificate
rehearsal/            the runs of a rehearsal, until it ends
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import yaml

from gli.auditing import LEAST_REFERENCES
from gli.errors import DataError, SettingError
from gli.study.settings import from_settings
from gli.system.digest import digest, file_hash, keyed_digest, one_spelling
from gli.system.files import csv_text, file_lock, inside, read_csv, read_yaml
from gli.system.ledger import (
    AMEND,
    HEAD,
    KEY_FILE,
    LEDGER,
    Ledger,
    Lines,
    create_key,
    durable_copy,
    durable_write,
    erased_in,
    open_ledger,
    read_key,
    refuse_links,
    remove_remains,
    sha256,
    sha256_file,
)

# -- settings ----------------------------------------------------------------------------------------------------------

SETTINGS = "store.yaml"
VERSION = 1
T = TypeVar("T", "Policy", "Settings")
Route = Literal["auto", "cohorts", "drop", "retrain", "unlearn"]
#: Longest side of the images, in pixels.
LARGEST_IMAGE = 4096
#: With fewer people, the interval of an AUC means nothing.
LEAST_PEOPLE = 5


@dataclass(frozen=True)
class Candidate:
    """An unlearning method and its settings."""

    method: str  # Class name of the method.
    settings: Mapping[str, Any]  # Its settings (``model.*`` of ``gli fit``).

    @property
    def words(self) -> str:
        """The settings in one line."""
        return " ".join(f"{name}={value}" for name, value in sorted(self.settings.items()))


@dataclass(frozen=True)
class Policy:
    """What holds for every batch, declared before the first request is carried out."""

    months: int = 1  # Calendar months from the receipt of a request to its due date.
    time_zone: str = "UTC"  # Time zone of the dates.
    batch_days: int = 14  # Requests whose due dates are at most this many days apart are carried out together.
    #: ``retrain``, ``unlearn``, or ``auto``: an exact route where one takes at most ``retrain_minutes``. In a store
    #: planned for erasure also ``cohorts``: networks that saw the people are trained again; or ``drop``: left out.
    route: Route = "auto"
    retrain_minutes: float = 1440.0  # Longest training that ``auto`` chooses, in minutes.
    method: str = "SCRUB"  # Class name of the unlearning method.
    #: Settings of the method (``model.*`` of ``gli fit``).
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    #: Settings of the trainer in the unlearning run, such as ``max_epochs`` or ``max_steps``.
    trainer_settings: Mapping[str, Any] = field(default_factory=dict)
    #: Training recipe (``data.recipe.*`` of ``gli fit``) of retrained and of reference models.
    recipe: Mapping[str, Any] = field(default_factory=dict)
    #: Further settings of the data, such as ``batch_size``.
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    references: int = 4  # Number of reference models that the audit of an unlearned model trains.
    retrain_references: int = 0  # The same for a retrained model, which is exact without them.
    margin: float = 0.1  # Largest difference of the attack's AUC from 0.5 that counts as no leak.
    utility_margin: float = 0.05  # Largest loss of accuracy that does not matter, as a share of the test images.
    seed: int = 0  # Seed of the runs.
    jobs: int = 1  # Number of runs at once.
    #: Smallest number of photographs of a cohort; the people of a smaller one join the next cohort.
    cohort_images: int = 50
    served_epochs: int = 1  # Epochs of the classifier that networks of cohorts teach.
    #: Settings of its method, such as ``temperature`` (``model.*`` of ``gli fit --model Served``).
    served_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> Candidate:
        """The method and its settings."""
        return Candidate(self.method, self.method_settings)

    def check(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            SettingError: Naming the first of them.
        """
        time_zone(self.time_zone)
        ranges = {
            "months": (1, 12),
            "batch_days": (0, 366),
            "retrain_minutes": (0, 1e9),
            "references": (LEAST_REFERENCES, 1000),
            "retrain_references": (0, 1000),
            "seed": (0, 2**31),
            "jobs": (1, 1000),
            "cohort_images": (2, 10**9),
            "served_epochs": (1, 10**6),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise SettingError(f"policy.{name} is {getattr(self, name)}; it must lie in {least:g} to {most:g}.")
        for name, most in (("margin", 0.5), ("utility_margin", 1.0)):
            if not 0 < getattr(self, name) < most:
                raise SettingError(f"policy.{name} is {getattr(self, name):g}; it must lie between 0 and {most:g}.")
        if not self.method.isidentifier():
            raise SettingError(f"policy.method is {self.method!r}; it is the name of a method, such as SCRUB.")


@dataclass(frozen=True)
class Settings:
    """The contents of ``store.yaml``. Nothing in it names a person."""

    weights: str  # File of the classifier, as given; empty where networks of cohorts taught it.
    weights_sha256: str  # SHA-256 of that file; empty likewise.
    backbone: str  # Name of the network.
    root: str  # Folder that file names are relative to.
    table: str  # CSV file of the people that the classifier was trained on.
    held_out: str  # CSV file of people who were never trained on, with the columns of the table.
    labels: list[str]  # Label columns.
    #: Names of the classes in the order of the classifier's outputs; empty in a multi-label task.
    classes: list[str] = field(default_factory=list)
    normalize: bool = False  # Whether the network normalises its input by ImageNet's statistics.
    file: str = "file"  # Column with the file names.
    identity: str = "identity"  # Column with the identities.
    image_size: int = 128  # Side of the images in pixels.
    #: Folder of the runs that trained the classifier, which a purge goes through as well; empty if there is none.
    logs: str = ""
    erased: list[str] = field(default_factory=list)  # Other stores whose erased people must not return.
    policy: Policy = field(default_factory=Policy)  # What holds for every batch.
    cohorts: int = 0  # Number of cohorts at the creation; 0 for a classifier that was not planned for erasure.
    version: int = VERSION  # Version of this file's format.

    def check(self) -> None:
        """Refuse a size of images that none have, and a single cohort.

        Raises:
            SettingError: Naming the number.
        """
        if self.cohorts == 1 or self.cohorts < 0:
            raise SettingError(f"cohorts is {self.cohorts}; a classifier planned for erasure has 2 or more.")
        if not 1 <= self.image_size <= LARGEST_IMAGE:
            raise SettingError(f"image_size is {self.image_size}; it must lie in 1 to {LARGEST_IMAGE}.")


def _read(kind: type[T], contents: Any, where: str) -> T:
    """Return settings from the values of a YAML file: as written, since the ledger has a hash of them.

    Raises:
        DataError: If a value is missing, unknown, or of another type.
        SettingError: If a value is out of its range.
    """
    if not isinstance(contents, Mapping):
        raise DataError(f"{where}: holds no settings.")
    try:
        settings: T = from_settings(kind, contents)
    except SettingError as error:
        raise DataError(f"{where}: {error}") from error
    for each in (settings, *vars(settings).values()):
        if isinstance(each, Settings | Policy):
            each.check()
    return settings


def read_policy(path: Path) -> Policy:
    """Return the policy in a YAML file.

    Raises:
        DataError: If a setting is unknown or of another type.
        SettingError: If a value is out of its range.
    """
    return _read(Policy, read_yaml(path, "a policy") or {}, str(path))


def read_settings(folder: Path) -> Settings:
    """Return the settings of a store.

    Raises:
        DataError: If there is no store in the folder, or its settings cannot be read.
        SettingError: If a value of the policy is out of its range.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise DataError(
            f"{folder}: holds no store of erasure requests: {SETTINGS} is missing. Create one with gli erase init."
        )
    contents = read_yaml(path, "the settings of a store")
    if isinstance(contents, Mapping) and contents.get("version", VERSION) != VERSION:
        raise DataError(f"{path}: was written by another version of gli (format {contents['version']}).")
    return _read(Settings, contents, str(path))


def settings_text(settings: Settings) -> bytes:
    """Return the text of ``store.yaml``."""
    contents = dataclasses.asdict(settings)
    if not settings.cohorts:  # The ledgers of such stores have hashes of settings without these.
        del contents["cohorts"]
        for name in ("cohort_images", "served_epochs", "served_settings"):
            del contents["policy"][name]
    text: str = yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)
    return text.encode()


#: Packages whose classes settings may name: gli needs them itself.
LIBRARIES = frozenset(["gli", "lightning", "timm", "torch", "torchmetrics", "torchvision"])
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def check_code(settings: Settings, allowed: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each module that settings import besides gli and its libraries; it is not imported yet.

    Args:
        settings: The settings; a network (``my_module:build``) or a class path in the policy may name a module.
        allowed: Modules that the command line allows.

    Raises:
        SettingError: If another module is named, or there is no such module.
    """
    policy, hashes = settings.policy, {}
    settings_of = (policy.method_settings, policy.served_settings, policy.trainer_settings, policy.recipe)
    values = _texts([*settings_of, policy.data_settings])
    paths = {each for each in values if _IMPORT_PATH.fullmatch(each)}
    paths |= {settings.backbone} if ":" in settings.backbone else set()
    for path in sorted(paths):
        module = re.split("[.:]", path)[0]
        if module in LIBRARIES:
            continue
        if module not in allowed:
            raise SettingError(
                f"{SETTINGS}: {path!r} imports code that is not gli's. Read it, then allow it: --allow-code {module}."
            )
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise SettingError(
                f"{SETTINGS}: {path!r}: there is no module {module!r} in the current folder or installed."
            )
        file = Path(spec.origin)
        files = sorted(file.parent.rglob("*.py")) if spec.submodule_search_locations else [file]
        text = "".join(f"{sha256_file(each)}  {each.relative_to(file.parent).as_posix()}\n" for each in files)
        hashes[module] = sha256_file(file) if len(files) == 1 else sha256(text.encode())
    return hashes


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def time_zone(name: str) -> tzinfo:
    """Return the time zone of a name such as ``Europe/Berlin``.

    Raises:
        SettingError: If there is no such zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise SettingError(f"{name!r} is not a time zone. Write one such as UTC or Europe/Berlin.") from error


# -- the tables --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photo:
    """One row of a table."""

    file: str  # Name of the file, relative to the root.
    identity: str  # The person, in the one spelling of all names that look the same.
    labels: tuple[str, ...]  # Values of the label columns.
    digest: str = ""  # Content hash of the file.
    line: int = 0  # Line of the table.
    spelling: str = ""  # The person as the table spells the name.


def read_photos(path: Path, settings: Settings) -> list[Photo]:
    """Return the rows of a table, without content hashes.

    Raises:
        DataError: If the table cannot be read, or a row is not complete.
    """
    rows = read_csv(path, [settings.file, settings.identity, *settings.labels])
    photos = []
    for row in rows:
        where = f"{path}, line {row.line}"
        name, identity = inside(Path(settings.root), row[settings.file], where), row[settings.identity]
        if not identity:
            raise DataError(f"{where}: the identity is empty. Name the person on the image.")
        labels = tuple(row[label] for label in settings.labels)
        photos.append(Photo(name, one_spelling(identity), labels, "", row.line, identity))
    return photos


def with_digests(photos: Iterable[Photo], root: Path) -> list[Photo]:
    """Return rows with the content hashes of their files, which are kept in memory only.

    Raises:
        DataError: If a file cannot be read.
    """
    hashed = []
    for photo in photos:
        try:
            hashed.append(replace(photo, digest=digest((root / photo.file).read_bytes())))
        except OSError as error:
            raise DataError(
                f"{root / photo.file}: the table lists this image but it cannot be read ({error.strerror}). Restore "
                "the file, or remove its row from the table."
            ) from error
    return hashed


def manifest(photos: Sequence[Photo]) -> str:
    """Return a hash of the images and labels that a model is trained on, independent of their order and names."""
    lines = sorted("\0".join((photo.digest, *photo.labels)) for photo in photos)
    return sha256("\n".join(lines).encode())


def table_text(photos: Sequence[Photo], settings: Settings) -> bytes:
    """Return a table as a CSV file."""
    header = [settings.file, settings.identity, *settings.labels]
    return csv_text([header, *([photo.file, photo.identity, *photo.labels] for photo in photos)]).encode()


def names_text(column: str, values: Mapping[str, str | int]) -> bytes:
    """Return a CSV file with a value of each person, such as their set (``data.assignment``)."""
    return csv_text([("identity", column), *sorted((name, str(each)) for name, each in values.items())]).encode()


def pixels_of(photos: Sequence[Photo], settings: Settings) -> npt.NDArray[np.uint8]:
    """Decode photographs without a cache on disk, shape ``(images, size, size, 3)``."""
    from gli.data.faces import ImageFiles

    images = ImageFiles(Path(settings.root), [photo.file for photo in photos])
    size = settings.image_size
    return np.stack([images.pixels(row, size) for row in range(len(photos))])


class LazyPixels:
    """Pixels of photographs by row, decoded when they are needed and kept nowhere; ``advance`` gets their number."""

    def __init__(
        self, photos: Sequence[Photo], settings: Settings, advance: Callable[[int], None] = lambda _: None
    ) -> None:
        self.photos, self.settings, self.advance = photos, settings, advance

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[np.uint8]:
        """Return the pixels of some rows."""
        self.advance(len(rows))
        return pixels_of([self.photos[row] for row in rows], self.settings)


@dataclass(frozen=True)
class Noted:
    """Keyed hashes of photographs, noted when they were asked for: what finds their traces once they are deleted."""

    key: bytes = b""  # Key of the store.
    files: frozenset[str] = frozenset()  # Keyed hashes of their content hashes.
    #: Keyed hashes of their pixels, in the size of the store and those of its caches.
    pixels: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()  # Keyed hashes of their perceptual hashes.

    @classmethod
    def of(cls, key: bytes, photos: Sequence[Photo], settings: Settings, sizes: Iterable[int] = ()) -> Noted:
        """Return the keyed hashes of some photographs, which are decoded.

        Args:
            key: Key of the store.
            photos: The photographs.
            settings: Settings of the store.
            sizes: Further sizes of images in caches.
        """
        pixels = {
            pixels_hash(key, each)
            for size in ({settings.image_size, *sizes} if photos else ())
            for each in pixels_of(photos, replace(settings, image_size=size))
        }
        files = frozenset(file_hash(key, photo.digest) for photo in photos)
        return cls(key, files, frozenset(pixels), frozenset(looks_of(key, photos, settings)) - {""})

    def contents(self) -> dict[str, list[str]]:
        """Return the hashes as plain values for the ledger."""
        return {name: sorted(getattr(self, name)) for name in ("files", "pixels", "looks")}


#: Nothing was noted.
NOTHING = Noted()


def noted_in(lines: Lines, key: bytes, requests: Iterable[str]) -> Noted:
    """Return what the ledger notes of the photographs of some requests; nothing for those of earlier versions."""
    wanted = set(requests)
    entries = [entry for entry in lines.of_kind("request") if entry["request"] in wanted]
    names = ("files", "pixels", "looks")
    return Noted(key, *(frozenset(str(each) for entry in entries for each in entry.get(name, ())) for name in names))


def pixels_hash(key: bytes, pixels: npt.NDArray[np.uint8]) -> str:
    """Return the keyed hash of an image of shape ``(size, size, 3)``."""
    return keyed_digest(key, "pixels", len(pixels), pixels.tobytes())


def looks_of(key: bytes, photos: Sequence[Photo], settings: Settings) -> list[str]:
    """Return the keyed hash of the perceptual hash of each photograph; empty for one of a single colour."""
    from gli.data.near_copies import perceptual_hashes

    hashes = perceptual_hashes(LazyPixels(photos, settings), np.arange(len(photos)))
    return [keyed_digest(key, "looks", np.packbits(each > 0).tobytes()) if each.any() else "" for each in hashes]


def cached_sizes(folders: Iterable[Path]) -> set[int]:
    """Return the sizes of the images in the pixel caches below some folders."""
    names = (path.name.split("-") for folder in folders for path in folder.rglob("pixels-*-*.npy"))
    return {int(parts[1]) for parts in names if parts[1].isdigit()}


# -- the store ---------------------------------------------------------------------------------------------------------

LOCK, WEIGHTS, BATCHES, RELEASES = ".lock", "weights/current.pt", "batches", "releases"
REHEARSAL, COHORTS = "rehearsal", "cohorts"
BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def noted_settings(lines: Lines) -> list[str]:
    """Return the hash of the settings that a ledger noted last, and of those before where a kill may have left them.

    Args:
        lines: The ledger.
    """
    last = [entry for entry in lines.entries if entry["kind"] in ("init", "policy", AMEND)][-1]
    if last["kind"] == "init":
        return [str(last["policy"])]
    return [str(last["after"]), *([str(last["before"])] if last["kind"] == "policy" else [])]


def current_weights(lines: Lines) -> set[str]:
    """Return the SHA-256 that the current classifier may have: a purge that was killed may have replaced it.

    Args:
        lines: The ledger.
    """
    after: dict[str, str] = {}
    current: set[str] = set()
    for entry in lines.entries:
        if entry["kind"] in ("init", "served"):
            current = {str(entry["weights"])}
        elif entry["kind"] == "run":
            after[str(entry["batch"])] = str(entry["weights_after"])
        elif entry["kind"] in ("erased", "purge") and entry["batch"] in after:
            new = {after[str(entry["batch"])]}
            current = new if entry["kind"] == "purge" else current | new
    return current


class Store:
    """A store that exists; see :func:`create` for a new one.

    Args:
        folder: Folder of the store.
        amending: Accept a ledger of an earlier version, and settings that are not those of the ledger.
        allow_code: Modules that the settings may import; None for a step that imports none.

    Raises:
        SettingError: If the settings would import another module.
        DataError: If there is no store in the folder, a file of it cannot be read, its ledger does not hold, or its
            settings were changed.
    """

    def __init__(self, folder: Path, *, amending: bool = False, allow_code: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.settings: Settings = read_settings(folder)
        self.ledger = open_ledger(folder, unsigned=amending)
        self.key = self.ledger.key
        self.zone = time_zone(self.settings.policy.time_zone)
        self.code = {} if allow_code is None else check_code(self.settings, allow_code)
        if not amending and sha256(settings_text(self.settings)) not in noted_settings(self.ledger.read()):
            raise DataError(
                f"{folder / SETTINGS}: was changed since the ledger noted it. Restore it, or have the change noted in "
                'the ledger and in every certificate from now on: gli erase amend --reason "REASON".'
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store; another process waits, and says so. The lock of a killed process is free."""
        with file_lock(self.folder / LOCK, "working on this store"):
            refuse_links(self.folder)
            remove_remains(self.folder)
            yield

    @property
    def current(self) -> Path:
        """Path of the classifier that the next batch starts from."""
        return self.folder / WEIGHTS

    @property
    def weights(self) -> Path:
        """The same classifier, for use: its SHA-256 is compared with the ledger.

        Raises:
            DataError: If it is not the one that the ledger names, or cannot be read.
        """
        expected = current_weights(self.ledger.read())
        if "" in expected:
            raise DataError(f"{self.folder}: its classifier is not trained yet. Repeat gli erase init to go on.")
        if (found := sha256_file(self.current)) not in expected:
            raise DataError(
                f"{self.current}: is not the classifier that the ledger names (its SHA-256 begins with {found[:16]}, "
                f"not with {' or '.join(sorted(each[:16] for each in expected))}). Restore it from a backup."
            )
        return self.current

    @property
    def root(self) -> Path:
        """Folder of the photographs."""
        return Path(self.settings.root)

    def batch(self, name: str) -> Path:
        """Return the folder of a batch.

        Raises:
            SettingError: If the name is invalid, such as a path.
        """
        return self.folder / BATCHES / check_batch_name(name)

    def release(self, name: str) -> Path:
        """Return the folder of the release of a batch; see :meth:`batch`."""
        return self.folder / RELEASES / check_batch_name(name)

    # -- the tables ------------------------------------------------------------------------------------------------

    @cached_property
    def photos(self) -> list[Photo]:
        """All rows of the table, with content hashes."""
        return with_digests(read_photos(Path(self.settings.table), self.settings), self.root)

    @cached_property
    def held_out(self) -> list[Photo]:
        """The rows of people who were never trained on, with content hashes."""
        return with_digests(read_photos(Path(self.settings.held_out), self.settings), self.root)

    def erased_rows(self, lines: Lines) -> dict[str, list[Photo]]:
        """Return the rows of the table that belong to erased people, by the pseudonym of their request.

        Raises:
            DataError: If somebody has returned whose photographs had left the table, or was erased in another store.
        """
        return self._erased_among(self.photos, self.settings.table, lines)

    def erased_held_out(self, lines: Lines) -> dict[str, list[Photo]]:
        """Return the held-out rows that show erased people, by the pseudonym of their request.

        They are copies of erased photographs under names of held-out people: the classifier was trained on them.

        Raises:
            DataError: If an erased person is named as held out, or such a photograph has returned.
        """
        return self._erased_among(self.held_out, self.settings.held_out, lines, named_returns=True)

    def _erased_among(
        self, photos: list[Photo], table: str, lines: Lines, *, named_returns: bool = False
    ) -> dict[str, list[Photo]]:
        """Return the rows of a table that show erased people, by request; ``named_returns`` refuses their names."""
        erased = erased_in(lines)
        rows: dict[str, list[Photo]] = {}
        for photo in photos:
            request = erased.request_of(self.key, photo.spelling, photo.digest)
            if request is not None:
                named = named_returns and erased.request_of(self.key, photo.spelling) is not None
                refuse_return(named or request in erased.gone, request, table, photo)
                rows.setdefault(request, []).append(photo)
        refuse_erased(photos, table, self.settings.erased)
        return rows


def note_departures(store: Store, now: datetime | None = None) -> Lines:
    """Record requests whose photographs are gone; raise if an erased person is in a table again. Return the ledger.

    Until their rows are removed, erased people are left out of training and audited again; from then on, a row with
    their name is a return. Call with the store locked.

    Raises:
        DataError: If somebody has returned or was erased in another store, or held-out people are in the table.
    """
    lines = store.ledger.read()
    check_tables(store.photos, store.held_out, store.settings)
    present, erased = {**store.erased_rows(lines), **store.erased_held_out(lines)}, erased_in(lines)
    for request in sorted(erased.requests - erased.gone - present.keys()):
        store.ledger.append("gone", {"request": request}, now)
    return store.ledger.read()


def check_noted(path: Path, digest: str, noted: Any, remedy: str = "Restore it from a backup.") -> None:
    """Refuse a file of a store that is not the one whose hash the ledger has.

    Args:
        path: The file.
        digest: Its SHA-256.
        noted: The SHA-256 in the ledger.
        remedy: What to do, in a sentence.

    Raises:
        DataError: If the two differ.
    """
    if digest != noted:
        raise DataError(f"{path}: is not the file that the ledger speaks of. {remedy}")


def refuse_return(returned: bool, request: str, table: str, photo: Photo) -> None:
    """Refuse a row of an erased person.

    Raises:
        DataError: Naming the request, not the person.
    """
    if returned:
        raise DataError(
            f"{table}, line {photo.line}: this person or photograph was erased by request {request} and has returned, "
            "perhaps with a restored backup. Remove the row and its photograph."
        )


def refuse_erased(photos: list[Photo], table: str, stores: list[str]) -> None:
    """Refuse rows of people whom other stores have erased.

    Raises:
        DataError: Naming the table's line and the request.
    """
    for name in stores:
        ledger = open_ledger(Path(name))
        erased = erased_in(ledger.read())
        for photo in photos:
            request = erased.request_of(ledger.key, photo.spelling, photo.digest)
            refuse_return(request is not None, str(request), table, photo)


def check_batch_name(name: str) -> str:
    """Return the name of a batch.

    Raises:
        SettingError: If it has other characters than small letters, digits and hyphens.
    """
    if not BATCH_NAME.fullmatch(name):
        raise SettingError(
            f"{name[:60]!r} is not the name of a batch: small letters, digits and hyphens, such as batch-1."
        )
    return name


def check_tables(photos: list[Photo], held_out: list[Photo], settings: Settings) -> None:
    """Refuse held-out people or files that are in the table, and class names that are names of people.

    Raises:
        DataError: Naming the first of them.
    """
    people, files = {photo.identity for photo in photos}, {photo.digest for photo in photos}
    for photo in held_out:
        what = "person" if photo.identity in people else "file" if photo.digest in files else ""
        if what:
            raise DataError(
                f"{settings.held_out}, line {photo.line}: this {what} is in {settings.table} too, so the classifier "
                "may have been trained on it. Held-out people must never have been in training."
            )
    both = {value for photo in photos for value in photo.labels} & people
    if both:
        raise DataError(
            f"{settings.table}: the label {sorted(both)[0]!r} is also the name of a person. A classifier whose outputs "
            "are people names them wherever it goes; gli erase is for classifiers of other labels."
        )


def create(folder: Path, settings: Settings, weights: Path | None) -> Store:
    """Create a store, or return the one that is there if it has the same settings.

    Args:
        folder: The folder.
        settings: The settings; ``weights_sha256`` is filled in.
        weights: The classifier, which is copied into the store; None for one that networks of cohorts will teach.

    Raises:
        SettingError: If the folder holds something else, or a store of other settings.
        DataError: If a table cannot be read, or held-out people are in the table.
    """
    settings = replace(settings, weights_sha256=sha256_file(weights) if weights else "")
    path, own = folder / SETTINGS, (LOCK, KEY_FILE, "weights", LEDGER, HEAD)
    others = [each for each in folder.glob("*") if each.name not in own and each.suffix != ".part"]
    if others and not path.exists():
        raise SettingError(f"{folder}: is not empty, and holds no store. Name another folder with --store.")
    folder.mkdir(parents=True, exist_ok=True)
    other = SettingError(f"{folder}: holds a store of other settings. Name another folder with --store.")
    with file_lock(folder / LOCK, "creating this store"):
        remove_remains(folder)
        if path.exists():
            store = Store(folder)
            if replace(store.settings, policy=settings.policy) != settings:
                raise other
            return store
        photos = with_digests(read_photos(Path(settings.table), settings), Path(settings.root))
        held_out = with_digests(read_photos(Path(settings.held_out), settings), Path(settings.root))
        check_tables(photos, held_out, settings)
        refuse_erased(photos, settings.table, settings.erased)
        refuse_erased(held_out, settings.held_out, settings.erased)
        key = read_key(folder / KEY_FILE) if (folder / KEY_FILE).exists() else create_key(folder / KEY_FILE)
        if weights:
            durable_copy(weights, folder / WEIGHTS)
        first = {
            "weights": settings.weights_sha256,
            "backbone": settings.backbone,
            "manifest": manifest(photos),
            "images": len(photos),
            "held_out_manifest": manifest(held_out),
            "held_out_images": len(held_out),
            "policy": sha256(settings_text(settings)),
        }
        ledger = Ledger(folder, key)
        entries = ledger.read().entries
        if len(entries) > 1 or any(entry["policy"] != first["policy"] for entry in entries):
            raise other
        if not entries:
            ledger.append("init", first)
        durable_write(path, settings_text(settings))
    return Store(folder)
