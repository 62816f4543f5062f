"""The entry point: choose the command, and turn errors that a user can correct into one message.

Nothing heavy is imported before the command is known, so that ``gli --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import gli
from gli.commands.fit import HELP
from gli.commands.fit import main as fit
from gli.commands.parse import choose, run

#: Commands that LightningCLI parses, in :mod:`gli.engine.fit`, and what each does.
LIGHTNING = {
    "fit": "train a method (or an original) on a data set, with an audit every few iterations",
    "validate": "audit a checkpoint, or the original, once",
    "test": "the same, logged under test/",
}
#: Commands with a module of their own name, which has a function of that name, or ``main`` where it does more.
MODULES = {
    "check": "look at the data before a run: sets, people, copies, power of an audit, minutes",
    "report": "tables, figures and one page about existing runs",
    "benchmark": "run several methods and seeds on one data set, and report them",
    "audit": "attack unlearned models, compared with models that never saw the people",
    "search": "run one configuration over a grid of settings, and rank the results",
    "erase": "honour erasure requests: plan, unlearn or retrain, audit, purge, certify",
    "export": "write a classifier as safetensors, ONNX or a state dict",
    "purge": "remove from folders of runs what descends from some people",
}
COMMANDS = LIGHTNING | MODULES

#: Variables of OpenMP that say how threads wait.
WAIT = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}

EPILOG = """options:
  --help     this text; after a command, its settings (gli fit --model.help GLI: those of a method)
  --version  the version

examples:
  gli fit --config gli_synthetic
  gli fit --config configs/gli_synthetic.yaml --model.lr 0.003 --trainer.max_steps 40"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command ``gli``.

    Args:
        args: The command line; None for that of the process.

    Returns:
        Exit status: 0, or 2 after an error that the user can correct.
    """
    args = sys.argv[1:] if args is None else list(args)
    if args == ["--version"]:
        print(f"gli {gli.__version__}")
        return 0
    if not set(args) & LIGHTNING.keys():  # LightningCLI also takes options before the command.
        answered = choose("gli", COMMANDS, args, str(gli.__doc__), EPILOG)
        if answered is not None:
            return answered
    if args[0] in LIGHTNING and args[1:] in (["-h"], ["--help"]):
        print(HELP.format(command=args[0], purpose=LIGHTNING[args[0]]))
        return 0
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) / 2
    if busy and not WAIT & os.environ.keys():
        # Threads that spin while they wait for one another slow a run down several times beside other work.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # Read when torch is loaded.
    from gli.system.console import silence_lightning  # Loads rich.

    silence_lightning()
    if "" not in sys.path:
        sys.path.append("")  # A user's own method, named by its class path, may be a module in the current folder.
    if args[0] in MODULES:
        module = vars(import_module(f"gli.commands.{args[0]}"))
        if "main" in module:
            return int(module["main"](args[1:]))
        texts = module.get("HELP"), module.get("INTERRUPTED", "")
        return run(f"gli {args[0]}", module[args[0]], args[1:], *texts)
    return fit(args)
