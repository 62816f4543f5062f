"""The settings of the best trial, as flags and as a file of ``configs/tuned``."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from gli.errors import DataError
from gli.runs.read import SETTINGS
from gli.study.space import Settings
from gli.system.files import atomic_write, read_yaml, writable

WIDTH = 118
#: Settings of a method that belong to a run, not to the method.
OF_THE_RUN = ("original",)


def flags_of(settings: Settings) -> str:
    """Return settings as flags of ``gli fit``."""
    return " ".join(f"--{key} {shlex.quote(value)}" for key, value in settings.items())


def method_section(run: Path) -> dict[str, Any]:
    """Return class and settings of a run's method, without settings that have their default.

    Raises:
        DataError: If the settings of the run cannot be read.
    """
    path = run / SETTINGS
    try:
        model = read_yaml(path, "the settings of a run")["model"]
        module, _, name = str(model["class_path"]).rpartition(".")
        given = dict(model.get("init_args") or {})
        defaults = _defaults_of(getattr(import_module(module), name))
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        raise DataError(f"{path}: cannot be read as the settings of a run ({error}).") from error
    own = {
        key: value
        for key, value in given.items()
        if key not in OF_THE_RUN and (key not in defaults or defaults[key] != _plain(value))
    }
    return {"class_path": name if module.startswith("gli.") else f"{module}.{name}", "init_args": own}


def _defaults_of(method: type) -> dict[str, Any]:
    """Return the defaults of all settings of a class; those of its bases are passed on as keyword arguments."""
    defaults: dict[str, Any] = {}
    for owner in reversed(method.__mro__):
        if "__init__" in vars(owner) and owner is not object:
            parameters = inspect.signature(vars(owner)["__init__"]).parameters
            defaults |= {name: _plain(each.default) for name, each in parameters.items()}
    return defaults


def _plain(value: Any) -> Any:
    """Return a value as it is in a YAML file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


@dataclasses.dataclass(frozen=True)
class Found:
    """A search that has found settings.

    Attributes:
        command: Its command line, without the program.
        trials: Number of its trials.
        data: Class name of its data.
        people: Whom it searched on, in words.
        aim: Criterion by which the best trial is the best, in words.
    """

    command: Sequence[str]
    trials: int
    data: str
    people: str
    aim: str


def tuned_file(found: Found, section: Mapping[str, Any], settings: Settings) -> str:
    """Return the contents of a file of ``configs/tuned``.

    Args:
        found: The search.
        section: Class and settings of the method.
        settings: Settings of the best trial.
    """
    sentence = f"{found.aim} of {found.trials} trials on {found.data}, {found.people}:"
    lines = textwrap.wrap(sentence, WIDTH - 2)
    lines += _command(found.command)
    others = [f"{key} {value}" for key, value in settings.items() if not key.startswith("model.")]
    if others:
        also = f"The search also chose {', '.join(others)}, which the configuration of a run has to set."
        lines += textwrap.wrap(also, WIDTH - 2)
    comment = "".join(f"# {line}\n" for line in lines)
    settings_of_method: str = yaml.safe_dump(dict(section), sort_keys=False, default_flow_style=None, width=WIDTH)
    return comment + settings_of_method


def _command(arguments: Sequence[str]) -> list[str]:
    """Return a command over as many lines as it needs."""
    words = ["gli", "search", *(shlex.quote(each) for each in arguments)]
    lines = [" "]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > WIDTH - 2 and lines[-1].strip():
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    return lines


def write_tuned(path: Path, text: str) -> None:
    """Write such a file.

    Raises:
        DataError: If it cannot be written.
    """
    with writable(path.parent, content="the settings found", setting="--write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
