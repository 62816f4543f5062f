"""The progress bar of a run: its iterations, with what the last audit found beside them, and the audit under way."""

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
from gli.progress import console
from gli.runs import epoch_now, iterations_done

AUDIT = "Audit"
#: What is shown of the last audit: log name, heading.
SHOWN = (("utility_drop", "utility drop"), ("mia_accuracy", "MIA"), ("accuracy", "accuracy"))
#: Seconds between two pictures of the bar.
_PAUSE = 0.1


class RunProgress(ProgressBar):
    """One bar for all iterations of a run, whatever its epochs, and one for each audit while it lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Progress | None = None
        self._run: TaskID | None = None
        self._audit: TaskID | None = None
        self._drawn = 0.0

    def enable(self) -> None:
        """Show it."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; the trainer asks for it on all processes but the first."""
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        console.print(*args, **kwargs)

    def _begin(self) -> Progress:
        if self._bar is None:
            name = TextColumn("{task.description}", table_column=Column(min_width=len(AUDIT)))
            scores = TextColumn("{task.fields[scores]}")
            # Drawn when something happens, not by a thread: one may be drawing while processes are being started.
            # Narrow, so that the scores have room in a line of 80 characters.
            columns = (name, BarColumn(10), MofNCompleteColumn(), TimeRemainingColumn(), scores)
            self._bar = Progress(*columns, console=console, auto_refresh=False, disable=not self._enabled)
            self._bar.start()
        return self._bar

    def _update(self, task: TaskID | None, **what: Any) -> None:
        if self._bar is not None and task is not None:
            self._bar.update(task, **what)
            if time.monotonic() - self._drawn > _PAUSE or not what.keys() <= {"completed", "advance"}:
                self._bar.refresh()
                self._drawn = time.monotonic()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._run = self._audit = None

    # -- training --------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the run, from where it goes on."""
        self._run = self._begin().add_task("", total=None, scores=_scores(trainer))
        epoch = trainer.fit_loop.epoch_loop.batch_progress.current
        self._describe(trainer, pl_module, epoch.completed if trainer.fit_loop.restarted_mid_epoch else 0)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Epochs may differ in length, and in the stage that they belong to."""
        self._describe(trainer, pl_module, 0)

    def _describe(self, trainer: L.Trainer, method: L.LightningModule, done_of_epoch: int) -> None:
        parts = (method.name, method.stage(epoch_now(trainer))) if isinstance(method, Method) else ()
        done = iterations_done(trainer)
        total = _total(trainer, done - done_of_epoch)
        self._update(self._run, completed=done, total=total, description=", ".join(part for part in parts if part))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """An iteration is done."""
        self._update(self._run, completed=iterations_done(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The run may have been stopped early."""
        self._update(self._run, scores=_scores(trainer))

    # -- audits ----------------------------------------------------------------------------------------------------

    def _begin_audit(self, batches: Any) -> None:
        self._audit = self._begin().add_task(AUDIT, total=sum(batches), scores="")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the audit."""
        self._begin_audit(trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the audit."""
        self._begin_audit(trainer.num_test_batches)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """A batch is evaluated."""
        self._update(self._audit, advance=1)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show what it found."""
        self._update(self._run, scores=_scores(trainer))
        self._update(self._audit, visible=self._run is None)
        self._audit = None

    on_test_end = on_validation_end

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the bar as it is."""
        self._end()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the bar as it is, so that what is said next stands below it."""
        self._end()


def with_bar(callbacks: Sequence[L.Callback], enabled: bool | None) -> list[L.Callback]:
    """Callbacks of a trainer, and the bar where ``enable_progress_bar`` is not off and none of them is one."""
    own = enabled is False or any(isinstance(one, ProgressBar) for one in callbacks)
    return [*callbacks] if own else [*callbacks, RunProgress()]


def _total(trainer: L.Trainer, done: int) -> float | None:
    """Iterations of the whole run, as far as can be said when an epoch begins; None where nothing limits it."""
    limits = [float(trainer.max_steps)] if trainer.max_steps >= 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(done + trainer.num_training_batches * max(0, trainer.max_epochs - epoch_now(trainer)))
    return min(limits, default=None)


def _scores(trainer: L.Trainer) -> str:
    audit = ForgettingAudit.of(trainer)
    if audit is None or not audit.rows:
        return ""
    row = audit.rows[-1]
    return " · ".join(f"{heading} {row[name]:.3f}" for name, heading in SHOWN if name in row)
