"""Run a function from a command line: jsonargparse reads its signature and its docstring; errors become one message.

A parameter of a command is

- a positional argument if it has no default and may be given by position, or is variadic (``*runs``);
- a switch if it is a bool: ``dry_run=False`` is ``--dry-run``, ``measure=True`` is ``--no-measure``;
- an option with one or more values if it is a sequence, and with one value otherwise.

Annotate it with :class:`Flag` for another spelling. Keep torch out of the modules of the signatures, so that ``--help``
answers at once: import it inside the functions.
"""

from __future__ import annotations

import argparse
import errno
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_origin

import docstring_parser
from jsonargparse import ArgumentParser

from gli.errors import INTERRUPTED, GLIError, SettingError, did_you_mean
from gli.system.explain import explain

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
#: torch.OutOfMemoryError is a RuntimeError, and on the CPU the allocator raises a plain one.
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class Flag:
    """Spelling of a parameter on the command line, as an annotation: ``Annotated[Sequence[str], Flag(repeat=True)]``.

    Attributes:
        name: The option, such as ``--try``; empty for the name of the parameter.
        metavar: What stands for its value in the help.
        repeat: Whether a sequence is one value each time that the option is given, not several at once.
        rest: Whether a sequence collects everything that the command does not know, for another parser.
    """

    name: str = ""
    metavar: str | None = None
    repeat: bool = False
    rest: bool = False


