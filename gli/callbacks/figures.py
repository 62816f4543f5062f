"""Figures of a run, in TensorBoard and as PNG in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from gli import audits, plots
from gli.callbacks.audit import ForgettingAudit
from gli.runs import iterations_done


class Figures(L.Callback):
    """Draws utility drop, loss densities and, for methods that perturb images, examples of what they train on.

    The densities are drawn for the original and for the best audit so far; the rest at the end, or whenever ``every``
    audits have passed.

    Args:
        every: Also draw after every so many audits; 0 for only at the start and the end (a figure costs some 0.2 s).
    """

    def __init__(self, every: int = 0) -> None:
        self.every = every
        self.best_losses: dict[str, npt.NDArray[np.float64]] = {}
        self._first_examples = True
        self._folder: str | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ask for the run's folder on every process, since the answer is broadcast."""
        self._folder = trainer.log_dir

    def _show(self, trainer: L.Trainer, name: str, figure: Figure, iteration: int) -> None:
        if self._folder is not None:
            plots.save(figure, Path(self._folder) / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure(f"figures/{name}", figure, iteration)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the losses of the best audit; draw those of the original."""
        audit = ForgettingAudit.of(trainer)
        if audit is None or not audit.rows or trainer.sanity_checking:
            return
        row = audit.rows[-1]
        if row["iteration"] == 0 and trainer.is_global_zero:
            figure = plots.densities(audit.losses["forget"], audit.losses["unseen"], "before")
            self._show(trainer, "losses_before", figure, 0)
        if audit.best is row:
            self.best_losses = dict(audit.losses)
        if self.every and len(audit.rows) % self.every == 0:
            self.draw(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first perturbation."""
        if self._first_examples and trainer.is_global_zero:
            self._first_examples = False
            self._draw_examples(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw everything once more."""
        self.draw(trainer, pl_module)

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw all figures as they now stand."""
        audit = ForgettingAudit.of(trainer)
        if audit is None or not audit.rows or not trainer.is_global_zero:
            return
        method, iteration = type(pl_module).__name__, int(audit.rows[-1]["iteration"])
        self._show(trainer, "utility_drop", plots.utility_drop(audit.rows, method), iteration)
        if not self.best_losses and audit.best is not None and self._folder is not None:  # It was before a resume.
            kept = audits.read_one(Path(self._folder), int(audit.best["iteration"]))
            self.best_losses = {name: values["loss"] for name, values in kept.values.items()} if kept else {}
        if self.best_losses and audit.best is not None:
            title = f"{method}, iteration {audit.best['iteration']:.0f}"
            figure = plots.densities(self.best_losses["forget"], self.best_losses["unseen"], title)
            self._show(trainer, "losses_after", figure, iteration)
        self._draw_examples(trainer, pl_module)

    def _draw_examples(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        examples = getattr(pl_module, "examples", None)
        if examples is not None:
            before, after = (images.float().permute(0, 2, 3, 1).cpu().numpy() for images in examples)
            iteration = iterations_done(trainer)
            title = f"{type(pl_module).__name__}, iteration {iteration}"
            self._show(trainer, "perturbations", plots.perturbations(before, after, title), iteration)
