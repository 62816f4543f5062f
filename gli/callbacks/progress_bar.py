"""The progress bar of a run: its iterations with the scores of the last audit, and the audit under way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from gli.callbacks.audit import ForgettingAudit
from gli.methods.base import Method
from gli.metrics.registry import shown_in
from gli.system.console import console
from gli.system.lightning import batches_done_in_epoch, current_epoch

AUDIT = "Audit"
#: Seconds between two redraws.
REDRAW_SECONDS = 0.1


class RunProgress(ProgressBar):
    """One bar for all iterations of a run, across its epochs, and one for each audit while it lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._progress: Progress | None = None
        self._run: TaskID | None = None
        self._audit: TaskID | None = None
        self._redrawn = 0.0

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; the trainer calls this on all processes but the first."""
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        console.print(*args, **kwargs)

    def _start(self) -> Progress:
        if self._progress is None:
            name = TextColumn("{task.description}", table_column=Column(min_width=len(AUDIT)))
            scores = TextColumn("{task.fields[scores]}", table_column=Column())  # Wrapped, where narrow.
            # A narrow bar leaves room for the scores in a line of 80 characters.
            columns = (name, BarColumn(10), MofNCompleteColumn(), TimeRemainingColumn(), scores)
            # No refresh thread: it could be drawing while worker processes are forked.
            self._progress = Progress(*columns, console=console, auto_refresh=False, disable=not self._enabled)
            self._progress.start()
        return self._progress

    def _update(self, task: TaskID | None, **changes: Any) -> None:
        if self._progress is not None and task is not None:
            self._progress.update(task, **changes)
            due = time.monotonic() - self._redrawn > REDRAW_SECONDS
            if due or not changes.keys() <= {"completed", "advance"}:
                self._progress.refresh()
                self._redrawn = time.monotonic()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._run = self._audit = None

    # -- training --------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the run, from the iteration it continues at."""
        self._run = self._start().add_task("", total=None, scores=_scores(trainer))
        self._describe(trainer, pl_module, batches_done_in_epoch(trainer))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Update length and stage: epochs may differ in both."""
        self._describe(trainer, pl_module, 0)

    def _describe(self, trainer: L.Trainer, method: L.LightningModule, done_in_epoch: int) -> None:
        assert isinstance(method, Method)
        description = ", ".join(filter(None, (method.name, method.stage(current_epoch(trainer)))))
        total = _total_iterations(trainer, method.iteration - done_in_epoch)
        self._update(self._run, completed=method.iteration, total=total, description=description)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Advance by an iteration."""
        assert isinstance(pl_module, Method)
        self._update(self._run, completed=pl_module.iteration)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the last scores; the run may have been stopped early."""
        self._update(self._run, scores=_scores(trainer))

    # -- audits ----------------------------------------------------------------------------------------------------

    def _start_audit(self, batches: Any) -> None:
        self._audit = self._start().add_task(AUDIT, total=sum(batches), scores="")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the audit."""
        self._start_audit(trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the audit."""
        self._start_audit(trainer.num_test_batches)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Advance by a batch."""
        self._update(self._audit, advance=1)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the scores."""
        self._update(self._run, scores=_scores(trainer))
        self._update(self._audit, visible=self._run is None)
        self._audit = None

    on_test_end = on_validation_end

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the bar as it is."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the bar as it is, so that messages appear below it."""
        self._stop()


def with_bar(callbacks: Sequence[L.Callback], enabled: bool | None) -> list[L.Callback]:
    """Return a trainer's callbacks with our bar, unless ``enabled`` is False or the user gives a bar."""
    no_bar = enabled is False or any(isinstance(callback, ProgressBar) for callback in callbacks)
    return [*callbacks] if no_bar else [*callbacks, RunProgress()]


def _total_iterations(trainer: L.Trainer, done: int) -> float | None:
    """Return the iterations of the whole run as known at the start of an epoch; None where nothing limits it."""
    limits = [float(trainer.max_steps)] if trainer.max_steps >= 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(done + trainer.num_training_batches * max(0, trainer.max_epochs - current_epoch(trainer)))
    return min(limits, default=None)


def _scores(trainer: L.Trainer) -> str:
    """Return the last audit's scores that are registered for the bar."""
    audit = ForgettingAudit.of(trainer)
    if audit is None or not audit.rows:
        return ""
    row = audit.rows[-1]
    # The utility drop, which tables show last, comes first: it tells soonest that a run goes wrong.
    scores = [score for score in reversed(shown_in("bar")) if score.name in row]
    return " | ".join(f"{score.label} {row[score.name]:.3f}" for score in scores)
