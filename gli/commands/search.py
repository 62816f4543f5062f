r"""Run one configuration over a grid of settings, and rank the runs by their best final score.

    gli search --config gli_synthetic --data.seed 100 --try model.lr=0.003,0.01 \
        --try model.class_weight.initial=1,10,100

Everything but the options below goes to ``gli fit`` unchanged. Search on other people than those who are reported on:
with drawn faces another ``--data.seed`` gives other people; with another data set use another ``--data.split_seed``, or
a table without the people to be reported on. A setting may name several keys joined by ``+``, which then take each
value together: ``--try model.class_weight.initial+model.class_weight.final=10,100`` is a fixed weight.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from gli.audit.best import best_audit
from gli.audit.table import comparison
from gli.commands.configs import argument, configs_among, contents_of, resolve_arguments
from gli.commands.main import add_executor_options, make_parser, run_command
from gli.errors import GLIError, SettingError
from gli.jobs import make_executor
from gli.jobs.board import run_jobs
from gli.jobs.job import Job
from gli.runs.folder import ORIGINALS
from gli.runs.read import read_log
from gli.system.console import console
from gli.system.digest import digest
from gli.system.files import atomic_write, writable

#: Folder of the trials, beside their table.
TRIALS = "search"
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


def jobs_of(arguments: Sequence[str], trials: Sequence[Trial], folder: Path) -> list[Job]:
    """Return the run of each trial as a job.

    Args:
        arguments: Arguments of ``gli fit`` that all trials share.
        trials: Settings of each trial.
        folder: Folder of the trials. A trial is found again by its settings, those in configuration files included.
    """
    resolved = resolve_arguments(arguments)
    contents = contents_of(*configs_among(resolved))
    jobs = []
    for number, trial in enumerate(trials, start=1):
        settings = [argument(name, value) for name, value in trial.items()]
        key = digest(*contents, *resolved, *settings)
        own = folder / key[:16]
        places = [f"--trainer.default_root_dir={own.absolute()}", f"--originals={(folder / ORIGINALS).absolute()}"]
        quiet = "--trainer.enable_progress_bar=false"
        fixed = ["fit", *resolved, quiet, *settings, *places]
        title = " ".join(f"{name}={value}" for name, value in trial.items())
        jobs.append(Job(title, f"trial {number}", own, tuple(fixed), key))
    return jobs


def rank(jobs: Sequence[Job], trials: Sequence[Trial], max_utility_drop: float = 1.0) -> list[Ranked]:
    """Return the finished trials, each with its best audit (and the original's final score), best first.

    Args:
        jobs: The runs.
        trials: Settings of each trial.
        max_utility_drop: Audits with a larger utility drop are left out.
    """
    ranked: list[Ranked] = []
    for job, trial in zip(jobs, trials, strict=True):
        run = job.run
        rows = read_log(run) if run is not None else []
        best = best_audit(rows, max_utility_drop)
        if best is not None and rows[0]["iteration"] == 0:
            ranked.append((trial, {**best, "original": rows[0]["final_score"]}))
    return sorted(ranked, key=lambda result: -result[1]["final_score"])


def write_table(output: Path, ranked: Sequence[Ranked]) -> None:
    """Write the ranking so far as CSV.

    Raises:
        DataError: If it cannot be written.
    """
    rows = [trial | {key: str(value) for key, value in scores.items()} for trial, scores in ranked]
    columns = dict.fromkeys(key for row in rows for key in row)
    with (
        writable(output.parent, content="the table of the trials", setting="--output"),
        atomic_write(output) as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def main(args: Sequence[str]) -> int:
    """Run ``gli search``; return the exit status 0, or 2 after an error that the user can correct."""
    parser = make_parser("search", __doc__)
    parser.add_argument("--try", dest="settings", action="append", required=True, metavar="KEY=VALUE,VALUE")
    parser.add_argument(
        "--max-utility-drop", type=float, default=1.0, help="leave out audits with a larger utility drop"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("lightning_logs/search.csv"), help="table of the trials, best first"
    )
    add_executor_options(parser)
    options, arguments = parser.parse_known_args(args)
    interrupted = "stopped. The same command continues; finished trials are not repeated."
    return run_command("gli search", lambda: _search(options, arguments), interrupted)


def _search(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    trials = trials_of(options.settings)
    if options.output.is_dir():
        raise SettingError(f"--output {options.output} is a folder; name a file for the table.")
    with writable(options.output.parent, content="the table of the trials", setting="--output"):
        options.output.parent.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(arguments, trials, options.output.parent / TRIALS)

    def keep() -> list[Ranked]:
        ranked = rank(jobs, trials, options.max_utility_drop)
        if ranked:
            write_table(options.output, ranked)
        return ranked

    try:
        failed = run_jobs(jobs, make_executor(options.jobs, options.cluster), slots=options.jobs)
    finally:
        ranked = keep()  # Also after an interruption.
    if not ranked:
        raise GLIError(failed[0] if failed else "no trial gave a finite score within the utility drop allowed.")
    best, scores = ranked[0]
    console.print(comparison([(f"best of {len(ranked)}", scores)]))
    for message in failed:
        print(f"gli search: without a result: {message}", file=sys.stderr)
    print(" ".join(f"--{key} {value}" for key, value in best.items()))
    return 1 if failed else 0
