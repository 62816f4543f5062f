"""What the functions of the API share: the user's sets as a data module, and the audit of a network."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader

from gli.audit.record import Audit, People, read_people, read_record
from gli.callbacks import ForgettingAudit
from gli.commands.main import silence_lightning
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.given import GivenFaces, Source, collect, nobody_like, outputs_of, task_of
from gli.data.recipe import Recipe
from gli.errors import SettingError
from gli.methods import Original
from gli.models.network import Network
from gli.runs.log import MetricsLog
from gli.system.console import quiet_loggers
from gli.training.run import trainer_settings

#: Reference models: one, several, or none.
References = nn.Module | Sequence[nn.Module] | None


@dataclass(frozen=True)
class Evaluated:
    """Per-image values and scores of a network."""

    record: Audit
    people: People
    scores: Mapping[str, float]


@contextmanager
def quietly() -> Iterator[None]:
    """Leave random numbers, warning filters and Lightning's log levels as they were, and hide its advertisements."""
    with warnings.catch_warnings(), isolate_rng(), quiet_loggers("lightning.pytorch", "lightning.fabric"):
        silence_lightning()
        yield


def given_faces(
    model: nn.Module,
    sets: Mapping[str, Source],
    classes: Sequence[str] | None,
    batch_size: int | None = None,
    eval_batch_size: int = 256,
    augmentation: Augmentation = NO_AUGMENTATION,
    recipe: Recipe = Recipe(),
    reference_share: float | None = None,
) -> GivenFaces:
    """Return the user's sets as a data module.

    Args:
        model: The network, for the number of its outputs.
        sets: ``retain`` (which an audit does not need), ``forget``, ``test`` and ``unseen``.
        classes: Names of the classes or labels.
        batch_size: Images per batch; None for that of the loader of retain, or 64.
        eval_batch_size: Images per evaluation batch.
        augmentation: Augmentation of training batches.
        recipe: Recipe of methods that train from scratch.
        reference_share: Share of the test people who are set aside; None for none.
    """
    if not isinstance(model, nn.Module):
        raise SettingError(f"model is a {type(model).__name__}; give a torch.nn.Module, or the path to gli.load.")
    collected = {name: collect(source, name) for name, source in sets.items()}
    collected.setdefault("retain", nobody_like(collected["forget"]))  # An audit needs nobody to retain.
    labels = collected["forget"].labels
    outputs = outputs_of(model, collected["forget"].images[0])
    task = task_of(labels, outputs, classes)
    for part in collected.values():
        task_of(part.labels, outputs, classes)
    if batch_size is None:
        retain = sets.get("retain")
        batch_size = (retain.batch_size if isinstance(retain, DataLoader) else None) or 64
    return GivenFaces(
        collected,
        task,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        augmentation=augmentation,
        recipe=recipe,
        reference_share=reference_share,
    )


def evaluate(module: nn.Module, data: GivenFaces, machine: Mapping[str, Any]) -> Evaluated:
    """Audit a network once, as ``gli validate`` does.

    Args:
        module: The network.
        data: The sets.
        machine: Settings of the trainer: accelerator, precision.
    """
    method = Original()
    method.network = Network(module)
    audit = ForgettingAudit()
    with tempfile.TemporaryDirectory() as folder:
        given = {"precision": "32-true", "callbacks": [audit], "enable_progress_bar": False, **machine}
        given |= trainer_settings(given, method, data.recipe)
        trainer = L.Trainer(logger=[MetricsLog(Path(folder), "audit", 0)], devices=1, **finished(given))
        trainer.validate(method, datamodule=data, verbose=False)
        record, people = read_record(Path(str(trainer.log_dir)), 0), read_people(Path(str(trainer.log_dir)))
    assert record is not None
    scores = {name: value for name, value in audit.rows[-1].items() if name != "iteration"}
    return Evaluated(record, people, scores)


def finished(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the trainer without those that nobody chose."""
    return {name: value for name, value in given.items() if value is not None or name == "check_val_every_n_epoch"}


def references_of(reference: References) -> list[nn.Module]:
    """Return the reference models as a list."""
    if reference is None:
        return []
    return [reference] if isinstance(reference, nn.Module) else list(reference)
