"""An unlearning method by its name, and its settings as values of the right type: checked before any training."""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Mapping
from typing import Any, cast

from jsonargparse import ArgumentParser, Namespace

from gli.erasure.canonical import canonical
from gli.errors import SettingError, did_you_mean
from gli.methods import Method
from gli.system.classes import concrete_subclasses

#: Settings of a method that follow from the store.
OF_THE_STORE = ("original", "backbone", "normalize", "pretrained", "weights")


def method_named(name: str, where: str = "policy.method") -> type[Method]:
    """Return a method by its class name.

    Args:
        name: The name.
        where: The setting or option that names it, for messages.

    Raises:
        SettingError: If there is none.
    """
    known = concrete_subclasses(Method)
    if name not in known:
        raise SettingError(f"{where}: there is no method {name!r}.{did_you_mean(name, known)}")
    return known[name]


def make_method(name: str, settings: Mapping[str, Any], where: str = "policy.method_settings") -> Method:
    """Return a method with some settings, as a run would make it.

    Args:
        name: Class name of the method.
        settings: Its settings; nested ones are mappings.
        where: The setting or option that names them, for messages.

    Raises:
        SettingError: If it has no such setting or no such value.
    """
    cls = method_named(name)
    parser = _parser_of(cls)
    made: Method = cls(**vars(parser.instantiate(_parsed(parser, settings, cls, where, defaults=True))))
    made.check()
    return made


def settings_with(name: str, base: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a method, some of which are replaced by values as on the command line.

    Args:
        name: Class name of the method.
        base: Settings that are kept otherwise.
        values: Values by the name of the setting, with dots in nested ones.

    Raises:
        SettingError: If the method has no such setting or no such value, or the setting follows from the store.
    """
    cls = method_named(name, "--method")
    parser, known = _parser_of(cls), _names_of(cls)
    for setting in values:
        first = setting.partition(".")[0]
        if first in OF_THE_STORE:
            raise SettingError(f"--try {setting}: this setting follows from the store. Leave it out.")
        if first not in known:
            hint = did_you_mean(setting, known) or f" It has {', '.join(known)}."
            raise SettingError(f"--try {setting}: {name} has no such setting.{hint}")
    settings = _parsed(parser, base, cls, "policy.method_settings")
    for setting, value in values.items():
        try:
            settings.update(parser.parse_args([f"--{setting}={value}"], defaults=False))
        except ArgumentError as error:
            raise SettingError(f"--try {setting}={value}: {name} takes no such value ({_reason(error)}).") from error
    merged: dict[str, Any] = settings.as_dict()
    try:
        canonical(merged)
    except ValueError as error:
        raise SettingError(f"--try: a setting of {name} is not a finite number.") from error
    return merged


def _names_of(cls: type[Method]) -> list[str]:
    """Return the names of the settings of a method that do not follow from the store."""
    owners = [each for each in cls.__mro__ if "__init__" in vars(each) and issubclass(each, Method)]
    parameters = [each for owner in owners for each in inspect.signature(vars(owner)["__init__"]).parameters.values()]
    names = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    return [name for name in dict.fromkeys(names) if name not in ("self", *OF_THE_STORE)]


def _parser_of(cls: type[Method]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_class_arguments(cls)
    return parser


def _parsed(
    parser: ArgumentParser, settings: Mapping[str, Any], cls: type[Method], where: str, *, defaults: bool = False
) -> Namespace:
    """Return settings as values of the right type."""
    try:
        return cast("Namespace", parser.parse_object(dict(settings), defaults=defaults))
    except ArgumentError as error:
        raise SettingError(f"{where}: {cls.__name__} does not take them ({_reason(error)}).") from error


def _reason(error: ArgumentError) -> str:
    """Return the parser's message in one line, without its list of types."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    expected = [
        line for line in lines if line.startswith(("Expected", "Option", "unrecognized")) and "None" not in line
    ]
    return (expected or lines)[0].replace("<class '", "").replace("'>", "")
