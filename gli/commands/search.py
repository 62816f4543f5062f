r"""Run one configuration with many settings, and rank the runs by their best final score.

    gli search --config gli_mufac --data.rehearsal true --try model.lr=0.003,0.01 --try model.steps=1,5
    gli search --config gli_mufac --data.rehearsal true --range model.lr=1e-4..1e-2:log --range model.steps=1..10 \
        --choose model.class_weight.initial+model.class_weight.final=10,100 --trials 30

A grid (--try) runs every combination. A sampled search (--range, --choose) asks Optuna for one trial after the other,
and ends those early that are worse than the median at their audits. Keys joined by + take each value together.
Everything but the options below goes to 'gli fit' unchanged. Search on other people than those who are reported: with
--data.rehearsal true, or with another --data.seed of drawn faces. The same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gli.auditing.conclusion import comparison
from gli.commands.main import add_executor_options, make_parser
from gli.commands.parse import run_command
from gli.engine.board import run_jobs
from gli.engine.choose import make_executor
from gli.engine.job import Job
from gli.errors import GLIError, SettingError
from gli.runs.configs import argument, config_files, configs_among, contents_of, resolve_arguments
from gli.runs.folder import ORIGINALS
from gli.runs.read import read_run
from gli.study.fragment import Found, flags_of, method_section, tuned_file, write_tuned
from gli.study.objective import OBJECTIVES, Objective
from gli.study.outcome import Outcome, outcome_of, ranked, write_table
from gli.study.people import warning_about_people
from gli.study.sampler import FAILED, FINISHED, Study, load_optuna
from gli.study.space import Settings, Space, grid, sampled
from gli.study.trials import Trials
from gli.system.console import console
from gli.system.digest import digest
from gli.system.files import file_lock, read_yaml, writable

#: Folder of the trials, beside their table.
TRIALS = "search"
#: Number of trials of a sampled search that does not say it.
DEFAULT_TRIALS = 20


@dataclass(frozen=True)
class Base:
    """What all trials of a search share.

    Attributes:
        arguments: Arguments of ``gli fit``, with configurations by their path.
        contents: Contents of the configurations and of the files that they refer to.
        folder: Folder of the trials.
    """

    arguments: Sequence[str]
    contents: Sequence[bytes]
    folder: Path

    def job(self, number: int, settings: Settings) -> Job:
        """Return the run of a trial as a job, which is found again by its settings, those in files included."""
        flags = [argument(name, value) for name, value in settings.items()]
        key = digest(*self.contents, *self.arguments, *flags)
        own = self.folder / key[:16]
        places = [f"--trainer.default_root_dir={own.absolute()}", f"--originals={(self.folder / ORIGINALS).absolute()}"]
        quiet = "--trainer.enable_progress_bar=false"
        title = " ".join(f"{name}={value}" for name, value in settings.items())
        return Job(title, f"trial {number}", own, ("fit", *self.arguments, quiet, *flags, *places), key)


def main(args: Sequence[str]) -> int:
    """Run ``gli search``; return the exit status 0, 1 where a trial has no result, 2 after an error of the user's."""
    parser = make_parser("search", __doc__)
    add_search_options(parser)
    add_executor_options(parser)
    options, arguments = parser.parse_known_args(args)
    interrupted = "stopped. The same command continues; finished trials are not repeated."
    return run_command("gli search", lambda: _search(options, arguments, args), interrupted)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a search itself."""
    for option, name, form, text in (
        ("--try", "grid", "KEY=VALUE,VALUE", "values of a grid"),
        ("--range", "ranges", "KEY=LOW..HIGH[:log]", "numbers to sample from; whole ones if both ends are"),
        ("--choose", "choices", "KEY=VALUE,VALUE", "values to sample from"),
    ):
        parser.add_argument(option, dest=name, action="append", default=[], metavar=form, help=text)
    parser.add_argument("--trials", type=int, help=f"number of sampled trials (default: {DEFAULT_TRIALS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling (default: 0)")
    parser.add_argument("--no-prune", action="store_true", help="let trials run to their end that are worse than most")
    parser.add_argument(
        "--objective",
        default="final_score",
        metavar="SCORES",
        help=f"{' or '.join(OBJECTIVES)}, which marks the Pareto front (default: final_score)",
    )
    parser.add_argument(
        "--max-utility-drop", type=float, default=1.0, help="leave out audits with a larger utility drop"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("lightning_logs/search.csv"), help="table of the trials, best first"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the best settings as a file of configs/tuned")


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    is_sampled = bool(options.ranges or options.choices)
    if bool(options.grid) == is_sampled:
        raise SettingError(
            "Say what to vary: either a grid with --try, or --range and --choose for a sampled search (where --choose "
            "takes the place of --try)."
        )
    if options.trials is not None and not is_sampled:
        raise SettingError(
            "--trials is for a sampled search (--range, --choose); a grid (--try) runs all combinations."
        )
    if options.trials is not None and options.trials < 1:
        raise SettingError(f"--trials is {options.trials}; it must be at least 1.")
    if options.output.is_dir():
        raise SettingError(f"--output {options.output} is a folder; name a file for the table.")
    if options.write is not None and options.write.is_dir():
        raise SettingError(f"--write {options.write} is a folder; name a file, such as configs/tuned/gli_mufac.yaml.")


def _search(options: argparse.Namespace, arguments: Sequence[str], command: Sequence[str]) -> int:
    _check(options)
    objective = Objective.named(options.objective, options.max_utility_drop)
    trials = grid(options.grid)
    space = sampled(options.ranges, options.choices)
    if space.axes:
        load_optuna()
    with writable(options.output.parent, content="the table of the trials", setting="--output"):
        options.output.parent.mkdir(parents=True, exist_ok=True)
    resolved = resolve_arguments(arguments)
    configs = configs_among(resolved)
    files = [file for config in configs for file in config_files(config)]
    base = Base(resolved, contents_of(*configs), options.output.parent / TRIALS)
    warning = warning_about_people(resolved, [read_yaml(file, "a configuration") or {} for file in files])
    if warning:
        print(f"gli search: warning: {warning}", file=sys.stderr)
    with file_lock(options.output.with_suffix(".lock"), "searching into this table"):
        if space.axes:
            outcomes, failed = _sampled(base, space, objective, options)
        else:
            outcomes, failed = _grid(base, trials, objective, options)
    return _conclude(outcomes, failed, objective, options, command, warning)


def _keep(outcomes: Sequence[Outcome], objective: Objective, output: Path) -> list[Outcome]:
    """Write the trials so far, best first, and return them."""
    found = ranked(outcomes, objective)
    if found:
        write_table(output, found, len(objective.scores) > 1)
    return found


def _grid(
    base: Base, trials: Sequence[Settings], objective: Objective, options: argparse.Namespace
) -> tuple[list[Outcome], list[str]]:
    """Run all trials of a grid; return what came of them, best first, and a message for each that failed."""
    jobs = [base.job(number, trial) for number, trial in enumerate(trials, start=1)]

    def outcomes(unfinished: str | None) -> list[Outcome]:
        states = [FINISHED if job.run is not None else unfinished for job in jobs]
        return [
            outcome_of(number, trial, state, job, objective)
            for number, (trial, state, job) in enumerate(zip(trials, states, jobs, strict=True), start=1)
            if state is not None
        ]

    unfinished = None
    try:
        failed = run_jobs(jobs, make_executor(options.jobs, options.cluster), slots=options.jobs)
        unfinished = FAILED
    finally:
        found = _keep(outcomes(unfinished), objective, options.output)  # Also after an interruption.
    return found, failed


def _sampled(
    base: Base, space: Space, objective: Objective, options: argparse.Namespace
) -> tuple[list[Outcome], list[str]]:
    """Run sampled trials; return what came of them, best first, and a message for each that failed."""
    name = digest(*base.contents, *base.arguments, repr(space), repr(objective), options.seed)[:16]
    journal = options.output.with_suffix(".journal")
    with writable(journal.parent, content="the journal of the search", setting="--output"):
        study = Study(journal, name, space, objective, options.seed, prune=not options.no_prune)
    search = Trials(study, base.job, make_executor(options.jobs, options.cluster))

    def keep() -> list[Outcome]:
        return _keep(search.outcomes(), objective, options.output)

    try:
        failed = search.run(options.trials or DEFAULT_TRIALS, slots=options.jobs, after_each=keep)
    finally:
        found = keep()
    return found, failed


def _conclude(
    outcomes: Sequence[Outcome],
    failed: Sequence[str],
    objective: Objective,
    options: argparse.Namespace,
    command: Sequence[str],
    warning: str,
) -> int:
    """Print the best trials and the failures, write the best settings, and return the exit status."""
    counted = [outcome for outcome in outcomes if outcome.counts]
    if not counted:
        raise GLIError(failed[0] if failed else "no trial gave a finite score within the utility drop allowed.")
    best = counted[0]
    front = [outcome for outcome in counted if outcome.front]
    columns = [(f"trial {outcome.number}", outcome.scores) for outcome in front]
    console.print(comparison(columns or [(f"trial {best.number}, best of {len(outcomes)}", best.scores)]))
    for outcome in front:
        console.print(f"on the Pareto front: trial {outcome.number}: {flags_of(outcome.settings)}", soft_wrap=True)
    for message in failed:
        print(f"gli search: without a result: {message}", file=sys.stderr)
    if options.write is not None:
        _write(options, best, len(outcomes), objective, command, warning)
    print(flags_of(best.settings))
    return 1 if failed else 0


def _write(
    options: argparse.Namespace,
    best: Outcome,
    trials: int,
    objective: Objective,
    command: Sequence[str],
    warning: str,
) -> None:
    """Write the best settings as a file of ``configs/tuned``."""
    assert best.run is not None
    aim = "Best final score" if len(objective.scores) == 1 else "Best final score on the Pareto front"
    if objective.max_utility_drop < 1:
        aim += f" at a utility drop of at most {objective.max_utility_drop:g}"
    others = "searched on the people who are reported" if warning else "searched on other people than those reported"
    people = "searched on rehearsal people (data.rehearsal)" if best.rehearsal else others
    found = Found(command, trials, read_run(best.run).data, people, aim)
    write_tuned(options.write, tuned_file(found, method_section(best.run), best.settings))
    console.print(f"written     {options.write}", soft_wrap=True)
