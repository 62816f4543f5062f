"""The settings of a study in a YAML file: a dataclass, whose numbers, texts and lists jsonargparse checks."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import restricted_number_type

from gli.errors import DataError, SettingError, did_you_mean
from gli.runs.folder import snake_case
from gli.system.files import read_yaml

T = TypeVar("T")
#: Settings of runs by dotted name, such as ``{"model.lr": 0.01}``.
Settings = Mapping[str, Any]
#: Methods by name, each with its own settings; or names alone.
Methods = dict[str, dict[str, Any]] | list[str]
#: Origins of the types of mappings.
MAPPINGS = (dict, Mapping)
LARGEST_SEED = 2**32 - 1
Seed = restricted_number_type("Seed", int, [(">=", 0), ("<=", LARGEST_SEED)])


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method or a variant of a study.

    Attributes:
        config: Name of its configuration.
        settings: Its own settings, by dotted name.
    """

    config: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_study(kind: type[T], path: Path, what: str, renamed: Mapping[str, str] | None = None) -> T:
    """Read the settings of a study, such as ``a benchmark``, from a YAML file; see :func:`from_settings`.

    Raises SettingError if the file cannot be read, or a setting is unknown, missing or has an unusable value.
    """
    try:
        contents = read_yaml(path, f"the configuration of {what}")
    except DataError as error:
        raise SettingError(str(error)) from error
    if not isinstance(contents, Mapping):
        raise SettingError(f"{path}: holds no settings. {what.capitalize()} names at least data and methods.")
    try:
        return from_settings(kind, contents, renamed=renamed or {})
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def from_settings(
    kind: type[T], contents: Mapping[str, Any], *, renamed: Mapping[str, str] = {}, spelled: Mapping[str, str] = {}
) -> T:
    """Return a dataclass of settings; each may be ``Annotated`` with what its value has to be, in words.

    Args:
        kind: The dataclass.
        contents: The settings by name.
        renamed: Settings that earlier versions called otherwise, with the present name.
        spelled: Names of the settings whose fields are called otherwise, by field.

    Raises:
        SettingError: If a setting is unknown, missing or has an unusable value.
    """
    fields = {spelled.get(field.name, field.name): field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for name in contents:
        if name in renamed:
            raise SettingError(f"the setting {name!r} is now called {renamed[name]!r}. Rename it.")
        if name not in fields:
            hint = did_you_mean(str(name), fields)
            raise SettingError(f"there is no setting {str(name)[:60]!r}.{hint} Known: {', '.join(fields)}.")
    for name, field in fields.items():
        if name not in contents and field.default is field.default_factory is dataclasses.MISSING:
            raise SettingError(f"the setting {name!r} is missing. Add it.")
    hints, values = get_type_hints(kind, include_extras=True), {}
    for name, value in contents.items():
        hint = hints[fields[name].name]
        hint, expected = get_args(hint) if get_origin(hint) is Annotated else (hint, _in_words(hint))
        if value is None:
            raise SettingError(f"{name} is null; expected {expected}.")
        try:
            nested = dataclasses.is_dataclass(hint) and isinstance(value, Mapping)
            values[fields[name].name] = from_settings(hint, value) if nested else checked(hint, value)
        except WRONG_TYPE as error:
            raise SettingError(f"{name} is {repr(value)[:60]}; expected {expected}.") from error
    return kind(**values)


def _in_words(hint: Any) -> str:
    """Return in words what a value of a type is."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) is Mapping or dataclasses.is_dataclass(hint):
        return "names with values"
    return getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint)


#: What :func:`checked` raises.
WRONG_TYPE = (ArgumentError, TypeError, ValueError)


def checked(hint: Any, value: Any) -> Any:
    """Return a value of a type, as it is written where that is equal: 30 for the number 30.0.

    Values of type ``Any`` stay as given: jsonargparse would instantiate classes in them, and turn text into numbers.

    Raises:
        ArgumentError, TypeError or ValueError: If the value is of another type.
    """
    if hint is Any or (hint == list[Any] and isinstance(value, list)):
        return value
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a name is no text")
        if dataclasses.is_dataclass(hint):
            types = get_type_hints(hint)
            make: Any = hint
            return make(**{name: checked(types.get(name, Any), item) for name, item in value.items()})
        for kind in kinds:
            if get_origin(kind) in MAPPINGS:
                return {name: checked(get_args(kind)[1], item) for name, item in value.items()}
    scalars = [kind for kind in kinds if get_origin(kind) not in MAPPINGS and not dataclasses.is_dataclass(kind)]
    if value is None or not scalars:  # jsonargparse takes None for a missing value, and reads mappings from text.
        raise TypeError("of another type")
    parsed = _parser_of(scalars[0]).parse_object({"value": value}).value
    return value if value == parsed else parsed


@cache
def _parser_of(kind: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser


def entries_of(methods: Methods, data: str) -> dict[str, Entry]:
    """Return the methods of a study by name: the configuration of a method is called ``<method>_<data>``."""
    if not re.fullmatch(r"\w[\w.-]*", data):
        raise SettingError(f"data is {data!r}; expected the last part of the configurations' names.")
    named = methods if isinstance(methods, Mapping) else {name: {} for name in methods}
    return {name: Entry(f"{snake_case(name)}_{data}", settings) for name, settings in named.items()}


def read_pairs(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return settings from arguments such as ``data.split=identity``; values are read as YAML.

    ``option`` names the command-line option in the SettingError if one has another form.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingError(f"{option} {pair}: expected NAME=VALUE, such as data.split=identity.")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingError(f"{option} {pair}: the value cannot be read. Put it in quotes.") from error
    check_settings(option, settings)
    return settings


def check_settings(place: str, settings: Mapping[Any, Any]) -> None:
    """Refuse settings that a command line cannot express."""
    for name, value in settings.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name):
            raise SettingError(f"{place}: {name!r} is not the name of a setting. Names look like model.lr.")
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{place}: {name} is {value!r} ({error}). Put the value in quotes.") from error


def flags_of(settings: Settings) -> list[str]:
    """Return settings as arguments of ``gli fit``."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
