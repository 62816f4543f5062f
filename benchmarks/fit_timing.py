"""Time the iterations of ``gli fit``, and of bare loops that repeat each of them."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch

from benchmarks.bare_loops import LoopBuilder, ModelCopy, Step
from gli.data.loading import Batch
from gli.engine.fit import run
from gli.methods import Method
from gli.models.backbones import build_classifier
from gli.system.console import console, silence_lightning

#: Iterations before the bare loops start: the first allocates memory, the second follows the audit of the original.
WARM_UP = 2
#: Largest difference between parameters for which two loops count as the same iteration.
TOLERANCE = 1e-3


class BareLoopTimer(L.Callback):
    """After each iteration of a run, repeat it in bare loops; time the run and the bare loops.

    Attributes:
        builders: Functions that build the bare loops of the next run, by name. They are set on the class, because the
            command line creates the callback.
        times: Seconds of each timed iteration, of the run (``gli``) and of each bare loop.
        differences: Largest absolute difference between parameters of the run and of a bare loop at the end, by name.
    """

    builders: ClassVar[Mapping[str, LoopBuilder]] = {}

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {"gli": [], **{name: [] for name in self.builders}}
        self.differences: dict[str, float] = {}
        self._loops: dict[str, tuple[ModelCopy, Step]] = {}
        self._start: float | None = None
        self._pixels = torch.empty(0)
        self._slots = torch.empty(0)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Discard the current interval, since it contains an audit."""
        self._start = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Build the bare loops after the warm-up, from copies of the model."""
        if not self._loops and trainer.fit_loop.epoch_loop.total_batch_idx + 1 == WARM_UP:
            cache = trainer.datamodule.pixels  # type: ignore[attr-defined]
            self._pixels, self._slots = torch.from_numpy(cache.pixels[:]), torch.from_numpy(cache.slots)
            self._loops = {name: build(pl_module) for name, build in self.builders.items()}
            self._start = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the time since the end of the last call as an iteration of the run, then time the bare loops."""
        seconds = None if self._start is None else time.perf_counter() - self._start
        if seconds is not None:
            self.times["gli"].append(seconds)
        assert isinstance(pl_module, Method)
        pl_module.iteration -= 1  # The bare loops repeat the iteration that has just ended, with the same noise.
        for name, (_, step) in self._loops.items():
            start = time.perf_counter()
            step(*(self._load(batch.get(part)) for part in ("retain", "forget")))
            if seconds is not None:
                self.times[name].append(time.perf_counter() - start)
        pl_module.iteration += 1
        if self._loops:
            self._start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the parameters of the run with those of each bare loop."""
        assert isinstance(pl_module, Method)
        for name, (bare, _) in self._loops.items():
            pairs = zip(bare.model.parameters(), pl_module.model.parameters(), strict=True)
            self.differences[name] = max(float((first - second).detach().abs().max()) for first, second in pairs)

    def _load(self, batch: Batch | None) -> Batch | None:
        """Return the same batch, loaded by its row numbers as a bare loop would load it."""
        if batch is None:
            return None
        images = self._pixels[self._slots[batch.index]].permute(0, 3, 1, 2) / 255
        return batch._replace(images=images)


@contextmanager
def silence() -> Iterator[None]:
    """Discard the output of runs: progress bars, tables and Lightning's messages."""
    silence_lightning()
    logging.disable(logging.WARNING)
    console.quiet = True
    try:
        with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
            yield
    finally:
        console.quiet = False
        logging.disable(logging.NOTSET)


def save_random_weights(folder: Path, backbone: str = "resnet18") -> Path:
    """Write the weights of a randomly initialised backbone into a folder and return the path of the file."""
    torch.manual_seed(0)
    path = folder / "original.pt"
    torch.save(build_classifier(backbone, 8).backbone.state_dict(), path)
    return path


def time_fit(
    method: str,
    builders: Mapping[str, LoopBuilder],
    size: int,
    iterations: int,
    settings: Sequence[str] = (),
    *,
    backbone: str = "resnet18",
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run ``gli fit`` on drawn faces in batches of 64, and repeat each iteration in bare loops.

    Args:
        method: Name of the method.
        builders: Functions that build the bare loops, by name.
        size: Side of the images in pixels.
        iterations: Number of timed iterations.
        settings: More settings of the command line.
        backbone: Name of the network.

    Returns:
        Seconds of each timed iteration, of ``gli`` and of each bare loop; and the largest absolute difference between
        parameters of the run and of each bare loop at the end.

    Raises:
        AssertionError: If a bare loop reaches other parameters than the run, and thus is not the same iteration.
    """
    BareLoopTimer.builders = builders
    with tempfile.TemporaryDirectory() as folder:
        original = save_random_weights(Path(folder), backbone)
        with silence():
            command = run(
                [
                    *("fit", "--data=SyntheticFaces", f"--data.image_size={size}", "--data.batch_size=64"),
                    *("--data.cache_dir=data/cache", f"--model={method}", f"--model.backbone={backbone}"),
                    *([] if method in ("Original", "Retrained") else [f"--model.original={original}"]),
                    *(f"--trainer.default_root_dir={folder}", "--trainer.accelerator=cpu", "--trainer.max_epochs=-1"),
                    *(f"--trainer.max_steps={iterations + WARM_UP + 2}", "--trainer.val_check_interval=100000"),
                    *("--trainer.callbacks+=benchmarks.fit_timing.BareLoopTimer", "--audit.keep_losses=false"),
                    *settings,
                ]
            )
    callbacks = command.trainer.callbacks  # type: ignore[attr-defined]
    timer = next(callback for callback in callbacks if isinstance(callback, BareLoopTimer))
    for name, difference in timer.differences.items():
        message = f"{method}: the loop {name} is not the same iteration, its parameters differ by {difference:g}"
        assert difference < TOLERANCE, message
    return {name: times[:iterations] for name, times in timer.times.items()}, timer.differences
