"""Write the lists of commands, configurations, methods and options in completions/gli.sh; ``make docs`` runs it."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from pathlib import Path
from types import ModuleType

import gli.data
import gli.methods
from gli.commands.main import COMMANDS, MODULES, main
from gli.data import FaceDataModule
from gli.engine.fit import method_names
from gli.methods import Method
from gli.runs.configs import shipped_names
from gli.system.classes import concrete_subclasses
from gli.system.files import write_text

SCRIPT = Path(__file__).parent.parent / "completions/gli.sh"
BEGIN, END = "# -- lists: begin\n", "# -- lists: end\n"


def options_of(command: str) -> list[str]:
    """Return the options of a command that has a parser of its own, from its help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([command, "--help"])
    usage = text.getvalue().partition("\n\n")[0]
    return re.findall(r"(?<![\w-])--[a-z][\w-]*", usage)


def classes(base: type, package: ModuleType) -> list[str]:
    """Return the public concrete classes of a package below a base, by name."""
    return sorted(name for name in concrete_subclasses(base) if name in vars(package))


def configs() -> list[str]:
    """Return the names of shipped configurations, without methods that were defined elsewhere in this process."""
    return shipped_names({name: method for name, method in method_names().items() if method in vars(gli.methods)})


def lists() -> str:
    """Return the lists as shell code."""
    values = {
        "commands": list(COMMANDS),
        "configs": configs(),
        "methods": classes(Method, gli.methods),
        "data": classes(FaceDataModule, gli.data),
    }
    lines = []
    for name, words in values.items():
        wrapped = textwrap.fill(" ".join(words), 110, break_long_words=False, break_on_hyphens=False)
        lines.append(f'_gli_{name}="{wrapped}"\n')
    lines.append('\n# Options of a command that has a parser of its own.\n_gli_own_options() {\n    case "$1" in\n')
    for command in MODULES:
        lines.append(f'        {command}) echo "{" ".join(dict.fromkeys([*options_of(command), "--help"]))}" ;;\n')
    return "".join([*lines, "    esac\n}\n"])


def script() -> str:
    """Return the completion script with its lists up to date."""
    before, _, rest = SCRIPT.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{lists()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    write_text(SCRIPT, script())
