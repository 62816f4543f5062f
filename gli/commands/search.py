"""``gli search``: one configuration with many settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gli.commands.parse import Flag, run
from gli.errors import GLIError, SettingError

if TYPE_CHECKING:
    from gli.study.outcome import Outcome

HELP = r"""Run one configuration with many settings, and rank the runs by their best final score.

    gli search --config gli_mufac --data.rehearsal true --try model.lr=0.003,0.01 --try model.steps=1,5
    gli search --config gli_mufac --data.rehearsal true --range model.lr=1e-4..1e-2:log --range model.steps=1..10 \
        --choose model.class_weight.initial+model.class_weight.final=10,100 --trials 30

A grid (--try) runs every combination. A sampled search (--range, --choose) asks Optuna for one trial after the other,
and ends those early that are worse than the median at their audits. Keys joined by + take each value together.
Everything but the options below goes to 'gli fit' unchanged. Search on other people than those who are reported: with
--data.rehearsal true, or with another --data.seed of drawn faces. The same command continues after an interruption.
"""
#: Number of trials of a sampled search that does not say it.
DEFAULT_TRIALS = 20


def main(args: Sequence[str]) -> int:
    """Run ``gli search``; return 0, 1 where a trial has no result, 2 after an error that the user can correct."""
    function = partial(search, list(args))
    function.__doc__ = search.__doc__
    return run(
        "gli search", function, args, HELP, "stopped. The same command continues; finished trials are not repeated."
    )


def search(
    command: Sequence[str],
    *,
    grid: Annotated[Sequence[str], Flag("--try", metavar="KEY=VALUE,VALUE", repeat=True)] = (),
    ranges: Annotated[Sequence[str], Flag("--range", metavar="KEY=LOW..HIGH[:log]", repeat=True)] = (),
    choices: Annotated[Sequence[str], Flag("--choose", metavar="KEY=VALUE,VALUE", repeat=True)] = (),
    trials: int | None = None,
    seed: int = 0,
    prune: bool = True,
    objective: Annotated[str, Flag(metavar="SCORES")] = "final_score",
    max_utility_drop: float = 1.0,
    output: Path = Path("lightning_logs/search.csv"),
    write: Annotated[Path | None, Flag(metavar="FILE")] = None,
    jobs: int = 1,
    cluster: Annotated[str | None, Flag(metavar="ADDRESS")] = None,
    arguments: Annotated[Sequence[str], Flag(rest=True)] = (),
) -> int:
    """Search for settings, print the best ones and write them.

    Args:
        command: The command line, for the comment in the file of the best settings.
        grid: Values of a grid.
        ranges: Numbers to sample from; whole ones if both ends are.
        choices: Values to sample from.
        trials: Number of sampled trials (default: 20).
        seed: Seed of the sampling.
        prune: Let trials run to their end that are worse than most.
        objective: final_score, or forgetting,utility, which marks the Pareto front.
        max_utility_drop: Leave out audits with a larger utility drop.
        output: Table of the trials, best first.
        write: Write the best settings as a file of configs/tuned.
        jobs: Number of runs at once.
        cluster: Ray cluster to run them on: HOST:PORT, or local.
        arguments: Arguments of gli fit.
    """
    from gli.study import space
    from gli.study.outcome import Objective
    from gli.study.search import search as study
    from gli.study.tuned import write_best
    from gli.system.files import file_lock, writable

    _check(bool(grid), bool(ranges or choices), trials, output, write)
    aim = Objective.named(objective, max_utility_drop)
    spaces = space.grid(grid), space.sampled(ranges, choices)
    with writable(output.parent, content="the table of the trials", setting="--output"):
        output.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(output.with_suffix(".lock"), "searching into this table"):
        total = trials or DEFAULT_TRIALS
        outcomes, failed, warning = study(
            arguments, *spaces, aim, output, trials=total, seed=seed, prune=prune, jobs=jobs, cluster=cluster
        )
    counted = [outcome for outcome in outcomes if outcome.counts]
    if not counted:
        raise GLIError(failed[0] if failed else "no trial gave a finite score within the utility drop allowed.")
    _show(counted, len(outcomes))
    for message in failed:
        print(f"gli search: without a result: {message}", file=sys.stderr)
    if write is not None:
        write_best(write, counted[0], len(outcomes), aim, command, reported=bool(warning))
    print(counted[0].flags)
    return 1 if failed else 0


def _check(is_grid: bool, is_sampled: bool, trials: int | None, output: Path, write: Path | None) -> None:
    if is_grid == is_sampled:
        raise SettingError(
            "Say what to vary: either a grid with --try, or --range and --choose for a sampled search (where --choose "
            "takes the place of --try)."
        )
    if trials is not None and not is_sampled:
        raise SettingError(
            "--trials is for a sampled search (--range, --choose); a grid (--try) runs all combinations."
        )
    if trials is not None and trials < 1:
        raise SettingError(f"--trials is {trials}; it must be at least 1.")
    if output.is_dir():
        raise SettingError(f"--output {output} is a folder; name a file for the table.")
    if write is not None and write.is_dir():
        raise SettingError(f"--write {write} is a folder; name a file, such as configs/tuned/gli_mufac.yaml.")


def _show(counted: Sequence[Outcome], trials: int) -> None:
    """Print the scores of the best trial, or of all trials on the Pareto front."""
    from gli.auditing.conclusion import comparison
    from gli.system.console import console

    front = [outcome for outcome in counted if outcome.front]
    columns = [(f"trial {outcome.number}", outcome.scores) for outcome in front]
    console.print(comparison(columns or [(f"trial {counted[0].number}, best of {trials}", counted[0].scores)]))
    for outcome in front:
        console.print(f"on the Pareto front: trial {outcome.number}: {outcome.flags}", soft_wrap=True)
