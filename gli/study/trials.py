"""Run the trials of a study on the seam of the jobs: ask, run, prune at the audits, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gli.engine.executor import Executor, Resources
from gli.engine.job import Job
from gli.errors import DataError, GLIError
from gli.runs.read import read_log
from gli.study.objective import Objective
from gli.study.outcome import Outcome, outcome_of
from gli.study.sampler import FAILED, FINISHED, PRUNED, Asked, Study
from gli.study.space import Settings
from gli.system.console import console

#: Seconds between two looks at the running jobs, and at the audits of one.
POLL_SECONDS, WATCH_SECONDS = 0.1, 1.0
#: Logs of the run in the folder of a job; that of its original lies in a folder with a hash for a name.
LOGS_OF_RUN = "lightning_logs/*/version_*/metrics.csv"
#: A search ends if this many trials fail before one has succeeded: then all others probably fail too.
MOST_FAILED = 3
MakeJob = Callable[[int, Settings], Job]


@dataclass
class Running:
    """A job that runs.

    Attributes:
        job: The job.
        future: Its exit status.
        trials: The trials with its settings; more than one if the sampler repeats itself.
        looked: When its audits were looked at last.
    """

    job: Job
    future: Future[int]
    trials: list[Asked] = field(default_factory=list)
    looked: float = 0.0


def audits_so_far(folder: Path) -> Sequence[Mapping[str, float]]:
    """Return the audits in the folder of a job that still runs; none before the first."""
    for log in folder.glob(LOGS_OF_RUN):
        return _audits_of(log.parent)
    return []


def _audits_of(run: Path) -> Sequence[Mapping[str, float]]:
    with suppress(DataError):
        return read_log(run)
    return []


class Trials:
    """The trials of a search.

    Args:
        study: Asks for settings and is told results.
        make_job: Returns the job of a trial from its number, from 1, and its settings.
        executor: Runs the jobs; closed at the end of :meth:`run`, also after an interruption.
    """

    def __init__(self, study: Study, make_job: MakeJob, executor: Executor) -> None:
        self.study, self.make_job, self.executor = study, make_job, executor
        self._running: dict[Path, Running] = {}
        self._failures: dict[int, str] = {}
        self._outcomes: dict[int, Outcome] = {}

    @property
    def objective(self) -> Objective:
        """What the search optimises."""
        return self.study.objective

    def job(self, trial: Asked) -> Job:
        """Return the job of a trial."""
        return self.make_job(trial.number + 1, trial.settings)

    def outcomes(self) -> list[Outcome]:
        """Return what came of the trials that have ended."""
        ended = [trial for trial in self.study.trials() if trial.state]
        for trial in ended:
            if trial.number not in self._outcomes:  # An ended trial does not change: its log is read once.
                self._outcomes[trial.number] = outcome_of(
                    trial.number + 1, trial.settings, trial.state, self.job(trial), self.objective
                )
        return [self._outcomes[trial.number] for trial in ended]

    def run(self, total: int, *, slots: int = 1, after_each: Callable[[], object] = lambda: None) -> list[str]:
        """Run trials until there are as many as asked for.

        Args:
            total: Number of trials, those of earlier calls included.
            slots: Number of jobs at once.
            after_each: Called after each trial that ends.

        Returns:
            A message for each trial that failed.

        Raises:
            GLIError: If the first trials fail.
        """
        open_trials = [trial for trial in self.study.trials() if not trial.state]
        try:
            while True:
                while len(self._running) < slots and (open_trials or len(self.study) < total):
                    self._start(open_trials.pop(0) if open_trials else self.study.ask(), total, after_each)
                if not self._running:
                    return self._messages()
                time.sleep(POLL_SECONDS)
                for folder, running in list(self._running.items()):
                    if running.future.done():
                        del self._running[folder]
                        for trial in running.trials:
                            self._end(trial, running.job, total)
                            after_each()
                    elif time.monotonic() - running.looked > WATCH_SECONDS:
                        self._watch(running)
        finally:
            self.executor.close()

    def _messages(self) -> list[str]:
        """Return a message for each failed trial, those of earlier calls included."""
        failed = [trial for trial in self.study.trials() if trial.state == FAILED]
        return [self._failures.get(trial.number) or self.job(trial).reason_of_failure() for trial in failed]

    def _start(self, trial: Asked, total: int, after_each: Callable[[], object]) -> None:
        """Start the job of a trial, unless a job of the same settings is finished or runs already."""
        job = self.job(trial)
        if job.folder in self._running:
            self._running[job.folder].trials.append(trial)
        elif job.run is not None or (self.study.prunes and job.stopped_run is not None):
            self._end(trial, job, total)
            after_each()
        else:
            job.prepare()
            future = self.executor.submit(job.command, log=job.log, resources=Resources(gpus=None))
            self._running[job.folder] = Running(job, future, [trial])

    def _watch(self, running: Running) -> None:
        """Report the audits of a running job, and ask it to end if its first trial is to be pruned."""
        running.looked = time.monotonic()
        number = running.trials[0].number
        self.study.report(number, self.objective.progress(audits_so_far(running.job.folder)))
        if self.study.should_prune(number):
            running.job.stop()

    def _end(self, trial: Asked, job: Job, total: int) -> None:
        """Tell the result of a trial."""
        run = job.run or job.stopped_run
        state = FAILED if run is None else FINISHED if job.run else PRUNED
        rows = _audits_of(run) if run is not None else []
        audit, _ = self.objective.choose(rows)
        self.study.report(trial.number, self.objective.progress(rows))
        if state == FINISHED and audit is not None:
            self.study.tell(trial.number, FINISHED, self.objective.values(audit), self.objective.violation(audit))
            told = f"final score {audit['final_score']:.4f}, utility drop {audit.get('utility_drop', 0.0):.4f}"
        elif state == PRUNED:
            self.study.tell(trial.number, PRUNED)
            told = f"final score {audit['final_score']:.4f} so far" if audit is not None else ""
        else:
            told = "no audit with finite losses" if run is not None else "no result"
            reason = f"{job.title}: {told} ({job.log})" if run is not None else job.reason_of_failure()
            state, self._failures[trial.number] = FAILED, reason
            self.study.tell(trial.number, FAILED)
        settings = " ".join(f"{key}={value}" for key, value in trial.settings.items())
        console.print(f"trial {trial.number + 1} of {total}: {state}, {told}: {settings}", soft_wrap=True)
        self._refuse_more_failures()

    def _refuse_more_failures(self) -> None:
        states = [trial.state for trial in self.study.trials() if trial.state]
        if len(self._failures) >= MOST_FAILED and set(states) == {FAILED}:
            raise GLIError(f"The first {len(states)} trials failed: {self._messages()[0]}")
