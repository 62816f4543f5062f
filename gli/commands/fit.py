"""``gli fit|validate|test``: LightningCLI reads the settings, see :mod:`gli.engine.fit`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

from gli.commands.parse import run_command
from gli.errors import GLIError, did_you_mean
from gli.runs.configs import shipped_names
from gli.runs.folder import snake_case

#: What ``--help`` prints at once. The list of all settings comes from the classes, whose imports take seconds.
HELP = """usage: gli {command} [--config NAME] [--model METHOD] [--data DATA] [--SECTION.SETTING VALUE] [--ckpt_path F]

{purpose}

  --config NAME          a shipped configuration (gli_synthetic, scrub_mufac, data/mufac) or a file; later ones override
  --model METHOD         a method (GLI, SCRUB, Original) or the class path of your own, such as my_method.Pull
  --data DATA            a data set: MUFAC, MUCAC, SyntheticFaces or FaceTable
  --model.SETTING VALUE  a setting of the method; likewise --data.SETTING, --trainer.SETTING and those of the
                         callbacks (audit, figures, early_stopping, checkpoint), such as --audit.SETTING
  --seed_everything N    the seed
  --originals FOLDER     where original models are kept and found (default: lightning_logs/originals)
  --ckpt_path F          a checkpoint; last or best for that of the newest run of the same settings
  --print_config         print all settings as YAML instead of running

all settings:
  gli {command} --help-all               of everything; of one method or data set:
  gli {command} --model.help GLI
  gli {command} --data.help MUFAC
"""

#: Where the settings of each section are declared: files of gli, and of Lightning.
DECLARED = {"model": "methods/*.py", "data": "data/*.py", "trainer": "pytorch/trainer/trainer.py"}
DECLARED |= dict.fromkeys(("audit", "figures", "early_stopping", "checkpoint"), "callbacks/*.py")
#: Options that have no section, and sections.
OPTIONS = {*DECLARED, *re.findall(r"--(\w+)", HELP), "config", "help", "verbose", "weights_only"}
#: Names that the parser itself adds to each section.
OF_PARSER = {"help", "class_path", "init_args", "dict_kwargs"}


def main(args: Sequence[str]) -> int:
    """Run one of the commands that LightningCLI parses; return 0, or 2 after an error that the user can correct."""
    return run_command("gli", lambda: _run(["--help" if argument == "--help-all" else argument for argument in args]))


def check_spelling(args: Sequence[str]) -> None:
    """Refuse what resembles a class or a setting but is none, from the sources: importing torch takes seconds.

    All else, such as classes of the user's own, is left to the parser.

    Raises:
        GLIError: With what was meant.
    """
    package = Path(__file__).parents[1]
    folders = {"model": package / "methods", "data": package / "data"}
    classes = {key: set(re.findall(r"import (\w+)", (folders[key] / "__init__.py").read_text())) for key in folders}
    methods = {snake_case(name): name for name in classes["model"]}
    given = [(*argument.partition("="), following) for argument, following in zip_longest(args, args[1:], fillvalue="")]
    options = [(option, value if equals else following) for option, equals, value, following in given]
    configs = [value for option, value in options if option in ("-c", "--config")]
    named = [value for option, value in options if option in ("--model", "--data")]
    if not set(configs) <= set(shipped_names(methods)) or not all(map(str.isidentifier, named)):
        return  # A file or a class path, whose class may have settings of its own.
    for option, value in options:
        section, _, setting = option.removeprefix("--").partition(".")
        if option.startswith("--") and section not in OPTIONS and (hint := did_you_mean(section, OPTIONS)):
            meant = hint.replace("mean '", "mean '--")
            raise GLIError(f"{option}: no such option.{meant}")
        if f"--{section}" == option and section in classes:
            if value not in {*classes[section], *methods} and (hint := did_you_mean(value, classes[section])):
                raise GLIError(f"{option} {value}: no such class.{hint}")
        elif option.startswith("--") and setting and section in DECLARED:
            known, name = _declared(section), setting.partition(".")[0].rstrip("+")
            if name not in known | OF_PARSER and (hint := did_you_mean(name, known)):
                meant = hint.replace("mean '", f"mean '{section}.")
                raise GLIError(f"{option}: no such setting.{meant}")


@cache
def _declared(section: str) -> set[str]:
    """Return the names of all arguments of ``__init__`` in the sources of a section."""
    spec = find_spec("lightning" if section == "trainer" else "gli")
    (package, *_) = (spec and spec.submodule_search_locations) or ["."]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(package).glob(DECLARED[section])]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    every = [node.args for node in functions if node.name == "__init__"]
    return {argument.arg for each in every for argument in (*each.args, *each.kwonlyargs)}


def _run(args: Sequence[str]) -> int:
    check_spelling(args)
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from gli.engine.fit import run

    try:
        run(args)
    except MisconfigurationException as error:
        raise GLIError(str(error)) from error
    return 0
