"""The settings of the best trial, as flags and as a file of ``configs/tuned``."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from gli.errors import DataError
from gli.runs.read import SETTINGS, read_run
from gli.study.outcome import Objective, Outcome
from gli.study.space import Settings
from gli.system.classes import init_parameters
from gli.system.console import console
from gli.system.files import read_yaml, writable, write_text

WIDTH = 118
#: Settings of a method that belong to a run, not to the method.
OF_THE_RUN = ("original",)


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
        parameters = init_parameters(getattr(import_module(module), name))
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        raise DataError(f"{path}: cannot be read as the settings of a run ({error}).") from error
    chosen = {
        key: value
        for key, value in given.items()
        if key not in OF_THE_RUN and (key not in parameters or _plain(parameters[key].default) != _plain(value))
    }
    return {"class_path": name if module.startswith("gli.") else f"{module}.{name}", "init_args": chosen}


def _plain(value: Any) -> Any:
    """Return a value as it is in a YAML file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def tuned_file(sentence: str, command: Sequence[str], section: Mapping[str, Any], settings: Settings) -> str:
    """Return the contents of a file of ``configs/tuned``."""
    lines = textwrap.wrap(f"{sentence}:", WIDTH - 2)
    lines += _command(command)
    elsewhere = [f"{key} {value}" for key, value in settings.items() if not key.startswith("model.")]
    if elsewhere:
        also = f"The search also chose {', '.join(elsewhere)}, which the configuration of a run has to set."
        lines += textwrap.wrap(also, WIDTH - 2)
    comment = "".join(f"# {line}\n" for line in lines)
    model = {"model": dict(section)}
    settings_of_method: str = yaml.safe_dump(model, sort_keys=False, default_flow_style=None, width=WIDTH)
    return comment + settings_of_method


def _command(arguments: Sequence[str]) -> list[str]:
    words = ["gli", "search", *(shlex.quote(word) for word in arguments)]
    lines = [" "]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > WIDTH - 2 and lines[-1].strip():
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    return lines


def write_best(
    path: Path, best: Outcome, trials: int, objective: Objective, command: Sequence[str], *, reported: bool
) -> None:
    """Write the settings of the best trial as a file of ``configs/tuned``.

    ``reported`` says whether the people of the search are those who are reported.

    Raises:
        DataError: If it cannot be written.
    """
    assert best.run is not None
    aim = "Best final score" if len(objective.scores) == 1 else "Best final score on the Pareto front"
    if objective.max_utility_drop < 1:
        aim += f" at a utility drop of at most {objective.max_utility_drop:g}"
    people = "the people who are reported" if reported else "other people than those reported"
    people = "rehearsal people (data.rehearsal)" if best.rehearsal else people
    sentence = f"{aim} of {trials} trials on {read_run(best.run).data}, searched on {people}"
    with writable(path.parent, content="the settings found", setting="--write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tuned_file(sentence, command, method_section(best.run), best.settings))
    console.print(f"written     {path}", soft_wrap=True)
