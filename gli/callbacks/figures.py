"""Figures of a run, as PNG in its folder and in its loggers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image

from gli.auditing import plots
from gli.auditing.record import read_record
from gli.callbacks.audit import ForgettingAudit
from gli.methods.base import Method


class Figures(L.Callback):
    """Draw the utility drop, loss densities and, for methods that perturb images, examples of what they train on.

    The densities are drawn for the original and for the best audit so far; the rest at the end, or after every
    ``every`` audits.

    Args:
        every: Number of audits after which to draw as well; 0 for only at the start and the end (a figure takes 0.2 s).
        send_faces: Send pictures of people to the loggers that ``--trainer.logger`` adds, which may be on another
            machine. Otherwise they stay in the run's folder; curves and densities show nobody and reach every logger.
        enabled: Draw figures. Reference models and fleets have none: nobody looks at them.
    """

    def __init__(self, every: int = 0, send_faces: bool = False, enabled: bool = True) -> None:
        self.every, self.send_faces, self.enabled = every, send_faces, enabled
        self.best_losses: dict[str, npt.NDArray[np.float64]] = {}
        self._first_examples = True
        self._folder: str | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the folder of the run on every process, because the answer is broadcast."""
        self._folder = trainer.log_dir

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the losses of the best audit; draw those of the original."""
        audit = ForgettingAudit.of(trainer)
        if not self.enabled or audit is None or not audit.rows or trainer.sanity_checking:
            return
        row = audit.rows[-1]
        if row["iteration"] == 0 and trainer.is_global_zero:
            figure = plots.densities(audit.losses["forget"], audit.losses["unseen"], "before")
            self._show(trainer, "losses_before", figure, 0)
        if audit.best is row:
            self.best_losses = dict(audit.losses)
        if self.every and len(audit.rows) % self.every == 0:
            self.draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        """Draw the first perturbation."""
        if self.enabled and self._first_examples and trainer.is_global_zero:
            self._first_examples = False
            self._draw_examples(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw all figures."""
        self.draw(trainer, pl_module)

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw all figures as of the last audit."""
        audit = ForgettingAudit.of(trainer)
        if not self.enabled or audit is None or not audit.rows or not trainer.is_global_zero:
            return
        method, iteration = type(pl_module).__name__, int(audit.rows[-1]["iteration"])
        self._show(trainer, "utility_drop", plots.utility_drop(audit.rows, method), iteration)
        if audit.best is not None:
            self._draw_best_losses(trainer, method, int(audit.best["iteration"]), iteration)
        self._draw_examples(trainer, pl_module)

    def _draw_best_losses(self, trainer: L.Trainer, method: str, best: int, iteration: int) -> None:
        if not self.best_losses and self._folder is not None:  # The best audit was before a resume.
            record = read_record(Path(self._folder), best)
            self.best_losses = {name: columns["loss"] for name, columns in record.values.items()} if record else {}
        if self.best_losses:
            title = f"{method}, iteration {best}"
            figure = plots.densities(self.best_losses["forget"], self.best_losses["unseen"], title)
            self._show(trainer, "losses_after", figure, iteration)

    def _draw_examples(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        if isinstance(method, Method) and method.examples is not None:
            before, after = (images.float().permute(0, 2, 3, 1).cpu().numpy() for images in method.examples)
            title = f"{method.name}, iteration {method.iteration}"
            figure = plots.perturbations(before, after, title)
            self._show(trainer, "perturbations", figure, method.iteration, shows_people=True)

    def _show(
        self, trainer: L.Trainer, name: str, figure: Figure, iteration: int, *, shows_people: bool = False
    ) -> None:
        """Save a figure into the run's folder, and send it to the loggers that may have it."""
        if self._folder is not None:
            plots.save(figure, Path(self._folder) / f"{name}.png")
        for logger in trainer.loggers:
            if not shows_people or self.send_faces or self._writes_here(logger):
                send_figure(logger, name, figure, iteration)

    def _writes_here(self, logger: Logger) -> bool:
        """Return whether a logger is gli's own, which writes into the run's folder."""
        writes_locally = isinstance(logger, TensorBoardLogger) and self._folder is not None
        return writes_locally and Path(logger.log_dir or "") == Path(str(self._folder))


def send_figure(logger: Logger, name: str, figure: Figure, iteration: int) -> bool:
    """Send a figure to a logger; return whether the logger takes figures, as TensorBoard's, MLflow's and W&B's do.

    Numbers need no such function: Lightning sends what is logged to every logger of a run.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(f"figures/{name}", figure, iteration)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, f"figures/{name}_{iteration:06d}.png")
    elif hasattr(logger, "log_image"):
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=120)
        logger.log_image(key=f"figures/{name}", images=[Image.open(file)], step=iteration)
    else:
        return False
    return True
