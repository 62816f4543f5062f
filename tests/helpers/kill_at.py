"""Run the command and end it by a signal at a chosen place: ``python kill_at.py SIGNAL PLACE ARGUMENTS...``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gli.commands import main as cli
from gli.data import cache
from gli.engine import resume
from gli.methods import Method


def end() -> None:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))


def in_cache() -> None:
    """After the first images have been written."""

    @contextmanager
    def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda count: end()

    cache.progress = progress  # type: ignore[assignment]


def at_step(method: str, iteration: int) -> None:
    """After some iterations of a method, before its next training step."""
    step = Method.training_step

    def training_step(self: Method, batch: Any, batch_idx: int) -> None:
        if (type(self).__name__, self.iteration) == (method, iteration):
            end()
        step(self, batch, batch_idx)

    Method.training_step = training_step  # type: ignore[method-assign]


def in_checkpoint(number: int) -> None:
    """With half of a checkpoint on the disk."""
    save, calls = torch.save, []

    def halfway(contents: Any, path: Any) -> None:
        save(contents, path)
        calls.append(path)
        if len(calls) == number:
            os.truncate(path, os.path.getsize(path) // 2)
            end()

    resume.torch.save = halfway  # type: ignore[assignment]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # As at a terminal; jobs in the background ignore it.
    place, *values = sys.argv[2].split(",")
    {"cache": in_cache, "step": lambda name, number: at_step(name, int(number)),
     "checkpoint": lambda number: in_checkpoint(int(number))}[place](*values)  # fmt: skip
    raise SystemExit(cli.main(sys.argv[3:]))
