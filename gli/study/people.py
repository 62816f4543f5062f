"""Whether a search uses other people than those who are reported later, as far as its command line says."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

WARNING = (
    "The people of this search are those who are reported later, so the reported scores will be too favourable: "
    "set --data.rehearsal true."
)
PARTLY = (
    "Another data.split_seed assigns the same people to other sets, so that some are reported later: "
    "set --data.rehearsal true instead."
)


def setting_of(name: str, arguments: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> Any:
    """Return a setting of the data: that of the command line, or else of the last configuration that has it.

    Args:
        name: Name of the setting without ``data.``.
        arguments: Arguments of ``gli fit``.
        configs: Contents of the configurations and of the files that they refer to.
    """
    options = (f"--data.{name}", f"--data.init_args.{name}")
    value = None
    for config in configs:
        data = config.get("data", config)  # A file that sets the data alone has no key for it.
        arguments_of_data = data.get("init_args") if isinstance(data, Mapping) else None
        if isinstance(arguments_of_data, Mapping):
            value = arguments_of_data.get(name, value)
    for first, second in itertools.pairwise([*arguments, ""]):
        option, equals, given = first.partition("=")
        if option in options:
            value = given if equals else second
    return value


def warning_about_people(arguments: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> str:
    """Return one line about people who choose the settings and are reported too; empty if there are none.

    Drawn people with another ``data.seed`` on the command line are other people.

    Args:
        arguments: Arguments of ``gli fit``.
        configs: Contents of the configurations and of the files that they refer to.
    """
    rehearsal = setting_of("rehearsal", arguments, configs)
    if str(rehearsal).lower() in ("true", "reference", "yes"):
        return ""
    if setting_of("seed", arguments, []) is not None:
        return ""
    return PARTLY if setting_of("split_seed", arguments, []) is not None else WARNING
