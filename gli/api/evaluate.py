"""What the functions of the API share: the user's sets as a data module, and the audit of a network."""

from __future__ import annotations

import signal
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader

from gli.api.arguments import check_module, check_outputs, in_python
from gli.api.result import ModelAudit
from gli.auditing.conclusion import missing_normalisation
from gli.auditing.record import People, Record, margins_by_view, read_people, read_record, with_views
from gli.auditing.reference_audit import People as AttackedPeople
from gli.auditing.reference_audit import audit
from gli.auditing.views import sets_in_views
from gli.callbacks import ForgettingAudit
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.given import Collected, GivenFaces, Source, collect, nobody_like, task_of
from gli.data.recipe import Recipe
from gli.data.tasks import Task, check_labels
from gli.engine.build import make_trainer
from gli.errors import SettingError
from gli.methods import Original
from gli.models.network import Network, outputs_of
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
        hint = "" if original is None else missing_normalisation(float(original.values["forget"]["accuracy"].mean()))
        return ModelAudit(**vars(result), scores=self.scores, record=self.record, people=self.people, hint=hint)


@contextmanager
def quietly() -> Iterator[None]:
    """Leave random numbers, warning filters and Lightning's log levels as they were, and hide its advertisements.

    Raises:
        KeyboardInterrupt: After Ctrl-C, where Lightning ends the process and ignores the next one.
        SettingError: In the words of Python, where the block raises it in those of the command.
    """
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings(), isolate_rng(), quiet_loggers("lightning.pytorch", "lightning.fabric"):
        silence_lightning()
        try:
            yield
        except SystemExit as error:
            if type(error) is not SystemExit:  # SIGTERM is a subclass.
                raise
            raise KeyboardInterrupt from error
        except SettingError as error:
            raise SettingError(in_python(str(error))) from error
        finally:
            if signal.getsignal(signal.SIGINT) != handler:
                signal.signal(signal.SIGINT, handler)


def given_faces(
    network: Network,
    sets: Mapping[str, Source],
    classes: Sequence[str] | Task | None,
    batch_size: int | None = None,
    eval_batch_size: int = 256,
    augmentation: Augmentation = NO_AUGMENTATION,
    recipe: Recipe = Recipe(),
    reference_share: float | None = None,
) -> GivenFaces:
    """Return the user's sets as a data module.

    Args:
        network: The network, for the number of its outputs.
        sets: ``retain`` (which an audit does not need), ``forget``, ``test`` and ``unseen``.
        classes: Names of the classes or labels, or the task.
        batch_size: Images per batch; None for that of the loader of retain, or 64.
        eval_batch_size: Images per evaluation batch.
        augmentation: Augmentation of training batches.
        recipe: Recipe of methods that train from scratch.
        reference_share: Share of the test people who are set aside; None for none.
    """
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
    AttackedPeople({name: part.identities for name, part in collected.items()})  # Refuses those who cannot be compared.
    outputs = outputs_of(network, collected["forget"].images[0])
    task = task_of(collected["forget"].labels, outputs, classes)
    for name, part in collected.items():
        if type(task_of(part.labels, outputs, classes)) is not type(task):
            raise SettingError(
                f"The labels of forget and {name} differ in form: class numbers, and vectors of 0 and 1."
            )
    _check_labels(collected, task, declared=isinstance(classes, Task))
    collected.setdefault("retain", nobody_like(collected["forget"]))  # An audit needs nobody to retain.
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


def _check_labels(sets: Mapping[str, Collected], task: Task, *, declared: bool) -> None:
    """Refuse labels that mean something else than the task, and warn where that is likely."""
    trained = [part for name, part in sets.items() if name in ("retain", "forget")]
    identities = np.concatenate([part.identities for part in trained])
    names = ", ".join(map(repr, task.names))
    numbers = (
        "give class numbers, label.argmax(); or, if each output is a yes/no question of its own, "
        f"classes=gli.data.MultiLabel([{names}])."
    )
    check_labels(task, np.concatenate([part.labels for part in trained]), identities, "" if declared else numbers)
    labels = np.concatenate([part.labels for part in sets.values()])
    if labels.ndim == 2:
        if task.num_outputs == 2 and not declared and (labels.sum(axis=1) == 1).all():
            warnings.warn(
                f"Each image has exactly one of two labels. If the model has a softmax, {numbers}", stacklevel=5
            )
    elif 2 * (used := len(np.unique(labels))) < task.num_outputs:
        warnings.warn(
            f"{used} of the model's {task.num_outputs} outputs occur as labels. Is it an embedding network without its "
            "head, or trained for other classes? gli needs the logits of a classifier.",
            stacklevel=5,
        )


def evaluate(network: Network, data: GivenFaces, machine: Mapping[str, Any], name: str = "model") -> Evaluated:
    """Audit a network once, as ``gli validate`` does.

    Args:
        network: The network.
        data: The sets.
        machine: Settings of the trainer: accelerator, precision.
        name: Name of the argument with the network, for messages.

    Raises:
        SettingError: If it is no network for these data.
    """
    check_module(network.module, name)
    check_outputs(network, name, data)
    method = Original()
    method.network = replace(network, blocks=None)  # Those of the model, which a reference may not have.
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


@torch.no_grad()
def accuracy_on(name: str, model: nn.Module, data: GivenFaces) -> float:
    """Return the accuracy of a model in eval mode on a set of the data."""
    device = next(model.parameters()).device
    batches = (batch._replace(images=batch.images.to(device) / 255) for batch in data.batches_of(name))
    hits = [data.task.accuracies(model(batch.images), batch.labels.to(device))["accuracy"] for batch in batches]
    return float(torch.cat(hits).mean())


def evaluate_references(
    reference: References, network: Network, data: GivenFaces, machine: Mapping[str, Any]
) -> list[Evaluated]:
    """Audit the reference models, whose outputs are those of a network, once each."""
    if isinstance(reference, str | Mapping):
        check_module(reference, "reference")
    modules = [reference] if isinstance(reference, nn.Module) else reference or ()
    return [evaluate(replace(network, module=each), data, machine, "reference") for each in modules]
