"""The settings that a search varies: a grid, or ranges and choices that are sampled. Pure functions on text."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli.errors import SettingError

#: Settings of a trial by dotted name, each value as on the command line.
Settings = dict[str, str]
EXAMPLE = "model.lr=0.003,0.01"
_INTEGER = re.compile(r"[+-]?\d+")
_RANGE = "--range {}: expected KEY=LOW..HIGH or KEY=LOW..HIGH:log, such as model.lr=1e-4..1e-2:log"


@dataclass(frozen=True)
class Range:
    """Numbers that a setting is sampled from."""

    keys: tuple[str, ...]  # Dotted names of the settings that take the value together.
    low: float  # Smallest value.
    high: float  # Largest value.
    log: bool = False  # Whether the logarithm is sampled evenly.
    integer: bool = False  # Whether only whole numbers are sampled.

    def text(self, value: Any) -> str:
        """Return a value as on the command line, with four digits unless that leaves the range."""
        if self.integer:
            return str(int(value))
        short = f"{value:.4g}"
        return short if self.low <= float(short) <= self.high else repr(float(value))


@dataclass(frozen=True)
class Choice:
    """Values that a setting is chosen from."""

    keys: tuple[str, ...]  # Dotted names of the settings that take the value together.
    values: tuple[str, ...]  # The values as on the command line.

    def text(self, value: Any) -> str:
        """Return a value as on the command line."""
        return str(value)


@dataclass(frozen=True)
class Space:
    """All settings that a search samples."""

    axes: tuple[Range | Choice, ...]

    def settings(self, parameters: Mapping[str, Any]) -> Settings:
        """Return the settings of a trial from the sampled values, which are named by their joined keys."""
        return {key: axis.text(parameters[name_of(axis)]) for axis in self.axes for key in axis.keys}

    def combinations(self) -> list[dict[str, str]]:
        """Return all combinations of values of a space of choices, by the names of the sampled values."""
        choices = [axis for axis in self.axes if isinstance(axis, Choice)]
        names = [name_of(axis) for axis in choices]
        return [
            dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in choices))
        ]

    def example(self) -> Settings:
        """Return the settings of some trial: the first value of each choice, and the lower end of each range."""
        return self.settings(
            {name_of(axis): axis.low if isinstance(axis, Range) else axis.values[0] for axis in self.axes}
        )


def name_of(axis: Range | Choice) -> str:
    """Return the name of a sampled value: its keys joined by ``+``."""
    return "+".join(axis.keys)


def _keys_and_value(option: str, setting: str, expected: str) -> tuple[tuple[str, ...], str]:
    names, equals, value = setting.partition("=")
    keys = tuple(names.split("+"))
    if not equals or not value or not all(key and not key.startswith("-") for key in keys):
        raise SettingError(f"{option} {setting}: expected {expected}")
    return keys, value


def grid(settings: Sequence[str], example: str = EXAMPLE) -> Space:
    """Return the space of settings written as ``key=value,value`` or ``key+key=value,value``.

    Raises SettingError if one has another form, or two name the same key.
    """
    axes = tuple(_choice("--try", setting, example) for setting in settings)
    _refuse_repeated(axes)
    return Space(axes)


def sampled(ranges: Sequence[str], choices: Sequence[str]) -> Space:
    """Return the space of ranges written as ``key=low..high`` or ``key=low..high:log``, and of choices.

    Raises SettingError if one has another form, a range is empty, or two name the same key.
    """
    axes: list[Range | Choice] = [_range(setting) for setting in ranges]
    axes += [_choice("--choose", setting) for setting in choices]
    _refuse_repeated(axes)
    return Space(tuple(axes))


def _choice(option: str, setting: str, example: str = EXAMPLE) -> Choice:
    keys, value = _keys_and_value(option, setting, f"KEY=VALUE,VALUE such as {example}")
    values = tuple(value.split(","))
    if not all(values):
        raise SettingError(f"{option} {setting}: expected KEY=VALUE,VALUE such as {example}")
    if len(set(values)) < len(values):
        raise SettingError(f"{option} {setting}: names a value twice. Name each once.")
    return Choice(keys, values)


def _range(setting: str) -> Range:
    expected = _RANGE.format(setting)
    keys, value = _keys_and_value("--range", setting, expected.partition("expected ")[2])
    ends, colon, scale = value.partition(":")
    low, dots, high = ends.partition("..")
    if not dots or (colon and scale != "log"):
        raise SettingError(f"{expected}.")
    try:
        numbers = float(low), float(high)
    except ValueError:
        raise SettingError(f"{expected}; {low!r} to {high!r} are not numbers.") from None
    if not all(map(math.isfinite, numbers)):
        raise SettingError(f"{expected}; both ends must be finite.")
    if numbers[0] >= numbers[1]:
        raise SettingError(f"--range {setting}: {low} is not less than {high}. Write the smaller number first.")
    if scale == "log" and numbers[0] <= 0:
        raise SettingError(f"--range {setting}: a log scale needs numbers above 0. Raise {low}, or leave out :log.")
    integer = bool(_INTEGER.fullmatch(low) and _INTEGER.fullmatch(high))
    return Range(keys, *numbers, log=scale == "log", integer=integer)


def _refuse_repeated(axes: Sequence[Range | Choice]) -> None:
    keys = [key for axis in axes for key in axis.keys]
    for key in keys:
        if keys.count(key) > 1:
            raise SettingError(f"{key} is varied twice. Name it in one option.")