class Parser(ArgumentParser):
    """Raise errors as :class:`GLIError`.

    Attributes:
        options: Actions of all options by name.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.options: dict[str, argparse.Action] = {}
        super().__init__(**kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument, and note its names."""
        action: argparse.Action = super().add_argument(*args, **kwargs)
        self.options |= dict.fromkeys(action.option_strings, action)
        return action

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an error that says what is wrong, and which option was meant."""
        settings = [option.removeprefix("--") for option in self.options if option.startswith("--")]
        raise GLIError(explain(message, settings, {}, f"See {self.prog} --help.")) from ex


def run(
    prog: str,
    function: Callable[..., int | Path | None],
    args: Sequence[str],
    description: str | None = None,
    interrupted: str = "",
) -> int:
    """Run a function with the arguments of a command line.

    Args:
        prog: Words before the arguments, such as ``gli report``.
        function: The function, with annotations and a docstring in Google style. It returns the exit status, a path to
            be printed, or nothing; its warnings are printed as messages of the command.
        args: The command line after ``prog``.
        description: Text of the help; None for that of the docstring.
        interrupted: Message after Ctrl-C.

    Returns:
        The exit status: that of the function, 2 after an error that the user can correct, 130 after Ctrl-C.
    """

    def work() -> int:
        positional, named = parse(prog, function, args, description)
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=UserWarning, module="gli")
            show = warnings.showwarning

            def print_message(message: Warning | str, category: type[Warning], *others: Any, **kwargs: Any) -> None:
                if category is UserWarning:
                    print(f"{prog}: {message}", file=sys.stderr)
                else:
                    show(message, category, *others, **kwargs)

            warnings.showwarning = print_message
            try:
                result = function(*positional, **named)
            except SettingError as error:  # As Python names its arguments: "resamples is -1; ...".
                name, _, rest = str(error).partition(" ")
                raise SettingError(f"--{name.replace('_', '-')} {rest}" if name in named else str(error)) from error
        if isinstance(result, Path):
            print(result)
            return 0
        return result or 0

    return run_command(prog, work, interrupted)


def parse(
    prog: str, function: Callable[..., Any], args: Sequence[str], description: str | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional arguments and the others by name, for a call of the function; see :func:`run`."""
    documentation = docstring_parser.parse(inspect.getdoc(function) or "", docstring_parser.DocstringStyle.GOOGLE)
    texts = {param.arg_name.lstrip("*"): " ".join((param.description or "").split()) for param in documentation.params}
    parser = Parser(
        prog=prog,
        description=description or documentation.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    variadic = rest = ""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, flag = _kind_of(parameter.annotation)
        if flag.rest:
            rest = parameter.name
        else:
            _add(parser, parameter, kind, flag, texts.get(parameter.name, ""))
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = parameter.name
    of_command, rest_of_line = _split(parser, args) if rest else (list(args), [])
    values: dict[str, Any] = parser.parse_args(_spelled(parser, of_command)).as_dict()
    if rest:
        values[rest] = rest_of_line
    return values.pop(variadic) if variadic else [], values


def _kind_of(annotation: Any) -> tuple[Any, Flag]:
    """Return the type of a parameter without its flag, and the flag."""
    if get_origin(annotation) is not Annotated:
        return annotation, Flag()
    kind, *extras = get_args(annotation)
    return kind, next(extra for extra in extras if isinstance(extra, Flag))


def _item_of(kind: Any) -> Any:
    """Return the type of the items of a sequence, also where the sequence is a member of a union; None for others."""
    for member in (kind, *get_args(kind)):
        if get_origin(member) in (Sequence, list, tuple):
            return get_args(member)[0]
    return None


def _add(parser: Parser, parameter: inspect.Parameter, kind: Any, flag: Flag, text: str) -> None:
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    if not (required or default in (None, "", ()) or isinstance(default, bool)) and "default" not in text:
        text = f"{text.rstrip('.')} (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
    item = _item_of(kind)
    settings: dict[str, Any] = {"help": text.replace("%", "%%")}
    if kind is not bool and flag.metavar:
        settings["metavar"] = flag.metavar
    if parameter.kind is parameter.VAR_POSITIONAL:
        settings.setdefault("metavar", parameter.name.upper().removesuffix("S"))
        parser.add_argument(parameter.name, type=kind, nargs="*", **settings)
    elif required and parameter.kind is not parameter.KEYWORD_ONLY:
        settings.setdefault("metavar", parameter.name.upper().removesuffix("S") if item else parameter.name.upper())
        parser.add_argument(parameter.name, type=item or kind, nargs="+" if item else None, **settings)
    elif kind is bool:
        option = ("--no-" if default else "--") + parameter.name.replace("_", "-")
        parser.add_argument(option, dest=parameter.name, action=f"store_{str(not default).lower()}", **settings)
    else:
        option = flag.name or "--" + parameter.name.replace("_", "-")
        settings |= {"dest": parameter.name, "required": required, "type": item or kind, "default": default}
        if item is not None:
            settings |= {"default": list(default) if isinstance(default, tuple) else default}
            settings |= {"action": "append"} if flag.repeat else {"nargs": "+"}
        parser.add_argument(option, **settings)


def _spelled(parser: Parser, args: Sequence[str]) -> list[str]:
    """Return the arguments with hyphens in the names of options that were written with underscores."""
    spelled = []
    for argument in args:
        option, equals, value = argument.partition("=")
        hyphened = option.replace("_", "-")
        spelled.append(hyphened + equals + value if hyphened in parser.options else argument)
    return spelled


def _split(parser: Parser, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options that the parser has, with their values, and everything else."""
    of_command: list[str] = []
    rest_of_line: list[str] = []
    target, waiting = rest_of_line, 0
    for argument in _spelled(parser, args):
        option, equals, _ = argument.partition("=")
        action = parser.options.get(option)
        if waiting > 0 and not argument.startswith("--"):
            waiting -= 1
        elif action is not None:
            target = of_command
            waiting = 0 if equals or action.nargs == 0 else 1 if action.nargs is None else len(args)
        else:
            target, waiting = rest_of_line, 0
        target.append(argument)
    return of_command, rest_of_line


def choose(
    prog: str, commands: Mapping[str, str], args: Sequence[str], description: str, epilog: str = ""
) -> int | None:
    """Answer a command line that names none of some commands, and return the exit status; None where it names one."""
    lines = [f"  {name:<11}{purpose}" for name, purpose in commands.items()]
    usage = f"usage: {prog} {{{','.join(commands)}}} ..."
    text = "\n".join([usage, "", description.strip(), "", "commands:", *lines, *(["", epilog] if epilog else [])])
    if args and args[0] in ("-h", "--help"):
        print(text)
        return 0
    if not args:
        print(f"{text}\n\n{prog}: no command given.", file=sys.stderr)
        return 2
    if args[0] in commands:
        return None
    hint = did_you_mean(args[0], [*commands, "--help"])
    print(f"{prog}: there is no command {args[0]!r}.{hint} Commands: {', '.join(commands)}.", file=sys.stderr)
    return 2


# -- errors ------------------------------------------------------------------------------------------------------------


def run_command(name: str, work: Callable[[], int], interrupted: str = "") -> int:
    """Run a command; an error that the user can correct becomes one message, and Ctrl-C ends it cleanly.

    ``interrupted`` is the message after Ctrl-C.

    Returns:
        The exit status: that of the work, 2 after an error that the user can correct, 130 after Ctrl-C.
    """
    try:
        return work()
    except GLIError as error:
        message: str | None = str(error)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        if interrupted:
            print(f"{name}: {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except (OSError, MemoryError, RuntimeError) as error:
        message = machine_error(error)
        if message is None:
            raise
    print(f"{name}: {message}", file=sys.stderr)
    return 2


def machine_error(error: BaseException) -> str | None:
    """Return a message for an error of the machine (disk full, no permission, out of memory); None for any other."""
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        where = error.filename or "the folder of the run"
        return (
            f"{where}: cannot be written ({error.strerror}). Everything finished so far is kept. Free some space, or "
            "point --trainer.default_root_dir or --data.cache_dir to another disk; the same command with "
            "--ckpt_path last continues."
        )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))):
        detail = (str(error) or "an allocation failed").strip().splitlines()[0]
        return (
            f"out of memory ({detail}). Lower --data.batch_size, or --data.eval_batch_size if an audit failed; then "
            "--data.image_size, or choose a smaller --model.backbone. Everything finished so far is kept."
        )
    return None
