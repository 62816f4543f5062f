"""Measure gli and its baselines in turn, so that other load on the machine affects both alike; format the results."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

#: Description of this machine, for the reports.
MACHINE = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


@dataclass(frozen=True)
class Measurement:
    """One row of the table of results.

    Attributes:
        work: The measured work, in words.
        baseline_work: The work it is compared with, in words; empty for an absolute time.
        baseline: Median of the baseline in ``unit``; None for an absolute time.
        gli: Median of gli in ``unit``.
        unit: ``ms``, ``s`` or ``MB``.
        ratio: Median over the rounds of baseline / gli (speed-up) or gli / baseline (relative cost); for an absolute
            time, ``gli``.
        target: Target of the ratio, in words; empty if there is none.
        reached: Whether the ratio meets the target; True if there is none.
        rounds: Number of repetitions.
    """

    work: str
    baseline_work: str
    baseline: float | None
    gli: float
    unit: str
    ratio: float
    target: str
    reached: bool
    rounds: int


def image_size(size: int) -> str:
    """Return the size of square images in words, for example ``64x64``, with a multiplication sign."""
    return f"{size}\N{MULTIPLICATION SIGN}{size}"


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output.

    Args:
        command: Program and arguments.
        environment: Environment variables; None for those of this process.

    Raises:
        RuntimeError: If the command fails. The message has the end of its standard error.
    """
    completed = subprocess.run(command, capture_output=True, text=True, env=environment)
    if completed.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{completed.stderr[-2000:]}")
    return completed.stdout


def printed_number(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Run a command as :func:`run_command` does, and return the number at the end of its standard output."""
    return float(run_command(command, environment).split()[-1])


def time_in_turn(functions: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Call each function once to warm up, then time all of them in turn.

    Args:
        functions: The functions, by name.
        rounds: Number of timed calls of each function.

    Returns:
        Seconds of each timed call, by name.
    """
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def _medians(baseline: Sequence[float], gli: Sequence[float], unit: str) -> tuple[float, float]:
    scale = 1000 if unit == "ms" else 1
    return scale * statistics.median(baseline), scale * statistics.median(gli)


def speedup(
    work: str, baseline_work: str, baseline: Sequence[float], gli: Sequence[float], at_least: float | None = None
) -> Measurement:
    """Return the speed-up of gli over its baseline.

    Args:
        work: The measured work, in words.
        baseline_work: The baseline's work, in words.
        baseline: Seconds of the baseline in each round.
        gli: Seconds of gli in each round.
        at_least: Target of the ratio; None for no target.
    """
    ratio = statistics.median(slow / fast for slow, fast in zip(baseline, gli, strict=True))
    target = "" if at_least is None else f"at least {at_least:g}"
    reached = at_least is None or ratio >= at_least
    return Measurement(work, baseline_work, *_medians(baseline, gli, "ms"), "ms", ratio, target, reached, len(gli))


def relative_cost(
    work: str, baseline_work: str, baseline: Sequence[float], gli: Sequence[float], at_most: float, unit: str = "ms"
) -> Measurement:
    """Return the cost of gli relative to its baseline.

    Args:
        work: The measured work, in words.
        baseline_work: The baseline's work, in words.
        baseline: Cost of the baseline in each round: seconds for the unit ``ms``, otherwise in ``unit``.
        gli: Cost of gli in each round, likewise.
        at_most: Target of the ratio.
        unit: Unit of the table.
    """
    ratio = statistics.median(cost / reference for cost, reference in zip(gli, baseline, strict=True))
    medians = _medians(baseline, gli, unit)
    return Measurement(work, baseline_work, *medians, unit, ratio, f"at most {at_most:g}", ratio <= at_most, len(gli))


def absolute_time(work: str, times: Sequence[float], below: float) -> Measurement:
    """Return a time without a baseline.

    Args:
        work: The measured work, in words.
        times: Seconds in each round.
        below: Target in seconds.
    """
    median = statistics.median(times)
    return Measurement(work, "", None, median, "s", median, f"under {below:g} s", median < below, len(times))


def markdown(measurements: Sequence[Measurement]) -> str:
    """Return measurements as a Markdown table."""
    lines = ["| work | compared with | baseline | gli | ratio | target |", "|---|---|---|---|---|---|"]
    for row in measurements:
        digits = 3 if row.unit == "s" else 0
        baseline = "" if row.baseline is None else f"{row.baseline:.{digits}f} {row.unit}"
        ratio = "" if row.baseline is None else f"{row.ratio:.2f}"
        target = f"{row.target}{'' if row.reached else ' (**missed**)'}"
        cells = (row.work, row.baseline_work, baseline, f"{row.gli:.{digits}f} {row.unit}", ratio, target)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
