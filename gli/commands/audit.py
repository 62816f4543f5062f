"""Audit unlearning methods, or models that exist, against models that never saw the people.

    gli audit --config audit/synthetic                     all methods, with a fleet of originals
    gli audit --config audit/synthetic --methods GLI SCRUB --budget 20m
    gli audit lightning_logs/gli_mufac/version_0 --references 8

With --config, originals are trained on random halves of the people and each method forgets some of them; the attack
(U-LiRA) compares models that forgot a person with models that never saw the person. With runs, retrained models of the
same data are the references (RMIA). Every model is an ordinary run; finished ones are never repeated.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gli.commands.main import add_executor_options, make_parser
from gli.commands.parse import run_command
from gli.engine.board import run_jobs
from gli.engine.choose import make_executor
from gli.errors import DataError, SettingError
from gli.runs.configs import resolve
from gli.runs.cost import read_cost
from gli.system.console import console, progress
from gli.system.files import file_lock, writable

if TYPE_CHECKING:
    from gli.auditing.fleet_audit import MethodAudit
    from gli.auditing.run_audit import RunAudit
    from gli.engine.job import Job
    from gli.study.fleet import Planned

SETTING = re.compile(r"(\d+(?:\.\d+)?)\s*(m|min|h)?")
#: Pairs of originals that all methods must have finished.
LEAST_PAIRS = 3


def minutes_of(budget: str) -> float:
    """Return the minutes of a budget such as ``20m``, ``1.5h`` or ``20``.

    Raises:
        SettingError: If it has another form.
    """
    match = SETTING.fullmatch(budget.strip())
    if not match:
        raise SettingError(f"--budget {budget}: expected minutes or hours, such as 20m or 1.5h.")
    return float(match.group(1)) * (60 if match.group(2) == "h" else 1)


def main(args: Sequence[str]) -> int:
    """Run ``gli audit``; return the exit status.

    Returns:
        0; 1 where a run has no result; 2 after an error that the user can correct.
    """
    parser = make_parser("audit", __doc__)
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="folder of a run, or of a benchmark, to audit"
    )
    parser.add_argument("--config", help="configuration of an audit of methods, such as audit/synthetic")
    parser.add_argument("--methods", nargs="+", help="only these methods of the configuration")
    parser.add_argument("--budget", help="time that the audit may take, such as 20m: chooses the number of models")
    parser.add_argument("--references", type=int, default=8, help="number of retrained models for RUN (default: 8)")
    parser.add_argument(
        "--answers-only", action="store_true", help="do not look into the models of RUN: features, relearning"
    )
    parser.add_argument(
        "--chosen-on",
        nargs="+",
        type=Path,
        default=[],
        metavar="REHEARSAL",
        help="folders of the rehearsals by which the settings of RUN were chosen; nobody may be in both",
    )
    add_executor_options(parser)
    parser.add_argument("--output", type=Path, help="folder of the audit (default: audit_<data set>)")
    parser.add_argument("--margin", type=float, help="difference of the AUC from 0.5 that does not matter")
    options = parser.parse_args(args)
    interrupted = "stopped. The same command runs the models that are not finished."
    return run_command("gli audit", lambda: _audit(options), interrupted)


def _audit(options: argparse.Namespace) -> int:
    if bool(options.config) == bool(options.runs):
        raise SettingError("Give either --config for an audit of methods, or folders of runs.")
    if options.margin is not None and not 0 < options.margin < 0.5:
        raise SettingError(f"--margin is {options.margin:g}; it must lie between 0 and 0.5.")
    if options.config and options.chosen_on:
        raise SettingError("--chosen-on goes with folders of runs; with --config, the file has chosen_on.")
    return _audit_methods(options) if options.config else _audit_runs(options)


def _folder(options: argparse.Namespace, data: str) -> Path:
    """Create and return the folder of the audit."""
    output: Path = options.output or Path(f"audit_{data}")
    with writable(output, content="the audit", setting="--output"):
        output.mkdir(parents=True, exist_ok=True)
    return output


def _run(jobs: Sequence[Job], options: argparse.Namespace, output: Path) -> list[str]:
    """Run the jobs of an audit, one audit at a time in a folder; return a message for each that failed."""
    with file_lock(output / ".lock", "auditing into this folder"):
        return run_jobs(jobs, make_executor(options.jobs, options.cluster), slots=options.jobs)


def _conclude(audits: Sequence[MethodAudit | RunAudit], page: Path, failed: Sequence[str]) -> int:
    """Print the verdicts, the page of the audit and the failures; return the exit status."""
    for audit in audits:
        console.print(f"[bold]{audit.name}[/bold]: {audit.verdict.answer}. {audit.verdict.sentence}", soft_wrap=True)
    print(page)
    for message in failed:
        print(f"gli audit: without a result: {message}", file=sys.stderr)
    return 1 if failed else 0


# -- methods -----------------------------------------------------------------------------------------------------------


def _audit_methods(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from gli.auditing.contents import contents_of_methods
    from gli.auditing.fleet_audit import NO_UNLEARNING, audit_fleets
    from gli.reporting.audit import write_audit
    from gli.study.fleet import (
        RETRAINED,
        check_who_chose,
        data_of,
        draws_of,
        plan_jobs,
        read_plan,
        training_images,
    )

    config = Path(resolve(options.config))
    plan = read_plan(config).restricted(options.methods)
    plan = replace(plan, margin=options.margin) if options.margin else plan
    output = _folder(options, plan.data)
    data = data_of(plan, config)
    check_who_chose(plan, data)
    images = training_images(data, draws_of(plan, data))
    if options.budget:
        plan = plan.within(minutes_of(options.budget), images, options.jobs)
    jobs = plan_jobs(plan, config, data, output)
    waiting = sum(planned.job.run is None for planned in jobs)
    console.print(
        f"{plan.originals} originals, {plan.draws} draws each, {len(plan.entries)} methods: {len(jobs)} runs, "
        f"{waiting} of them to do; all of them take about {plan.minutes(images, options.jobs):.0f} minutes.",
        soft_wrap=True,
    )
    failed = _run([planned.job for planned in jobs], options, output)
    fleets, originals = _read_fleets(jobs, failed)
    try:
        audits = audit_fleets(fleets, originals, fleets[RETRAINED], plan.margin)
    except ValueError as error:
        raise DataError(f"The models of this audit allow no attack ({error}). Audit more people or models.") from error
    facts = {
        "originals": plan.originals,
        "draws of each": plan.draws,
        "people who were forgotten or never seen": len(audits[0].exposed),
        "models of each method": len(originals.originals),
        "margin of the AUC": plan.margin,
        "who chose the settings": plan.who_chose,
        "configuration": str(options.config),
    }
    costs = {NO_UNLEARNING: 0.0, **_costs(jobs)}
    with writable(output, content="the audit", setting="--output"):
        write_audit(output, contents_of_methods(plan.data, audits, costs, facts))
    return _conclude(audits, output / "audit.html", failed)


def _read_fleets(jobs: Sequence[Planned], failed: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """Return the models of each method, and the originals (iteration 0 of the runs of a method)."""
    from gli.auditing.fleet import read_fleet
    from gli.study.fleet import ORIGINAL, RETRAINED

    runs: dict[str, list[Any]] = {}
    for planned in jobs:
        run = planned.job.run
        if run is not None and planned.method != ORIGINAL:
            runs.setdefault(planned.method, []).append((planned.draw, run))
    if RETRAINED not in runs or len(runs) < 2:
        raise DataError("No method of the audit has a finished run. " + " ".join(failed))
    # Methods are compared model by model, so all need the same draws.
    common = set.intersection(*({draw.name for draw, _ in finished} for finished in runs.values()))
    pairs = {draw.original // 2 for draw, _ in runs[RETRAINED] if draw.name in common}
    if len(pairs) < LEAST_PAIRS:
        raise DataError(
            f"All methods have finished the draws of {len(pairs)} pairs of originals; an audit needs {LEAST_PAIRS}. "
            "Leave out the methods that fail (--methods). " + " ".join(failed)
        )
    runs = {name: [(draw, run) for draw, run in finished if draw.name in common] for name, finished in runs.items()}
    fleets = {}
    with progress("Reading models", len(runs)) as tick:
        for name, finished in runs.items():
            fleets[name] = read_fleet(finished)
            tick(1)
    unlearned = next(name for name in runs if name != RETRAINED)
    return fleets, read_fleet(runs[unlearned], iteration=0)


def _costs(jobs: Sequence[Planned]) -> Mapping[str, float]:
    """Return the median training time of each method as a share of that of retraining."""
    from gli.study.fleet import RETRAINED

    seconds: dict[str, list[float]] = {}
    for planned in jobs:
        run = planned.job.run
        cost = read_cost(run).get("training_seconds") if run is not None else None
        if cost is not None:
            seconds.setdefault(planned.method, []).append(float(cost))
    medians = {name: median(values) for name, values in seconds.items()}
    retrained = medians.get(RETRAINED)
    return {name: value / retrained for name, value in medians.items()} if retrained else {}


# -- runs --------------------------------------------------------------------------------------------------------------


def _audit_runs(options: argparse.Namespace) -> int:
    from gli.auditing.chosen_on import who_chose
    from gli.auditing.contents import contents_of_runs
    from gli.auditing.reference_audit import LEAST_REFERENCES
    from gli.auditing.run_audit import audit_run, check_finished
    from gli.auditing.verdict import MARGIN
    from gli.commands.report import read_runs
    from gli.reporting.audit import write_audit
    from gli.reporting.results import FROM_SCRATCH, labels
    from gli.runs.membership import require_meaningful
    from gli.study.inside import audit_weights
    from gli.study.references import reference_jobs

    if options.references < LEAST_REFERENCES:
        raise SettingError(f"--references is {options.references}; an audit needs at least {LEAST_REFERENCES}.")
    runs, missing = read_runs(options.runs)
    for message in missing:
        print(f"gli audit: left out: {message}", file=sys.stderr)
    runs = [run for run in runs if run.method not in FROM_SCRATCH]
    if not runs:
        raise DataError("None of these runs unlearned anybody: there is nothing to audit.")
    name_of = labels(runs)
    output = _folder(options, runs[0].data)
    for run in runs:
        require_meaningful(run.folder)
        check_finished(run.folder)
    chose = who_chose([run.folder for run in runs], options.chosen_on)
    of_run = {run.folder: reference_jobs(run.folder, options.references, output) for run in runs}
    jobs = list({job.folder: job for jobs in of_run.values() for job in jobs}.values())
    failed = _run(jobs, options, output)
    references = {run: [job.run for job in jobs if job.run is not None] for run, jobs in of_run.items()}
    for folder, found in references.items():
        if len(found) < LEAST_REFERENCES:
            raise DataError(f"Too few reference models of {folder} were finished. " + " ".join(failed))
    inside = {} if options.answers_only else audit_weights(references)
    margin = options.margin or MARGIN
    audits = [
        audit_run(name_of[run.folder], run.folder, references[run.folder], margin, inside.get(run.folder))
        for run in runs
    ]
    facts = {
        "reference models": max(len(found) for found in references.values()),
        "margin of the AUC": margin,
        "who chose the settings": chose,
    }
    with writable(output, content="the audit", setting="--output"):
        write_audit(output, contents_of_runs(runs[0].data, audits, facts))
    return _conclude(audits, output / "audit.html", failed)
