"""How long a method takes here: from a finished run of the same settings, or measured over a few steps."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from gli.callbacks import Stopwatch
from gli.data import FaceDataModule
from gli.data.loading import Batch, EpochPlan, FaceDataset, Pass
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
    """How long the training steps of a run take, without audits.

    Attributes:
        method: Class name of the method.
        iterations: Iterations of the run.
        seconds: Time of all of them, preparation included.
        source: Where the time comes from, as text.
    """

    method: str
    iterations: int
    seconds: float
    source: str


def planned_passes(method: Method, data: FaceDataModule, epochs: int | None, steps: int = -1) -> list[tuple[Pass, int]]:
    """Return the different passes of a run with the number of batches of each, in the order of their first use.

    Args:
        method: The method.
        data: The data module, set up.
        epochs: Epochs of the run; None where only ``steps`` ends it.
        steps: Most iterations of the run; -1 for no limit.
    """
    assert epochs is not None or steps >= 0, "a run needs a limit"
    passes: list[tuple[Pass, int]] = []
    left = float("inf") if steps < 0 else steps
    for epoch in count() if epochs is None else range(epochs):
        if not left:
            break
        for pass_ in method.passes_in(epoch):
            batches = int(min(left, len(_plan(data, pass_))))
            left -= batches
            place = next((place for place, (known, _) in enumerate(passes) if known == pass_), None)
            if place is None:
                passes.append((pass_, batches))
            else:
                passes[place] = (pass_, passes[place][1] + batches)
    return [(pass_, batches) for pass_, batches in passes if batches]


def _plan(data: FaceDataModule, pass_: Pass) -> EpochPlan:
    sets = {name: data.rows(name) for name in pass_.names}
    return EpochPlan(sets, [pass_], data.batch_size, augmentation=data.augmentation)


def finished_run(
    name: str, data: FaceDataModule, settings: Mapping[str, Any], iterations: int, logs: Path, device: str
) -> Timing | None:
    """Return the time of the newest finished run of a method with the same data settings, backbone and length.

    Args:
        name: Class name of the method.
        data: The data module.
        settings: ``data.<name>`` and ``model.backbone`` as the folder of the run would have them.
        iterations: Iterations of the run that is asked for.
        logs: Folder of all runs.
        device: Name of the device here, as in ``cost.json``.
    """
    runs = (logs / f"{snake_case(name)}_{data.label}").glob("version_*")
    for folder in sorted(runs, key=lambda folder: folder.stat().st_mtime, reverse=True):
        cost = read_cost(folder)
        try:
            run = read_run(folder)
        except DataError:
            continue
        known = {key: value for key, value in run.settings.items() if key in settings or key.startswith("data.")}
        reached = run.rows[-1]["iteration"]
        alike = known == settings and cost.get("device") == device
        if alike and "training_seconds" in cost and COMPLETE * iterations <= reached <= iterations:
            return Timing(name, iterations, float(cost["training_seconds"]), f"finished run {folder}")
    return None


class _StepTimes(Stopwatch):
    """Keep the time of each step, and that of the preparation."""

    def __init__(self) -> None:
        super().__init__()
        self.total: list[float] = []
        self.prepared = 0.0
        self._begin = time.perf_counter()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.prepared = time.perf_counter() - self._begin

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.total.append(self.seconds)


class _Loader:
    """Iterate over batches. A list would be taken for several loaders."""

    def __init__(self, batches: Sequence[dict[str, Batch]]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        return iter(self._batches)


class _FewBatches(L.LightningDataModule):
    """A data module with the training batches given; for everything else it is another one."""

    def __init__(self, data: FaceDataModule, batches: Sequence[dict[str, Batch]]) -> None:
        super().__init__()
        self._data, self._batches = data, batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_data"], name)

    def train_dataloader(self) -> _Loader:
        return _Loader(self._batches)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self._data.on_after_batch_transfer(batch, dataloader_idx)


def measure(
    method: Method,
    data: FaceDataModule,
    passes: Sequence[tuple[Pass, int]],
    steps: int = 2,
    trainer_settings: Mapping[str, Any] | None = None,
) -> Timing:
    """Measure a few training steps of each pass, on a network with random weights, and return the time of the run.

    One more step of each pass comes first and does not count: memory is allocated in it. The method is used up.

    Args:
        method: The method, new.
        data: The data module, set up.
        passes: What :func:`planned_passes` returns.
        steps: Steps of each pass that count, at least 1.
        trainer_settings: Accelerator and precision.
    """
    method.restored = True  # The weights do not matter.
    dataset = FaceDataset(data.pixels, data.faces.labels)
    batches: list[Any] = []
    lengths = []
    for pass_, _ in passes:
        loaded = [dataset[selection] for selection in islice(_plan(data, pass_), steps + 1)]
        batches += loaded
        lengths.append(len(loaded))
    times = _StepTimes()
    with quiet_loggers(TRAINER_LOG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
        trainer = make_trainer(
            max_epochs=1,
            callbacks=[times],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            devices=1,
            use_distributed_sampler=False,
            **(trainer_settings or {}),
        )
        trainer.fit(method, datamodule=_FewBatches(data, batches))
    each = np.diff([0.0, *times.total])
    seconds, first = times.prepared, 0
    for (_, planned), length in zip(passes, lengths, strict=True):
        own = each[first : first + length]
        seconds += planned * float((own[1:] if length > 1 else own).mean())
        first += length
    counted_steps = sum(max(1, length - 1) for length in lengths)
    iterations = sum(planned for _, planned in passes)
    return Timing(method.name, iterations, seconds, f"measured over {counted_steps} steps")


def seconds_per_audit(method: Method, data: FaceDataModule, device: torch.device) -> float:
    """Return the time of one audit's forward passes, from one batch, in seconds.

    Args:
        method: A method whose network is built.
        data: The data module, set up.
        device: Device of the run.
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
