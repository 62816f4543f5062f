"""The settings of a store, ``store.yaml``: the classifier, the table, and the policy that is declared beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from gli.erasure.dates import time_zone
from gli.errors import DataError, SettingError, did_you_mean
from gli.system.files import read_yaml

SETTINGS = "store.yaml"
VERSION = 1
Route = Literal["auto", "retrain", "unlearn"]
#: Longest side of the images, in pixels.
LARGEST_IMAGE = 4096
#: Reference models without which an unlearned model cannot be audited.
LEAST_REFERENCES = 3
#: With fewer people, the interval of an AUC means nothing.
LEAST_PEOPLE = 5


@dataclass(frozen=True)
class Candidate:
    """An unlearning method and its settings.

    Attributes:
        method: Class name of the method.
        settings: Its settings (``model.*`` of ``gli fit``).
    """

    method: str
    settings: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The settings in one line."""
        return " ".join(f"{name}={value}" for name, value in sorted(self.settings.items()))


@dataclass(frozen=True)
class Policy:
    """What holds for every batch, declared before the first request is carried out.

    Attributes:
        months: Calendar months from the receipt of a request to its due date.
        time_zone: Time zone of the dates.
        batch_days: Requests whose due dates are at most this many days apart are carried out together.
        route: ``retrain``, ``unlearn``, or ``auto``: retrain where it takes at most ``retrain_minutes``.
        retrain_minutes: Longest retraining that ``auto`` chooses, in minutes.
        method: Class name of the unlearning method.
        method_settings: Settings of the method (``model.*`` of ``gli fit``).
        trainer_settings: Settings of the trainer in the unlearning run, such as ``max_epochs`` or ``max_steps``.
        recipe: Training recipe (``data.recipe.*`` of ``gli fit``) of retrained and of reference models.
        data_settings: Further settings of the data, such as ``batch_size``.
        references: Number of reference models that the audit of an unlearned model trains.
        retrain_references: The same for a retrained model, which is exact without them.
        margin: Largest difference of the attack's AUC from 0.5 that counts as no leak.
        utility_margin: Largest loss of accuracy that does not matter, as a share of the test images.
        seed: Seed of the runs.
        jobs: Number of runs at once.
    """

    months: int = 1
    time_zone: str = "UTC"
    batch_days: int = 14
    route: Route = "auto"
    retrain_minutes: float = 1440.0
    method: str = "SCRUB"
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    trainer_settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    references: int = 4
    retrain_references: int = 0
    margin: float = 0.1
    utility_margin: float = 0.05
    seed: int = 0
    jobs: int = 1

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
        if self.route not in get_args(Route):
            raise SettingError(f"policy.route is {self.route!r}; it is one of {', '.join(get_args(Route))}.")
        ranges = {
            "months": (1, 12),
            "batch_days": (0, 366),
            "retrain_minutes": (0, 1e9),
            "references": (LEAST_REFERENCES, 1000),
            "retrain_references": (0, 1000),
            "seed": (0, 2**31),
            "jobs": (1, 1000),
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
    """The contents of ``store.yaml``. Nothing in it names a person.

    Attributes:
        weights: File of the classifier, as given.
        weights_sha256: SHA-256 of that file.
        backbone: Name of the network.
        normalize: Whether the network normalises its input by ImageNet's statistics.
        root: Folder that file names are relative to.
        table: CSV file of the people that the classifier was trained on.
        held_out: CSV file of people who were never trained on, with the columns of the table.
        file: Column with the file names.
        identity: Column with the identities.
        labels: Label columns.
        classes: Names of the classes in the order of the classifier's outputs; empty in a multi-label task.
        image_size: Side of the images in pixels.
        logs: Folder of the runs that trained the classifier, which a purge goes through as well; empty if there is
            none.
        erased: Other stores whose erased people must not return.
        policy: What holds for every batch.
        version: Version of this file's format.
    """

    weights: str
    weights_sha256: str
    backbone: str
    root: str
    table: str
    held_out: str
    labels: list[str]
    classes: list[str] = field(default_factory=list)
    normalize: bool = False
    file: str = "file"
    identity: str = "identity"
    image_size: int = 128
    logs: str = ""
    erased: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    version: int = VERSION

    def check(self) -> None:
        """Refuse a size of images that none have.

        Raises:
            SettingError: Naming the size.
        """
        if not 1 <= self.image_size <= LARGEST_IMAGE:
            raise SettingError(f"image_size is {self.image_size}; it must lie in 1 to {LARGEST_IMAGE}.")


def _parsed(cls: type[Any], contents: Any, where: str) -> dict[str, Any]:
    """Return the values of a section, each of the type of its field.

    Raises:
        DataError: If a value is missing, unknown, or of another type.
    """
    if not isinstance(contents, Mapping):
        raise DataError(f"{where}: holds no settings.")
    fields = {each.name: each for each in dataclasses.fields(cls)}
    for name in contents:
        if name not in fields:
            raise DataError(f"{where}: there is no setting {str(name)[:60]!r}.{did_you_mean(str(name), fields)}")
    values: dict[str, Any] = {}
    for name, each in fields.items():
        if name not in contents:
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
                raise DataError(f"{where}: the setting {name!r} is missing.")
            continue
        value = contents[name]
        if not _fits(value, str(each.type)):
            raise DataError(f"{where}: {name} has a value of the wrong type ({type(value).__name__}).")
        values[name] = value
    return values


def _fits(value: Any, annotation: str) -> bool:
    """Return whether a value of a YAML file has the type of a field."""
    if annotation == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    kinds: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "Route": (str,),
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
    }
    if annotation in kinds:
        return isinstance(value, kinds[annotation]) and isinstance(value, bool) == (annotation == "bool")
    return isinstance(value, Mapping)


def parse_policy(contents: Any, where: str) -> Policy:
    """Return a policy.

    Args:
        contents: Its settings by name.
        where: File of the settings, for messages.

    Raises:
        DataError: If a setting is unknown or of another type.
        SettingError: If a value means nothing.
    """
    policy = Policy(**_parsed(Policy, contents, where))
    policy.check()
    return policy


def read_policy(path: Path) -> Policy:
    """Return the policy in a YAML file; see :func:`parse_policy`."""
    return parse_policy(read_yaml(path, "a policy") or {}, str(path))


def read_settings(folder: Path) -> Settings:
    """Return the settings of a store.

    Raises:
        DataError: If there is no store in the folder, or its settings cannot be read.
        SettingError: If a value of the policy means nothing.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise DataError(f"{folder}: holds no store of erasure requests. Create one with gli erase init.")
    values = _parsed(Settings, read_yaml(path, "the settings of a store"), str(path))
    if values.get("version", VERSION) != VERSION:
        raise DataError(f"{path}: was written by another version of gli (format {values['version']}).")
    values["policy"] = parse_policy(values.get("policy", {}), str(path))
    settings = Settings(**values)
    settings.check()
    return settings


def settings_text(settings: Settings) -> bytes:
    """Return the text of ``store.yaml``."""
    contents = dataclasses.asdict(settings)
    text: str = yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)
    return text.encode()
