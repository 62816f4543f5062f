"""A progress bar for work outside the trainer's own loops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Messages go to standard error; only results go to standard output.
console = Console(stderr=True)


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; yield a function that advances it.

    Args:
        text: Text before the bar.
        total: Number of steps.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.advance(task, count)


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
