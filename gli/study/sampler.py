"""Optuna's study behind a search (the extra ``guided-loss-increasing[search]``). Only this module imports Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gli.errors import SettingError
from gli.study.objective import Objective
from gli.study.space import Range, Settings, Space, name_of
from gli.system.digest import digest

#: States of a trial.
FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
#: Audits of a trial before it can be pruned.
WARM_UP = 2
#: Name of the constraint of a trial: how far its utility drop is above the allowed one.
CONSTRAINT = "utility_drop"


def load_optuna() -> ModuleType:
    """Return Optuna.

    Raises:
        SettingError: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SettingError(
            "--range and --choose need Optuna, which is not installed: pip install 'guided-loss-increasing[search]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@dataclass(frozen=True)
class Asked:
    """A trial of a study.

    Attributes:
        number: Its number, from 0.
        settings: Its settings.
        state: ``finished``, ``pruned`` or ``failed``; empty while it runs.
    """

    number: int
    settings: Settings
    state: str = ""


class Study:
    """Ask for settings, report scores of audits, and tell results; every step is kept in a journal at once.

    Args:
        journal: File of the journal; it may hold other studies. The path is made absolute, since Optuna's lock on a
            relative path with a folder in it is never freed after a kill.
        name: Name of the study. A study of this name in the journal continues.
        space: The settings to sample.
        objective: What to optimise.
        seed: Seed of the sampler. What is sampled depends on it and on the results so far, whether or not the search
            was interrupted.
        prune: Whether to prune; a study with two objectives never does.
    """

    def __init__(
        self, journal: Path, name: str, space: Space, objective: Objective, seed: int = 0, prune: bool = True
    ) -> None:
        self._optuna: Any = load_optuna()
        self.space, self.objective, self.seed = space, objective, seed
        self.prunes = prune and len(objective.scores) == 1
        backend = self._optuna.storages.journal.JournalFileBackend(str(journal.resolve()))
        self._storage = self._optuna.storages.JournalStorage(backend)
        self._study = self._optuna.create_study(
            storage=self._storage,
            study_name=name,
            directions=["maximize" if rises else "minimize" for _, rises in objective.scores],
            pruner=self._optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        self._trials: dict[int, Any] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():  # Killed while its values were sampled, maybe.
                self._sample(self._trial(trial.number))

    def __len__(self) -> int:
        """Return the number of trials, running ones included."""
        return len(self._study.get_trials(deepcopy=False))

    def trials(self) -> list[Asked]:
        """Return all trials in the order of their numbers."""
        states = self._optuna.trial.TrialState
        names = {states.COMPLETE: FINISHED, states.PRUNED: PRUNED, states.FAIL: FAILED}
        return [
            Asked(trial.number, self.space.settings(trial.params), names.get(trial.state, ""))
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def ask(self) -> Asked:
        """Return a new trial."""
        self._seed_sampler(len(self))
        trial = self._study.ask()
        self._trials[trial.number] = trial
        self._sample(trial)
        return Asked(trial.number, self.space.settings(trial.params))

    def _seed_sampler(self, number: int) -> None:
        """Set a sampler of its own for a trial: one that is seeded again by a new process would repeat its draws."""
        seed = int(digest(self.seed, number)[:8], 16)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _sample(self, trial: Any) -> None:
        """Sample the values of a trial that it does not have yet."""
        for axis in self.space.axes:
            if not isinstance(axis, Range):
                trial.suggest_categorical(name_of(axis), axis.values)
            elif axis.integer:
                trial.suggest_int(name_of(axis), int(axis.low), int(axis.high), log=axis.log)
            else:
                trial.suggest_float(name_of(axis), axis.low, axis.high, log=axis.log)

    def _trial(self, number: int) -> Any:
        """Return a running trial, also of an earlier process."""
        if number not in self._trials:
            self._seed_sampler(number)
            study = self._storage.get_study_id_from_name(self._study.study_name)
            trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
            self._trials[number] = self._optuna.trial.Trial(self._study, trial)
        return self._trials[number]

    def report(self, number: int, progress: Mapping[int, float]) -> None:
        """Report the best score up to each audit of a running trial; values that are known already are left out."""
        if not self.prunes:
            return
        known = self._study.get_trials(deepcopy=False)[number].intermediate_values
        for iteration, value in progress.items():
            if iteration not in known:
                self._trial(number).report(value, iteration)

    def should_prune(self, number: int) -> bool:
        """Return whether a running trial is worse than the median of the finished ones at its last audit."""
        if not self.prunes or len(self._study.get_trials(deepcopy=False)[number].intermediate_values) <= WARM_UP:
            return False
        return bool(self._trial(number).should_prune())

    def tell(self, number: int, state: str, values: Sequence[float] = (), violation: float = 0.0) -> None:
        """Tell the result of a trial.

        Args:
            number: Its number.
            state: ``finished``, ``pruned`` or ``failed``.
            values: Values of the objective of a finished trial.
            violation: How far its utility drop is above the allowed one; at most 0 where it is allowed.
        """
        states = self._optuna.trial.TrialState
        if state == FINISHED:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # A trial of an earlier process may have its constraint already.
                self._trial(number).set_constraint(CONSTRAINT, violation)
            self._study.tell(number, list(values))
        else:
            self._study.tell(number, state=states.PRUNED if state == PRUNED else states.FAIL)
