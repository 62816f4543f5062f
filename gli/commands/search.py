r"""Run one configuration over a grid of settings, and rank the runs by their best final score.

    gli search --config gli_synthetic --data.seed 100 --try model.lr=0.003,0.01 \
        --try model.class_weight.initial=1,10,100

Everything but ``--try``, ``--max-utility-drop`` and ``--output`` goes to ``gli fit`` unchanged. Search on other people
than those who are reported on: with drawn faces another ``--data.seed`` gives other people; with another data set use
another ``--data.split_seed``, or a table without the people to be reported on. A setting may name several keys joined
by ``+``, which then take each value together: ``--try model.class_weight.initial+model.class_weight.final=10,100`` is a
fixed weight.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from gli.audit.best import best_audit
from gli.audit.table import comparison
from gli.commands.main import run_command
from gli.errors import GLIError, SettingError
from gli.system.console import console
from gli.system.files import atomic_write, writable

Trial = dict[str, str]
#: A trial and the scores of its best audit.
Ranked = tuple[Trial, dict[str, float]]


def trials_of(settings: Sequence[str]) -> list[Trial]:
    """Return all combinations of settings written as ``key=value,value`` or ``key+key=value,value``.

    Raises:
        SettingError: If a setting does not have that form.
    """
    axes: list[list[Trial]] = []
    for setting in settings:
        keys, equals, values = setting.partition("=")
        if not keys or not equals or not all(values.split(",")):
            raise SettingError(f"--try {setting}: expected KEY=VALUE,VALUE such as model.lr=0.003,0.01")
        axes.append([dict.fromkeys(keys.split("+"), value) for value in values.split(",")])
    combinations = itertools.product(*axes)
    return [{key: value for choice in choices for key, value in choice.items()} for choices in combinations]


def search(
    arguments: Sequence[str],
    trials: Sequence[Trial],
    max_utility_drop: float = 1.0,
    keep: Callable[[Sequence[Ranked]], None] = lambda ranked: None,
) -> list[Ranked]:
    """Run every trial.

    Args:
        arguments: Arguments of ``gli fit`` that all trials share.
        trials: Settings of each trial.
        max_utility_drop: Audits with a larger utility drop are left out.
        keep: Called after each trial with the ranking so far, so that an interruption loses nothing.

    Returns:
        The trials, each with its best audit (and the original's final score), best first.
    """
    from gli.callbacks import ForgettingAudit
    from gli.commands.fit import run

    ranked: list[Ranked] = []
    for number, trial in enumerate(trials, start=1):
        console.rule(f"{number} of {len(trials)}: {' '.join(f'{key}={value}' for key, value in trial.items())}")
        command = run(["fit", *arguments, *(f"--{key}={value}" for key, value in trial.items())])
        audit = ForgettingAudit.of(command.trainer)
        best = best_audit(audit.rows, max_utility_drop) if audit else None
        if audit is not None and best is not None and audit.original is not None:
            ranked.append((trial, {**best, "original": audit.original["final_score"]}))
            ranked.sort(key=lambda result: -result[1]["final_score"])
            keep(ranked)
    return ranked


def write_table(output: Path, ranked: Sequence[Ranked]) -> None:
    """Write the ranking so far as CSV.

    Raises:
        DataError: If it cannot be written.
    """
    rows = [trial | {key: str(value) for key, value in scores.items()} for trial, scores in ranked]
    columns = dict.fromkeys(key for row in rows for key in row)
    with (
        writable(output.parent, what="the table of the trials", setting="--output"),
        atomic_write(output) as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def main(args: Sequence[str]) -> int:
    """Run ``gli search``; return the exit status 0, or 2 after an error that the user can correct."""
    parser = argparse.ArgumentParser(
        prog="gli search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--try", dest="settings", action="append", required=True, metavar="KEY=VALUE,VALUE")
    parser.add_argument(
        "--max-utility-drop", type=float, default=1.0, help="leave out audits with a larger utility drop"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("lightning_logs/search.csv"), help="table of the trials, best first"
    )
    options, arguments = parser.parse_known_args(args)
    interrupted = f"stopped. The trials so far are in {options.output}."
    return run_command("gli search", lambda: _search(options, arguments), interrupted)


def _search(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    trials = trials_of(options.settings)
    if options.output.is_dir():
        raise SettingError(f"--output {options.output} is a folder; name a file for the table.")
    with writable(options.output.parent, what="the table of the trials", setting="--output"):
        options.output.parent.mkdir(parents=True, exist_ok=True)
    ranked = search(arguments, trials, options.max_utility_drop, lambda so_far: write_table(options.output, so_far))
    if not ranked:
        raise GLIError("no trial gave a finite score within the utility drop allowed.")
    best, scores = ranked[0]
    console.print(comparison([(f"best of {len(ranked)}", scores)]))
    print(" ".join(f"--{key} {value}" for key, value in best.items()))
    return 0
