"""Short versions of the parser's messages: which setting, what is wrong, and which setting was meant."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from gli.errors import did_you_mean
from gli.system.classes import init_parameters

_CLASS_PATH = re.compile(r"Problem with given class_path '[^']*':\s*|typing\.")
_BOILERPLATE = re.compile(
    r"Does not validate against|Subtypes:|Errors:$|Expected a <class 'NoneType'>|Given value|Expected a path but"
)


def settings_of(prefix: str, owner: type) -> list[str]:
    """Return the dotted names of all settings of a class and its parents, nested dataclasses included."""
    names = []
    for name, parameter in init_parameters(owner).items():
        names.append(f"{prefix}.{name}")
        if dataclasses.is_dataclass(parameter.default):
            names += [f"{prefix}.{name}.{field.name}" for field in dataclasses.fields(parameter.default)]
    return names


def explain(
    message: str, settings: Iterable[str], classes: Mapping[str, Iterable[str]], see: str = "See gli fit --help."
) -> str:
    """Return the parser's message about a wrong setting in one or two lines: the setting, the fault, what was meant.

    Args:
        message: The parser's message.
        settings: Dotted names of all settings.
        classes: Names of the classes that a key accepts (``model``, ``data``).
        see: Sentence for a setting that resembles none.
    """
    settings = list(settings)
    message = message.strip().removeprefix("error: ")
    outer = re.search(r'Parser key "([^"]+)"', message)
    key = outer.group(1) if outer else ""
    nested = re.findall(r"NestedArg\(key='([^']+)'", message)
    unrecognized = re.search(r"unrecognized arguments: --([\w.-]+)", message)
    if unrecognized and not key:
        return _unknown_setting(unrecognized.group(1), settings, see)
    if unknown := re.search(r"Option '([^']+)' is not accepted", message) or unrecognized:
        return _unknown_setting(f"{key}.{nested[-1] if nested else unknown.group(1)}", settings, see)
    if missing := re.search(r"the following arguments are required: (.*)", message):
        if classes:  # A run without model or data.
            names = [f"--{name.rpartition('.')[2]}" for name in re.split(", | and ", missing.group(1))]
            are = "is" if len(names) == 1 else "are"
            return f"{' and '.join(names)} {are} missing. Name a configuration, such as --config gli_synthetic. {see}"
        return f"{' and '.join(_spelling(name, settings) for name in missing.group(1).split(', '))} is missing. {see}"
    if key in classes and (given := re.search(r"Expected a dot import path string: (\S+)", message)):
        names = sorted(classes[key])
        hint = did_you_mean(given.group(1), names)
        return f"--{key} {given.group(1)}: no such class.{hint} Known: {', '.join(names)}."
    where = _spelling(".".join(re.findall(r'Parser key "([^"]+)"', message)), settings) if key else ""
    if where and "." not in where and (fault := _fault_of_value(message)):
        return f"{where} is {fault}"
    lines = [re.sub(r'^-? *(Parser key "[^"]+":?)?', "", line.strip()).strip() for line in message.splitlines()]
    texts = [re.sub(r"<class '([\w.]+)'>", r"\1", line) for line in lines if line and not _BOILERPLATE.search(line)]
    text = _CLASS_PATH.sub("", " ".join(texts)) or message
    return f"{where}: {text}" if where else text


def _fault_of_value(message: str) -> str:
    """Return a value that is not of the type of its option, and what was expected; empty for other messages."""
    match = re.search(r"G(?:ot|iven) value: (.*)|: '?(.*?)'? does not conform|: '(.*)'$", message)
    if not match:
        return ""
    value = next(group for group in match.groups() if group is not None)
    if limits := re.search(r"restriction (v.*)", message):
        words = {">=": "at least", ">": "greater than", "<=": "at most", "<": "less than"}
        return f"{value}; it must be {re.sub('v([<>]=?)', lambda sign: words[sign.group(1)] + ' ', limits.group(1))}."
    if choice := re.search(r"Literal\[(.*?)\]", message):
        choices = choice.group(1).replace("'", "").split(", ")
        return f"{value!r}; expected one of {', '.join(choices)}.{did_you_mean(value, choices)}"
    if number := re.search(r"'int'|Int\b|'float'|Float\b", message):
        return f"{value!r}; expected a {'whole ' if 'int' in number.group().lower() else ''}number."
    return ""


def _spelling(name: str, settings: Sequence[str]) -> str:
    """Return a setting as it is written on the command line; the name itself for a positional argument."""
    hyphened = name.replace("_", "-")
    return f"--{hyphened}" if hyphened in settings else f"--{name}" if "." in name or name in settings else name.upper()


def _unknown_setting(option: str, settings: Sequence[str], see: str) -> str:
    if option in settings:
        return f"--{option}: the chosen class has no such setting."
    hint = did_you_mean(option, settings)
    if hint:
        return f"--{option}: no such setting.{hint}"
    prefix = option.rpartition(".")[0]
    siblings = sorted({name.rpartition(".")[2] for name in settings if name.rpartition(".")[0] == prefix})
    listed = f" --{prefix} has {', '.join(siblings)}." if siblings and prefix else f" {see}"
    return f"--{option}: no such setting.{listed}"
