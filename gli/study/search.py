"""A search: trials of settings from a grid or from Optuna's sampler, pruned at their audits, best first in a table."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import optuna.storages.journal
from optuna.trial import TrialState

from gli.engine.execute import DONE, STOPPED, Executor, Record, execute, make_executor
from gli.errors import DataError, GLIError
from gli.runs.folder import ORIGINALS
from gli.runs.read import read_log
from gli.runs.spec import RunSpec
from gli.study.outcome import FAILED, FINISHED, PRUNED, Objective, Outcome, outcome_of, ranked, write_table
from gli.study.settings import flags_of
from gli.study.space import Range, Settings, Space, name_of
from gli.system.console import console
from gli.system.digest import digest

optuna.logging.set_verbosity(optuna.logging.WARNING)
#: Audits of a trial before it can be pruned.
WARM_UP = 2
#: Name of the constraint of a trial: how far its utility drop is above the allowed one.
CONSTRAINT = "utility_drop"
#: Log of the run in the folder of a trial; that of its original lies in a folder with a hash for a name.
LOG_OF_RUN = "lightning_logs/*/version_*/metrics.csv"
#: A sampled search ends if this many trials fail before one has succeeded: then all others probably fail too.
MOST_FAILED = 3
STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
REPORTED = (
    "The people of this search are those who are reported later, so the reported scores will be too favourable: "
    "set --data.rehearsal true."
)
PARTLY = (
    "Another data.split_seed assigns the same people to other sets, so that some are reported later: "
    "set --data.rehearsal true instead."
)


def warning_about_people(arguments: Sequence[str], run: RunSpec) -> str:
    """Return one line about people who choose the settings and are reported too; empty if there are none.

    Drawn people with another ``data.seed`` on the command line are other people.
    """
    given = {argument.partition("=")[0].replace(".init_args.", ".") for argument in arguments}
    if run.data["init_args"].get("rehearsal") or "--data.seed" in given:
        return ""
    return PARTLY if "--data.split_seed" in given else REPORTED


class Search:
    """A search; each step of a sampled one is kept in a journal, so that the same search continues after a kill.

    Args:
        space: The settings to sample.
        specify: Returns the run of a trial from its number, from 1, and its settings.
        objective: What to optimise.
        journal: File of the journal, which may hold other searches; None to run the combinations of a grid, ``grid``.
        name: Name of the search in the journal.
        grid: All combinations of sampled values, without a journal.
        seed: Seed of the sampler. What is sampled depends on it and on the results so far, whether or not the search
            was interrupted.
        prune: Whether to end trials early that are worse than the median; never with two objectives.
    """

    def __init__(
        self,
        space: Space,
        specify: Callable[[int, Settings], RunSpec],
        objective: Objective,
        journal: Path | None = None,
        name: str = "",
        grid: Sequence[Mapping[str, Any]] = (),
        seed: int = 0,
        prune: bool = True,
    ) -> None:
        self.space, self.objective, self._specify, self._seed = space, objective, specify, seed
        self._sampled = journal is not None
        self._prunes = prune and self._sampled and len(objective.scores) == 1
        storage: Any = optuna.storages.InMemoryStorage()
        if journal is not None:
            # Optuna's lock on a relative path with a folder in it is never freed after a kill.
            backend = optuna.storages.journal.JournalFileBackend(str(journal.resolve()))
            storage = optuna.storages.JournalStorage(backend)
        self._storage = storage
        self._study = optuna.create_study(
            storage=storage,
            study_name=name or None,
            directions=["maximize" if rises else "minimize" for _, rises in objective.scores],
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        for parameters in grid:
            self._study.enqueue_trial(dict(parameters))
        self._trials: dict[int, optuna.Trial] = {}
        self._numbers: dict[Path, list[int]] = {}
        self._failures: dict[int, str] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._open = [trial.number for trial in self._all if trial.state == TrialState.RUNNING]
        for number in self._open:
            self._sample(self._trial(number))  # Killed while its values were sampled, maybe.

    @property
    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def spec(self, number: int) -> RunSpec:
        """Return the run of a trial from its number, from 0."""
        return self._specify(number + 1, self.space.settings(self._all[number].params))

    def ended(self) -> list[int]:
        """Return the numbers of the trials that have ended."""
        return [trial.number for trial in self._all if trial.state in STATES]

    def outcomes(self) -> list[Outcome]:
        """Return the results of the trials that have ended, best first."""
        for number in self.ended():
            if number not in self._outcomes:  # An ended trial does not change: its log is read once.
                settings = self.space.settings(self._all[number].params)
                state = STATES[self._all[number].state]
                run = {FINISHED: "run", PRUNED: "stopped_run"}.get(state)
                folder = getattr(self.spec(number), run) if run else None
                self._outcomes[number] = outcome_of(number + 1, settings, state, folder, self.objective)
        return ranked(list(self._outcomes.values()), self.objective)

    def run(
        self, total: int, executor: Executor, *, slots: int = 1, after_each: Callable[[], object] = lambda: None
    ) -> list[str]:
        """Run trials until there are as many as asked for, those of earlier calls included.

        Returns a message for each trial that failed; GLIError if the first ones fail. ``after_each`` is called after
        each.
        """

        def specs() -> Iterator[RunSpec]:
            while self._open or len(self._all) < total:
                number = self._open.pop(0) if self._open else self._ask()
                spec = self.spec(number)
                self._numbers.setdefault(spec.folder, []).append(number)
                yield spec

        def end(record: Record) -> None:
            self._tell(self._numbers[record.spec.folder].pop(0), record, total)
            after_each()

        watch = self._watch if self._prunes else None
        execute(specs(), executor, slots=slots, ended=end, watch=watch, stopped_counts=self._prunes)
        return self._messages()

    def _messages(self) -> list[str]:
        """Return a message for each failed trial, those of earlier calls included."""
        failed = [trial.number for trial in self._all if trial.state == TrialState.FAIL]
        return [self._failures.get(number) or self.spec(number).reason_of_failure() for number in failed]

    def _ask(self) -> int:
        self._seed_sampler(len(self._all))
        trial = self._study.ask()
        self._trials[trial.number] = trial
        self._sample(trial)
        return trial.number

    def _seed_sampler(self, number: int) -> None:
        """Set a sampler of its own for a trial: one that is seeded again by a new process would repeat its samples."""
        seed = int(digest(self._seed, number)[:8], 16)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _sample(self, trial: optuna.Trial) -> None:
        """Sample the values of a trial that it does not have yet."""
        for axis in self.space.axes:
            if not isinstance(axis, Range):
                trial.suggest_categorical(name_of(axis), axis.values)
            elif axis.integer:
                trial.suggest_int(name_of(axis), int(axis.low), int(axis.high), log=axis.log)
            else:
                trial.suggest_float(name_of(axis), axis.low, axis.high, log=axis.log)

    def _trial(self, number: int) -> optuna.Trial:
        """Return a running trial, also of an earlier process."""
        if number not in self._trials:
            self._seed_sampler(number)
            study = self._storage.get_study_id_from_name(self._study.study_name)
            trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
            self._trials[number] = optuna.Trial(self._study, trial)
        return self._trials[number]

    def _report(self, number: int, rows: Sequence[Mapping[str, float]]) -> None:
        """Report the best score up to each audit of a running trial; values that are reported already are left out."""
        if self._prunes:
            reported = self._all[number].intermediate_values
            for iteration, value in self.objective.progress(rows).items():
                if iteration not in reported:
                    self._trial(number).report(value, iteration)

    def _watch(self, spec: RunSpec) -> None:
        """Report the audits of a running trial; ask it to end if it is worse than the median of the finished ones."""
        number = self._numbers[spec.folder][0]
        for log in spec.folder.glob(LOG_OF_RUN):
            self._report(number, _audits_of(log.parent))
        if len(self._all[number].intermediate_values) > WARM_UP and self._trial(number).should_prune():
            spec.stop()

    def _tell(self, number: int, record: Record, total: int) -> None:
        rows = _audits_of(record.run)
        audit, _ = self.objective.choose(rows)
        self._report(number, rows)
        if record.state == DONE and audit is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # A trial of an earlier process may have its constraint already.
                self._trial(number).set_constraint(CONSTRAINT, self.objective.violation(audit))
            self._study.tell(number, self.objective.values(audit))
            state = FINISHED
            text = f"final score {audit['final_score']:.4f}, utility drop {audit.get('utility_drop', 0.0):.4f}"
        elif record.state == STOPPED:
            self._study.tell(number, state=TrialState.PRUNED)
            state, text = PRUNED, f"final score {audit['final_score']:.4f} so far" if audit is not None else ""
        else:
            self._study.tell(number, state=TrialState.FAIL)
            state, text = FAILED, "no audit with finite losses" if record.run is not None else "no result"
            spec = record.spec
            reason = f"{spec.title}: {text} ({spec.log})" if record.run is not None else spec.reason_of_failure()
            self._failures[number] = reason
        settings = " ".join(f"{key}={value}" for key, value in self.space.settings(self._all[number].params).items())
        console.print(f"trial {number + 1} of {total}: {state}, {text}: {settings}", soft_wrap=True)
        ended = self.ended()
        failed = {STATES[self._all[trial].state] for trial in ended} == {FAILED}
        if self._sampled and failed and len(self._failures) >= MOST_FAILED:
            raise GLIError(f"The first {len(ended)} trials failed: {self._messages()[0]}")


def _audits_of(run: Path | None) -> Sequence[Mapping[str, float]]:
    """Return the audits in the log of a run; none before the first."""
    if run is not None:
        with suppress(DataError):
            return read_log(run)
    return []


def search(
    arguments: Sequence[str],
    grid: Space,
    sampled: Space,
    objective: Objective,
    output: Path,
    *,
    trials: int,
    seed: int = 0,
    prune: bool = True,
    jobs: int = 1,
    cluster: str | None = None,
) -> tuple[list[Outcome], list[str], str]:
    """Run a search and write its table after each trial.

    The arguments are those of the command; either ``grid`` or ``sampled`` has settings.

    Returns:
        The trials, best first; a message for each that failed; a warning about the people, or an empty string.

    Raises:
        GLIError: If a setting is wrong, or the first trials fail.
    """
    from gli.engine.fit import specify  # Loads torch.

    folder = output.parent / "search"

    def spec(number: int, settings: Settings) -> RunSpec:
        title = " ".join(f"{name}={value}" for name, value in settings.items())
        arguments_of_trial = [*arguments, *flags_of(settings)]
        run = specify(arguments_of_trial, row=title, column=f"trial {number}", originals=folder / ORIGINALS)
        return run.below(folder)

    executor = make_executor(jobs, cluster)
    space, combinations = (grid, grid.combinations()) if grid.axes else (sampled, [])
    first = spec(1, space.example())
    warning = warning_about_people(arguments, first)
    if warning:
        print(f"gli search: warning: {warning}", file=sys.stderr)
    if grid.axes:
        for number, parameters in enumerate(combinations, start=1):  # A mistake in any of them ends the search here.
            spec(number, grid.settings(parameters))
        study = Search(grid, spec, objective, grid=combinations)
    else:
        name = digest(first.key, repr(sampled), repr(objective), seed)[:16]
        study = Search(sampled, spec, objective, output.with_suffix(".journal"), name, seed=seed, prune=prune)

    def keep() -> list[Outcome]:
        outcomes = study.outcomes()
        if outcomes:
            write_table(output, outcomes, len(objective.scores) > 1)
        return outcomes

    try:
        failed = study.run(len(combinations) or trials, executor, slots=jobs, after_each=keep)
    finally:
        outcomes = keep()  # Also after an interruption.
    return outcomes, failed, warning
