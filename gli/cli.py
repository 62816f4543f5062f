"""The command ``gli``: mistakes become one message; the rest is in :mod:`gli.command`, imported once it is needed."""

from __future__ import annotations

import errno
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence

import gli
from gli.errors import INTERRUPTED, GLIError, did_you_mean

#: What each command does. Those of Lightning are parsed in :mod:`gli.command`, the others in the modules of their names.
LIGHTNING = {
    "fit": "train a method (or an original) on a data set, with an audit every few iterations",
    "validate": "audit a checkpoint, or the original, once",
    "test": "the same under the name of a test",
}
MODULES = {
    "report": "tables, figures and one page of runs that are there",
    "benchmark": "several methods and seeds on one data set, and their report",
}
COMMANDS = LIGHTNING | MODULES

_UNWANTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*logging interval.*",
    ".*LeafSpec.*",
    ".*on epoch level in distributed setting.*",  # The audit logs what it has gathered from all processes.
    ".*args parameter is intended.*",
)
_NO_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
#: torch.OutOfMemoryError is a RuntimeError, and on the CPU its allocator raises a bare one.
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
_UNWANTED_LOGS = re.compile(r"litlogger|TPU available|val_check_interval=1\)|Seed set|GPU available: False|LOCAL_RANK")


def overview() -> str:
    """What ``gli --help`` prints. Nothing is imported for it: it is there at once."""
    lines = [f"  {name:<11}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: gli {{{','.join(COMMANDS)}}} ...",
            "",
            str(gli.__doc__),
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  --help     this; after a command, its own settings (gli fit --model.help GLI: those of a method)",
            "  --version  the version",
            "",
            "  gli fit --config configs/gli_synthetic.yaml",
            "  gli fit --config configs/gli_synthetic.yaml --model.lr 0.003 --trainer.max_steps 40",
        ]
    )


def answer(args: Sequence[str]) -> int | None:
    """Answer what needs no import, and say so by an exit status; None where there is something to do."""
    if list(args) in (["-h"], ["--help"]):
        print(overview())
        return 0
    if list(args) == ["--version"]:
        print(f"gli {gli.__version__}")
        return 0
    if not args:
        print(f"{overview()}\n\ngli: which command?", file=sys.stderr)
        return 2
    if not args[0].startswith("-") and args[0] not in COMMANDS:
        hint = did_you_mean(args[0], COMMANDS)
        print(f"gli: there is no command {args[0]!r}.{hint} There are: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    return None


def quiet() -> None:
    """Leave out what Lightning says of itself, and warnings about ways of working that are ours."""
    for pattern in _UNWANTED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
    ):
        logging.getLogger(name).addFilter(lambda record: not _UNWANTED_LOGS.search(record.getMessage()))


def of_the_machine(error: BaseException) -> str | None:
    """What to say of an error that is the machine's and no mistake of ours: no room, no right to write, no memory."""
    if isinstance(error, OSError) and error.errno in _NO_WRITING:
        where = error.filename or "the folder of the run"
        return (
            f"{where}: cannot be written ({error.strerror}). What was finished so far is kept. Make room, or point "
            "--trainer.default_root_dir or --data.cache_dir to where there is; the same command with --ckpt_path last goes on."
        )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return (
            f"out of memory ({(str(error) or 'no more could be had').strip().splitlines()[0]}). Lower --data.batch_size, or "
            "--data.eval_batch_size where it was an audit that failed; then --data.image_size, or take a smaller "
            "--model.backbone. What was finished so far is kept."
        )
    return None


def carry_out(name: str, work: Callable[[], int], interrupted: str = "") -> int:
    """Do the work of a command; what a user can mend ends it with one message, Ctrl-C ends it cleanly.

    Args:
        name: The command, before its messages.
        work: Gives the exit status.
        interrupted: What to say after Ctrl-C.

    Returns:
        The exit status: that of the work, 2 after something to be mended, 130 after Ctrl-C.
    """
    try:
        return work()
    except GLIError as error:
        said: str | None = str(error)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        if interrupted:
            print(f"{name}: {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except (OSError, MemoryError, RuntimeError) as error:
        said = of_the_machine(error)
        if said is None:
            raise
    print(f"{name}: {said}", file=sys.stderr)
    return 2


def _lightning(args: Sequence[str]) -> int:
    """The commands that Lightning parses."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from gli.command import run

    try:
        run(args)
    except MisconfigurationException as error:
        raise GLIError(str(error)) from error
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: The command line; None for the process's own.

    Returns:
        Exit status: 0, or 2 after a mistake that the user can mend.
    """
    args = sys.argv[1:] if args is None else list(args)
    answered = answer(args)
    if answered is not None:
        return answered
    quiet()
    if args[0] in MODULES:
        from importlib import import_module

        return int(import_module(f"gli.{args[0]}").main(args[1:]))
    if "" not in sys.path:
        sys.path.insert(0, "")  # A method of one's own, named by its class path, lies in the current folder.
    return carry_out("gli", lambda: _lightning(args))
