"""What is printed: the console, a progress bar, and Lightning's messages that are hidden."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Messages go to standard error; only results go to standard output.
console = Console(stderr=True)

_UNWANTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*logging interval.*",
    ".*LeafSpec.*",
    ".*on epoch level in distributed setting.*",  # The audit logs values that are gathered already.
    ".*args parameter is intended.*",
    ".*in eval mode at the start of training.*",  # An audit goes before; methods set the modes themselves.
)
_UNWANTED_LOGS = re.compile(r"litlogger|TPU available|val_check_interval=1\)|Seed set|GPU available: False|LOCAL_RANK")


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; yield a function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def loading() -> Iterator[None]:
    """Show on a terminal, while the block runs, that it imports PyTorch, which takes seconds the first time."""
    with nullcontext() if "torch" in sys.modules else console.status("Loading PyTorch"):
        yield


@contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Show warnings and errors of some loggers only, while the block runs."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def silence_lightning() -> None:
    """Hide Lightning's advertisements, and its warnings about choices that gli makes on purpose."""
    for pattern in _UNWANTED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
    ):
        logging.getLogger(name).addFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return not _UNWANTED_LOGS.search(record.getMessage())
