"""Configuration files: found by path or name; ``<method>_<data set>`` stands for the files that compose it."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gli.errors import SettingError, did_you_mean

OPTIONS = ("-c", "--config")

_NAME = re.compile(r"(?:configs/)?(\w[\w.+-]*?(?:/\w[\w.+-]*?)*)(?:\.ya?ml)?")
_YAML_PATH = re.compile(r"[^\n:{}]+\.ya?ml")


def shipped() -> Path:
    """Return the folder of the shipped configurations: in an installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def documentation() -> str:
    """Return the folder with the pages that messages name: of a source checkout, or installed with the package."""
    checkout = Path(__file__).parents[2] / "docs"
    if not checkout.is_dir():
        return str(Path(sys.prefix) / "share/doc/gli")
    return str(checkout.relative_to(Path.cwd()) if checkout.is_relative_to(Path.cwd()) else checkout)


def shipped_names(methods: Mapping[str, str] | None = None) -> list[str]:
    """Return the names that ``--config`` accepts, such as ``gli_mufac``, ``data/mufac`` and ``benchmark/mufac``.

    With ``methods``, class names by their name in configurations (``scrub``), all compositions of these and a data set
    are among them; otherwise only those with a file of their own.
    """
    folder = shipped()
    files = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")}
    data, method, tuned = (
        {path.stem for path in folder.glob(f"{part}/*.yaml")} for part in ("data", "method", "tuned")
    )
    pairs = itertools.product({*method, *(methods or ())}, data)
    return sorted(files | tuned | {"_".join(pair) for pair in pairs})


def expand(config: str, near: Path | None = None, methods: Mapping[str, str] | None = None) -> list[str]:
    """Return the arguments of ``gli fit`` that a configuration stands for.

    ``<method>_<data set>`` is composed of the files ``data/<data set>``, ``method/<method>`` and
    ``tuned/<method>_<data set>``, as far as they exist; without one of the last two, the method has its defaults.

    Args:
        config: What ``--config`` was given: a path; the name of a file or a composition, also as ``configs/NAME.yaml``;
            or YAML text.
        near: File that names it: its own folder and the folder above are searched before ``configs`` in the current
            folder and the shipped configurations.
        methods: Class name of each method by its name in configurations, to check it; None leaves that to the parser.

    Raises:
        SettingError: If it is a name or a path of no file.
    """
    match = _NAME.fullmatch(config)
    if near is None and (_is_file(config) or not (match or _YAML_PATH.fullmatch(config))):
        return [f"--config={config}"]
    name = match.group(1) if match else Path(config).stem
    near = near if match or near else Path(config)
    folders = [*(near.absolute().parents[:2] if near else ()), Path("configs").absolute(), shipped()]

    def file(name: str) -> list[str]:
        paths = (folder / f"{name}.yaml" for folder in folders)
        return [f"--config={path}" for path in paths if _is_file(path)][:1]

    if file(name):
        return file(name)
    for split in (match.start() for match in re.finditer("_", name)):  # The longest name of a data set first.
        method, data = name[:split], file(f"data/{name[split + 1 :]}")
        of_method = file(f"method/{method}") + file(f"tuned/{name}")
        if data and (of_method or methods is None or method in methods):
            return [*data, *(of_method or [f"--model={(methods or {}).get(method, method)}"])]
    hint = did_you_mean(name, shipped_names(methods))
    raise SettingError(
        f"--config {config}: no such configuration.{hint} Searched in {', '.join(map(str, dict.fromkeys(folders)))}."
    )


def resolve(config: str) -> Path:
    """Return the path of the configuration of a benchmark or an audit; SettingError if there is no such file."""
    arguments = expand(config)
    if len(arguments) > 1:
        raise SettingError(f"--config {config}: is the configuration of a run.")
    return Path(arguments[0].removeprefix("--config="))


def resolve_arguments(args: Sequence[str], methods: Mapping[str, str] | None = None) -> list[str]:
    """Return a command line in which every configuration is given by the paths of its files.

    Raises:
        SettingError: See :func:`expand`.
    """
    resolved: list[str] = []
    waiting = ""
    for argument in args:
        option, equals, value = argument.partition("=")
        if waiting:
            resolved += expand(argument, methods=methods)
            waiting = ""
        elif option in OPTIONS and equals:
            resolved += expand(value, methods=methods)
        elif option == "--model" and value in (methods or {}):  # As expand() names a method that it cannot check.
            resolved.append(f"--model={(methods or {})[value]}")
        elif argument in OPTIONS:
            waiting = argument
        else:
            resolved.append(argument)
    return [*resolved, waiting] if waiting else resolved


def configs_among(args: Sequence[str]) -> list[Path]:
    """Return the configuration files that a command line names, as :func:`resolve_arguments` returns it."""
    values = [argument.removeprefix("--config=") for argument in args if argument.startswith("--config=")]
    return [Path(value) for value in values if _is_file(value)]


def _is_file(path: str | Path) -> bool:
    """Return whether a path leads to a file; False for a path that cannot exist, such as a very long one."""
    return os.path.exists(path) and not os.path.isdir(path)
