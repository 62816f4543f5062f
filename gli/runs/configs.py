"""Configuration files, found by path or by the name of a shipped file."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gli.errors import SettingError, did_you_mean

#: Folders of files that set one key of a run (``model: method/gli.yaml``) and are no configuration on their own.
PARTS = ("data", "method", "trainer", "tuned")
OPTIONS = ("-c", "--config")

_NAME = re.compile(r"\w[\w-]*(/\w[\w-]*)*")
_YAML_PATH = re.compile(r"[^\n:{}]+\.ya?ml")
_CELL = re.compile(r"\w[\w.-]*")


def shipped() -> Path:
    """Return the folder of the shipped configurations: in an installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def shipped_names() -> list[str]:
    """Return the names that ``--config`` accepts for shipped files, such as ``gli_mufac`` and ``benchmark/mufac``."""
    folder = shipped()
    paths = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths if path.parts[0] not in PARTS)


def resolve(argument: str) -> str:
    """Return the path of a configuration.

    Args:
        argument: What ``--config`` was given: a path, the name of a shipped file without its suffix, or YAML text.

    Returns:
        The path of the shipped file for its name; every other argument unchanged.

    Raises:
        SettingError: If the argument is a name or a path of no file.
    """
    if _is_file(argument):
        return argument
    if _NAME.fullmatch(argument):
        names = shipped_names()
        if argument in names:
            return str(shipped() / f"{argument}.yaml")
        hint = did_you_mean(argument, names)
        raise SettingError(f"--config {argument}: no such configuration.{hint} The shipped ones are in {shipped()}.")
    if _YAML_PATH.fullmatch(argument):
        name = _shipped_name_of(argument)
        hint = f"the configuration of that name that gli ships is --config {name}" if name else "check the path"
        raise SettingError(f"--config {argument}: no such file; {hint}.")
    return argument


def resolve_arguments(args: Sequence[str]) -> list[str]:
    """Return a command line in which every configuration is given by its path.

    Args:
        args: The command line, with configurations as ``--config X``, ``--config=X`` or ``-c X``.

    Raises:
        SettingError: See :func:`resolve`.
    """
    resolved: list[str] = []
    for argument in args:
        option, equals, value = argument.partition("=")
        if resolved and resolved[-1] in OPTIONS:
            resolved.append(resolve(argument))
        elif option in OPTIONS and equals:
            resolved.append(f"{option}={resolve(value)}")
        else:
            resolved.append(argument)
    return resolved


def configs_among(args: Sequence[str]) -> list[Path]:
    """Return the configuration files that a command line names.

    Args:
        args: The command line, with paths as :func:`resolve_arguments` returns them.
    """
    values = [value for option, value in itertools.pairwise(args) if option in OPTIONS]
    values += [argument.removeprefix("--config=") for argument in args if argument.startswith("--config=")]
    return [Path(value) for value in values if _is_file(value)]


def find_config(name: str, near: Path | None = None) -> Path:
    """Return the path of the configuration of a benchmark's cell.

    Args:
        name: Name of the configuration without its suffix, such as ``gli_mufac``.
        near: File that names it: its own folder and the folder above are searched before the shipped configurations.

    Raises:
        SettingError: If no such file exists.
    """
    folders = list(near.absolute().parents[:2]) if near else []
    folders.append(shipped())
    if _CELL.fullmatch(name):
        for folder in folders:
            if _is_file(folder / f"{name}.yaml"):
                return folder / f"{name}.yaml"
    hint = did_you_mean(name, sorted({path.stem for folder in folders for path in folder.glob("*.yaml")}))
    searched = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise SettingError(f"There is no configuration {name!r}.{hint} Searched for {name}.yaml in {searched}.")


def _is_file(path: str | Path) -> bool:
    """Return whether a path leads to a file; False for a path that cannot exist, such as a very long one."""
    return os.path.exists(path) and not os.path.isdir(path)


def _shipped_name_of(path: str) -> str | None:
    """Return the name of the shipped file that a path such as ``configs/gli_mufac.yaml`` ends with."""
    stem = Path(path).with_suffix("").as_posix()
    endings = [name for name in shipped_names() if f"/{stem}".endswith(f"/{name}")]
    return max(endings, key=len, default=None)
