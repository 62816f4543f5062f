"""Iterations of ``gli fit``, each followed by the same iteration in a bare loop: what the framework adds to it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks.plain import Plain, Step
from gli.commands.fit import run
from gli.commands.main import silence_lightning
from gli.data.loading import Batch
from gli.methods import Method
from gli.models.backbones import build_classifier
from gli.system.console import console

#: Iterations that are not counted: in the first, memory is taken for good; the second follows an audit of the original.
WARM_UP = 2
Make = Callable[[Any], tuple[Plain, Step]]


class Beside(L.Callback):
    """After each iteration of a run does it again in bare loops, and times both.

    Attributes:
        makes: What to run beside the next run, by name.
        times: Seconds of each iteration that was counted: of the run's own (``gli``) and of the others.
        apart: Largest difference between a parameter of the run's model and of another at the end, by name.
    """

    makes: Mapping[str, Make] = {}

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {"gli": [], **{name: [] for name in self.makes}}
        self.apart: dict[str, float] = {}
        self._others: dict[str, tuple[Plain, Step]] = {}
        self._since: float | None = None
        self._pixels = torch.empty(0)
        self._places = torch.empty(0)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """An audit came in between: this interval does not count."""
        self._since = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with the model as it is after the warm-up; copies of it are the others' models."""
        if not self._others and trainer.fit_loop.epoch_loop.total_batch_idx + 1 == WARM_UP:
            cache = trainer.datamodule.pixels  # type: ignore[attr-defined]
            self._pixels, self._places = torch.from_numpy(cache.pixels[:]), torch.from_numpy(cache.slots)
            self._others = {name: make(pl_module) for name, make in self.makes.items()}
            self._since = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the time since the last call as the framework's iteration, then time the bare loops."""
        ours = None if self._since is None else time.perf_counter() - self._since
        if ours is not None:
            self.times["gli"].append(ours)
        assert isinstance(pl_module, Method)
        pl_module.iteration -= 1  # The other loops repeat the iteration that has just ended, noise included.
        for name, (_, step) in self._others.items():
            start = time.perf_counter()
            step(*(self._load(batch.get(part)) for part in ("retain", "forget")))
            if ours is not None:
                self.times[name].append(time.perf_counter() - start)
        pl_module.iteration += 1
        if self._others:
            self._since = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """How far apart the models have come."""
        for name, (plain, _) in self._others.items():
            pairs = zip(plain.model.parameters(), pl_module.model.parameters(), strict=True)
            self.apart[name] = max(float((one - other).detach().abs().max()) for one, other in pairs)

    def _load(self, batch: Batch | None) -> Batch | None:
        """The same batch from its rows, as a bare loop would load it."""
        if batch is None:
            return None
        images = self._pixels[self._places[batch.index]].permute(0, 3, 1, 2) / 255
        return batch._replace(images=images)


@contextmanager
def silence() -> Iterator[None]:
    """Runs say nothing: their bars and tables go nowhere."""
    silence_lightning()
    console.quiet = True
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        console.quiet = False


def some_weights(folder: Path, backbone: str = "resnet18") -> Path:
    """Weights of a network that was never trained, in a file."""
    torch.manual_seed(0)
    torch.save(build_classifier(backbone, 8).backbone.state_dict(), folder / "original.pt")
    return folder / "original.pt"


def beside(
    method: str,
    makes: Mapping[str, Make],
    size: int,
    iterations: int,
    settings: Sequence[str] = (),
    *,
    backbone: str = "resnet18",
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run ``gli fit`` on drawn faces, ResNet-18, batches of 64, and other loops beside it.

    Args:
        method: Name of the method.
        makes: What to run beside it.
        size: Side of the images in pixels.
        iterations: Iterations that count.
        settings: Further settings of the command line.
        backbone: The network.

    Returns:
        Seconds of each iteration, of ``gli`` and of the others, and how far apart their parameters are at the end.

    Raises:
        AssertionError: If another loop did not arrive at the same parameters: then it is not the same iteration.
    """
    Beside.makes = makes
    with tempfile.TemporaryDirectory() as folder:
        original = some_weights(Path(folder), backbone)
        with silence():
            command = run(
                [
                    *("fit", "--data=SyntheticFaces", f"--data.image_size={size}", "--data.batch_size=64"),
                    *("--data.cache_dir=data/cache", f"--model={method}", f"--model.backbone={backbone}"),
                    *([] if method in ("Original", "Retrained") else [f"--model.original={original}"]),
                    *(f"--trainer.default_root_dir={folder}", "--trainer.accelerator=cpu", "--trainer.max_epochs=-1"),
                    *(f"--trainer.max_steps={iterations + WARM_UP + 2}", "--trainer.val_check_interval=100000"),
                    *("--trainer.callbacks+=benchmarks.beside.Beside", "--audit.keep_losses=false", *settings),
                ]
            )
    found: Any = next(one for one in command.trainer.callbacks if isinstance(one, Beside))  # type: ignore[attr-defined]
    for name, difference in found.apart.items():
        assert difference < 1e-3, f"{method}: {name} is not the same iteration, its parameters are {difference:g} apart"
    return {name: times[:iterations] for name, times in found.times.items()}, found.apart
