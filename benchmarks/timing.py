"""Time things in turn, so that a machine that is busy with other things disturbs all of them alike."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

#: What was measured on.
MACHINE = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: What is done.
        against: What it is compared with; empty where it is held to a limit of its own.
        theirs: Median of the other way, in ``unit``.
        ours: Median of gli's way, in ``unit``.
        unit: ``ms``, ``s`` or ``MB``.
        ratio: Theirs over ours for a speed-up, ours over theirs for a cost, ours for a limit; the median over the
            rounds.
        target: What the ratio is held to.
        reached: Whether it is.
        rounds: How often each was measured.
    """

    what: str
    against: str
    theirs: float | None
    ours: float
    unit: str
    ratio: float
    target: str
    reached: bool
    rounds: int


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def printed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """The number that a command ends with."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def in_turn(functions: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Call all once to warm up, then in turn; the seconds of each call."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def _medians(theirs: Sequence[float], ours: Sequence[float], unit: str) -> tuple[float, float]:
    scale = 1000 if unit == "ms" else 1
    return scale * statistics.median(theirs), scale * statistics.median(ours)


def faster(
    what: str, against: str, theirs: Sequence[float], ours: Sequence[float], at_least: float | None = None
) -> Finding:
    """How many times faster ours is, from seconds taken in turn."""
    ratio = statistics.median(one / other for one, other in zip(theirs, ours, strict=True))
    medians = _medians(theirs, ours, "ms")
    target = "" if at_least is None else f"at least {at_least:g}"
    return Finding(what, against, *medians, "ms", ratio, target, at_least is None or ratio >= at_least, len(ours))


def dearer(
    what: str, against: str, theirs: Sequence[float], ours: Sequence[float], at_most: float, unit: str = "ms"
) -> Finding:
    """How many times what it takes at least ours takes."""
    ratio = statistics.median(other / one for one, other in zip(theirs, ours, strict=True))
    medians = _medians(theirs, ours, unit)
    return Finding(what, against, *medians, unit, ratio, f"at most {at_most:g}", ratio <= at_most, len(ours))


def under(what: str, values: Sequence[float], at_most: float) -> Finding:
    """Seconds held to a limit."""
    value = statistics.median(values)
    return Finding(what, "", None, value, "s", value, f"under {at_most:g} s", value < at_most, len(values))


def markdown(findings: Sequence[Finding]) -> str:
    """The findings as a Markdown table."""
    lines = ["| what | against | theirs | gli | ratio | to reach |", "|---|---|---|---|---|---|"]
    for one in findings:
        digits = 3 if one.unit == "s" else 0
        theirs = "" if one.theirs is None else f"{one.theirs:.{digits}f} {one.unit}"
        ratio = "" if one.theirs is None else f"{one.ratio:.2f}"
        target = f"{one.target}{'' if one.reached else ' (**not reached**)'}"
        lines.append(
            f"| {one.what} | {one.against} | {theirs} | {one.ours:.{digits}f} {one.unit} | {ratio} | {target} |"
        )
    return "\n".join(lines)
