"""Short versions of the parser's messages: which setting, what is wrong, and which setting was meant."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping

from gli.errors import did_you_mean

_CLASS_PATH = re.compile(r"Problem with given class_path '[^']*':\s*|typing\.")
_BOILERPLATE = re.compile(
    r"Does not validate against|Subtypes:|Errors:$|Expected a <class 'NoneType'>|Given value|Expected a path but"
)


def settings_of(prefix: str, owner: type) -> list[str]:
    """Return the dotted names of all settings of a class and its parents, nested dataclasses included."""
    names = []
    for parent in owner.__mro__:
        if "__init__" not in vars(parent) or parent.__module__.partition(".")[0] not in ("gli", "lightning"):
            continue
        for name, parameter in inspect.signature(vars(parent)["__init__"]).parameters.items():
            if name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            names.append(f"{prefix}.{name}")
            if dataclasses.is_dataclass(parameter.default):
                names += [f"{prefix}.{name}.{field.name}" for field in dataclasses.fields(parameter.default)]
    return names


def explain(message: str, settings: Iterable[str], classes: Mapping[str, Iterable[str]]) -> str:
    """Return the parser's message about a wrong setting in one or two lines.

    Args:
        message: The parser's message.
        settings: Dotted names of all settings.
        classes: Names of the classes that a key accepts (``model``, ``data``).
    """
    message = message.strip().removeprefix("error: ")
    outer = re.search(r'Parser key "([^"]+)"', message)
    key = outer.group(1) if outer else ""
    nested = re.findall(r"NestedArg\(key='([^']+)'", message)
    if unknown := re.search(r"unrecognized arguments: --([\w.]+)", message) if not key else None:
        return _unknown_setting(unknown.group(1), settings)
    if unknown := re.search(r"Option '([^']+)' is not accepted|unrecognized arguments: --([\w.]+)", message):
        name = nested[-1] if nested else unknown.group(1) or unknown.group(2)
        return _unknown_setting(f"{key}.{name}", settings)
    if key in classes and (given := re.search(r"Expected a dot import path string: (\S+)", message)):
        known = sorted(classes[key])
        return (
            f"--{key} {given.group(1)}: no such class.{did_you_mean(given.group(1), known)} Known: {', '.join(known)}."
        )
    inner = re.findall(r'Parser key "([^"]+)"', message)[1:]
    where = ".".join([key, *inner]) if key else ""
    lines = [re.sub(r'^-? *(Parser key "[^"]+":?)?', "", line.strip()).strip() for line in message.splitlines()]
    kept = [re.sub(r"<class '([\w.]+)'>", r"\1", line) for line in lines if line and not _BOILERPLATE.search(line)]
    text = _CLASS_PATH.sub("", " ".join(kept)) or message
    return f"--{where}: {text}" if where else text


def _unknown_setting(option: str, settings: Iterable[str]) -> str:
    known = list(settings)
    if option in known:
        return f"--{option}: the chosen class has no such setting."
    hint = did_you_mean(option, known)
    if hint:
        return f"--{option}: no such setting.{hint}"
    prefix = option.rpartition(".")[0]
    siblings = sorted(name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == prefix)
    listed = f" --{prefix} has {', '.join(dict.fromkeys(siblings))}." if siblings else " See gli fit --help."
    return f"--{option}: no such setting.{listed}"
