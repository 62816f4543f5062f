"""``gli audit``: methods, or models that exist, against models that never saw the people."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gli.commands.parse import Flag
from gli.errors import DataError, SettingError
from gli.runs.configs import resolve
from gli.system.files import file_lock, writable

if TYPE_CHECKING:
    from gli.auditing.fleet_audit import MethodAudit
    from gli.auditing.run_audit import RunAudit
    from gli.runs.spec import RunSpec

HELP = """Audit unlearning methods, or models that exist, against models that never saw the people.

    gli audit --config audit/synthetic                     all methods, with a fleet of originals
    gli audit --config audit/synthetic --methods GLI SCRUB --budget 20m
    gli audit lightning_logs/gli_mufac/version_0 --references 8

With --config, originals are trained on random halves of the people and each method forgets some of them; the attack
(U-LiRA) compares models that forgot a person with models that never saw the person. With runs, retrained models of the
same data are the references (RMIA). Every model is an ordinary run; finished ones are never repeated.
"""
INTERRUPTED = "stopped. The same command runs the models that are not finished."
SETTING = re.compile(r"(\d+(?:\.\d+)?)\s*(m|min|h)?")


def minutes_of(budget: str) -> float:
    """Return the minutes of a budget such as ``20m``, ``1.5h`` or ``20``; SettingError if it has another form."""
    match = SETTING.fullmatch(budget.strip())
    if not match:
        raise SettingError(f"--budget {budget}: expected minutes or hours, such as 20m or 1.5h.")
    return float(match.group(1)) * (60 if match.group(2) == "h" else 1)


def audit(
    *runs: Path,
    config: str | None = None,
    methods: Sequence[str] | None = None,
    budget: str | None = None,
    references: int = 8,
    answers_only: bool = False,
    chosen_on: Annotated[Sequence[Path], Flag(metavar="REHEARSAL")] = (),
    jobs: int = 1,
    cluster: Annotated[str | None, Flag(metavar="ADDRESS")] = None,
    output: Path | None = None,
    margin: float | None = None,
) -> int:
    """Audit methods, or runs.

    Args:
        *runs: Folder of a run, or of a benchmark, to audit.
        config: Configuration of an audit of methods, such as audit/synthetic.
        methods: Only these methods of the configuration.
        budget: Time that the audit may take, such as 20m: chooses the number of models.
        references: Number of retrained models for RUN.
        answers_only: Do not look into the models of RUN: features, relearning.
        chosen_on: Folders of the rehearsals by which the settings of RUN were chosen; nobody may be in both.
        jobs: Number of runs at once.
        cluster: Ray cluster to run them on: HOST:PORT, or local.
        output: Folder of the audit (default: audit_<data set>).
        margin: Difference of the AUC from 0.5 that does not matter.
    """
    if bool(config) == bool(runs):
        raise SettingError("Give either --config for an audit of methods, or folders of runs.")
    if margin is not None and not 0 < margin < 0.5:
        raise SettingError(f"--margin is {margin:g}; it must lie between 0 and 0.5.")
    if config and chosen_on:
        raise SettingError("--chosen-on goes with folders of runs; with --config, the file has chosen_on.")
    place = Place(output, jobs, cluster)
    if config:
        return _audit_methods(config, methods, budget, margin, place)
    return _audit_runs(runs, references, answers_only, chosen_on, margin, place)


@dataclass(frozen=True)
class Place:
    """Where an audit runs and is written."""

    output: Path | None
    jobs: int
    cluster: str | None

    def folder(self, data: str) -> Path:
        """Create and return the folder of the audit."""
        output = self.output or Path(f"audit_{data}")
        with writable(output, content="the audit", setting="--output"):
            output.mkdir(parents=True, exist_ok=True)
        return output

    def execute(self, runs: Sequence[RunSpec], folder: Path) -> list[str]:
        """Execute the runs of an audit, one audit at a time in a folder; return a message for each that failed."""
        from gli.engine.execute import execute, failures, make_executor

        with file_lock(folder / ".lock", "auditing into this folder"):
            return failures(execute(runs, make_executor(self.jobs, self.cluster), slots=self.jobs))


def _conclude(audits: Sequence[MethodAudit | RunAudit], page: Path, failed: Sequence[str]) -> int:
    """Print the verdicts, the page of the audit and the failures; return the exit status."""
    from gli.system.console import console  # Loads rich.

    for audit in audits:
        console.print(f"[bold]{audit.name}[/bold]: {audit.verdict.answer}. {audit.verdict.sentence}", soft_wrap=True)
    print(page)
    for message in failed:
        print(f"gli audit: without a result: {message}", file=sys.stderr)
    return 1 if failed else 0


# -- methods -----------------------------------------------------------------------------------------------------------


def _audit_methods(
    config: str, methods: Sequence[str] | None, budget: str | None, margin: float | None, place: Place
) -> int:
    from gli.auditing.contents import contents_of_methods
    from gli.auditing.fleet_audit import NO_UNLEARNING, audit_fleets
    from gli.reporting.audit import write_audit
    from gli.study.fleet import (
        RETRAINED,
        check_who_chose,
        costs_of,
        data_of,
        draws_of,
        read_fleets,
        read_plan,
        runs_of,
        training_images,
    )
    from gli.system.console import console

    path = Path(resolve(config))
    plan = read_plan(path).restricted(methods)
    plan = replace(plan, margin=margin) if margin else plan
    output = place.folder(plan.data)
    data = data_of(plan, path)
    check_who_chose(plan, data)
    images = training_images(data, draws_of(plan, data))
    if budget:
        plan = plan.within(minutes_of(budget), images, place.jobs)
    planned = runs_of(plan, path, data, output)
    waiting = sum(run.run is None for run in planned.values())
    console.print(
        f"{plan.originals} originals, {plan.draws} draws each, {len(plan.entries)} methods: {len(planned)} runs, "
        f"{waiting} of them to do; all of them take about {plan.minutes(images, place.jobs):.0f} minutes.",
        soft_wrap=True,
    )
    failed = place.execute(list(planned.values()), output)
    finished = {place: run.run for place, run in planned.items()}
    fleets, originals = read_fleets(finished, failed)
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
        "configuration": config,
    }
    costs = {NO_UNLEARNING: 0.0, **costs_of(finished)}
    with writable(output, content="the audit", setting="--output"):
        write_audit(output, contents_of_methods(plan.data, audits, costs, facts))
    return _conclude(audits, output / "audit.html", failed)


# -- runs --------------------------------------------------------------------------------------------------------------


def _audit_runs(
    folders: Sequence[Path],
    count: int,
    answers_only: bool,
    chosen_on: Sequence[Path],
    margin: float | None,
    place: Place,
) -> int:
    from gli.auditing import LEAST_REFERENCES
    from gli.auditing.chosen_on import who_chose
    from gli.auditing.contents import contents_of_runs
    from gli.auditing.run_audit import audit_run, check_finished
    from gli.auditing.verdict import MARGIN
    from gli.commands.report import read_runs
    from gli.reporting.audit import write_audit
    from gli.reporting.results import FROM_SCRATCH, labels
    from gli.runs.membership import require_meaningful
    from gli.study.inside import audit_weights
    from gli.study.references import reference_runs

    if count < LEAST_REFERENCES:
        raise SettingError(f"--references is {count}; an audit needs at least {LEAST_REFERENCES}.")
    runs, missing = read_runs(folders)
    for message in missing:
        print(f"gli audit: left out: {message}", file=sys.stderr)
    runs = [run for run in runs if run.method not in FROM_SCRATCH]
    if not runs:
        raise DataError("None of these runs unlearned anybody: there is nothing to audit.")
    name_of = labels(runs)
    output = place.folder(runs[0].data)
    for run in runs:
        require_meaningful(run.folder)
        check_finished(run.folder)
    chose = who_chose([run.folder for run in runs], chosen_on)
    of_run = {run.folder: reference_runs(run.folder, count, output) for run in runs}
    failed = place.execute(list({spec.key: spec for specs in of_run.values() for spec in specs}.values()), output)
    references = {run: [spec.run for spec in specs if spec.run is not None] for run, specs in of_run.items()}
    for folder, found in references.items():
        if len(found) < LEAST_REFERENCES:
            raise DataError(f"Too few reference models of {folder} were finished. " + " ".join(failed))
    weights = audit_weights(references, answers_only)
    margin = margin or MARGIN
    audits = [
        audit_run(name_of[run.folder], run.folder, references[run.folder], margin, weights.get(run.folder))
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
