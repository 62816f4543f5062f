"""What the functions of the API share: the user's sets as a data module, and the audit of a network."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader

from gli.api.arguments import check_module, check_outputs
from gli.api.result import ModelAudit
from gli.auditing.record import People, Record, margins_by_view, read_people, read_record, with_views
from gli.auditing.reference_audit import audit
from gli.auditing.views import sets_in_views
from gli.callbacks import ForgettingAudit
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.given import GivenFaces, Source, collect, nobody_like, outputs_of, task_of
from gli.data.recipe import Recipe
from gli.engine.build import make_trainer
from gli.errors import SettingError
from gli.methods import Original
from gli.models.network import Network
from gli.runs.log import MetricsLog
from gli.system.console import quiet_loggers, silence_lightning

#: Reference models: one, several, or none.
References = nn.Module | Sequence[nn.Module] | None


@dataclass(frozen=True)
class Evaluated:
    """Per-image values and scores of a network."""

    record: Record
    people: People
    scores: Mapping[str, float]

    def audited(self, original: Record | None, references: Sequence[Record], margin: float) -> ModelAudit:
        """Audit the network against its original and reference models, by their per-image values."""
        before = None if original is None else margins_by_view(original)
        model, out = margins_by_view(self.record), [margins_by_view(record) for record in references]
        result = audit(self.people, model, before, out, margin)
        return ModelAudit(**vars(result), scores=self.scores, record=self.record, people=self.people)


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
    check_module(model, "model")
    for name, value, kind in (("augmentation", augmentation, Augmentation), ("recipe", recipe, Recipe)):
        if not isinstance(value, kind):
            raise SettingError(
                f"{name} is a {type(value).__name__}; give a {kind.__module__}.{kind.__qualname__}(...)."
            )
    collected = {name: collect(source, name) for name, source in sets.items()}
    if unnamed := [name for name, part in collected.items() if not part.named]:
        warnings.warn(
            f"{', '.join(unnamed)}: images without identities. Each counts as a person of its own, so that intervals "
            "are too narrow where people have several images. Give (image, label, identity).",
            stacklevel=4,
        )
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


def evaluate(module: nn.Module, data: GivenFaces, machine: Mapping[str, Any], name: str = "model") -> Evaluated:
    """Audit a network once, as ``gli validate`` does.

    Args:
        module: The network.
        data: The sets.
        machine: Settings of the trainer: accelerator, precision.
        name: Name of the argument with the network, for messages.

    Raises:
        SettingError: If it is no network for these data.
    """
    check_module(module, name)
    check_outputs(module, name, data)
    method = Original()
    method.network = Network(module)
    callback = ForgettingAudit()
    with tempfile.TemporaryDirectory() as folder:
        given = {"precision": "32-true", "devices": 1, "enable_progress_bar": False, **machine, "callbacks": [callback]}
        log = MetricsLog(Path(folder), "audit", 0)
        trainer = make_trainer(method=method, recipe=data.recipe, run_loggers=lambda: [log], **given)
        trainer.validate(method, datamodule=data, verbose=False)
        record, people = read_record(Path(str(trainer.log_dir)), 0), read_people(Path(str(trainer.log_dir)))
    assert record is not None
    record = in_views(record, method.model, data)
    scores = {name: value for name, value in callback.rows[-1].items() if name != "iteration"}
    return Evaluated(record, people, scores)


def in_views(record: Record, model: nn.Module, data: GivenFaces) -> Record:
    """Return the record of a network with its margins in all views of the photographs."""
    rows = {name: np.sort(data.rows(name)) for name in record.values}
    return with_views(record, sets_in_views(model.eval(), data, rows))


def references_of(reference: References) -> list[nn.Module]:
    """Return the reference models as a list."""
    if reference is None:
        return []
    if isinstance(reference, str | Mapping):
        check_module(reference, "reference")
    return [reference] if isinstance(reference, nn.Module) else list(reference)
