"""How long a method takes here: from a finished run of the same settings, or measured over a few steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning as L
import torch

from gli.callbacks import Stopwatch
from gli.data import FaceDataModule
from gli.data.loading import EpochPlan, Pass
from gli.engine.build import make_trainer
from gli.errors import DataError
from gli.methods.base import Method
from gli.runs.cost import read_cost
from gli.runs.folder import snake_case
from gli.runs.read import read_run
from gli.system.chunks import CHUNK_PIXELS, in_chunks
from gli.system.console import quiet_loggers

#: Where the trainer says what it does.
TRAINER_LOG = "lightning.pytorch.utilities.rank_zero"
#: Share of its planned iterations that the last audit of a finished run has reached at least.
COMPLETE = 0.9


@dataclass(frozen=True)
class Timing:
    """How long the training steps of a run take, without audits."""

    method: str  # Class name of the method.
    iterations: int  # Iterations of the run.
    seconds: float  # Time of all of them, preparation included.
    source: str  # Where the time comes from, as text.


def planned_passes(method: Method, data: FaceDataModule, epochs: int | None, steps: int = -1) -> list[tuple[Pass, int]]:
    """Return the different passes of a run with the number of batches of each, in the order of their first use.

    ``epochs`` is None where only ``steps`` ends the run; ``steps`` is -1 for no limit.
    """
    assert epochs is not None or steps >= 0, "a run needs a limit"
    passes: list[Pass] = []
    batches: list[int] = []
    left = float("inf") if steps < 0 else steps
    for epoch in count() if epochs is None else range(epochs):
        if not left:
            break
        for pass_ in method.passes_in(epoch):
            sets = {name: data.rows(name) for name in pass_.names}
            taken = int(min(left, len(EpochPlan(sets, [pass_], data.batch_size))))
            left -= taken
            if pass_ not in passes:  # Passes have no hash.
                passes.append(pass_)
                batches.append(0)
            batches[passes.index(pass_)] += taken
    return [(pass_, planned) for pass_, planned in zip(passes, batches, strict=True) if planned]


def finished_run(
    name: str, data: FaceDataModule, settings: Mapping[str, Any], iterations: int, logs: Path, device: str
) -> Timing | None:
    """Return the time of the newest finished run of a method with the same data settings, backbone and length.

    ``settings`` are ``data.<name>`` and ``model.backbone``, and ``device`` is the name, as the folder of the run would
    have them.
    """
    runs = (logs / f"{snake_case(name)}_{data.label}").glob("version_*")
    for folder in sorted(runs, key=lambda folder: folder.stat().st_mtime, reverse=True):
        cost = read_cost(folder)
        try:
            run = read_run(folder)
        except DataError:
            continue
        settings_of_run = {
            key: value for key, value in run.settings.items() if key in settings or key.startswith("data.")
        }
        reached = run.rows[-1]["iteration"]
        alike = settings_of_run == settings and cost.get("device") == device
        if alike and "training_seconds" in cost and COMPLETE * iterations <= reached <= iterations:
            return Timing(name, iterations, float(cost["training_seconds"]), f"finished run {folder}")
    return None


class _StepTimes(Stopwatch):
    """Keep the times of the steps of each epoch, and that of the preparation."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[int, list[float]] = {}
        self.prepared = 0.0
        self._begin = time.perf_counter()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.prepared = time.perf_counter() - self._begin

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before = self.seconds
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.steps.setdefault(trainer.current_epoch, []).append(self.seconds - before)


def measure(
    method: Method,
    data: FaceDataModule,
    passes: Sequence[tuple[Pass, int]],
    steps: int = 2,
    trainer_settings: Mapping[str, Any] | None = None,
) -> Timing:
    """Measure a few training steps of each pass, on a network with random weights, and return the time of the run.

    One more step of each pass comes first and does not count: memory is allocated in it. The method is used up.
    """
    method.restored = True  # The weights do not matter.
    method.cohort_files = dict.fromkeys(method.cohort_sets(data), "")
    method.passes_in = lambda epoch: [passes[epoch][0]]  # type: ignore[method-assign]  # An epoch for each pass.
    times = _StepTimes()
    with quiet_loggers(TRAINER_LOG):
        trainer = make_trainer(
            max_epochs=len(passes),
            limit_train_batches=steps + 1,
            callbacks=[times],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            devices=1,
            use_distributed_sampler=False,
            **(trainer_settings or {}),
        )
        trainer.fit(method, datamodule=data)
    counted = [seconds[1:] or seconds for seconds in times.steps.values()]
    iterations = [planned for _, planned in passes]
    seconds = times.prepared + sum(planned * fmean(steps) for planned, steps in zip(iterations, counted, strict=True))
    return Timing(method.name, sum(iterations), seconds, f"measured over {sum(map(len, counted))} steps")


def seconds_per_audit(method: Method, data: FaceDataModule, device: torch.device) -> float:
    """Return the time of one audit's forward passes, from one batch, in seconds.

    The network of the method is built, and the data are set up.
    """
    images = sum(len(data.rows(name)) for name in data.evaluation_sets)
    rows = data.rows(data.evaluation_sets[0])[: data.eval_batch_size]
    pixels = torch.from_numpy(data.pixels[rows]).permute(0, 3, 1, 2).to(device) / 255
    model = method.model.eval().to(device)
    with torch.no_grad():
        in_chunks(model, pixels[:1], pixels=CHUNK_PIXELS)
        start = time.perf_counter()
        in_chunks(model, pixels, pixels=CHUNK_PIXELS).cpu()
    return (time.perf_counter() - start) * images / len(pixels)
