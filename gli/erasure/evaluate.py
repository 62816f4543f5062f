"""Outputs of a classifier on some photographs: margins and hits per image, in memory only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gli.auditing.few_references import log_p
from gli.data.table import YES
from gli.data.tasks import MultiClass, MultiLabel, Task
from gli.erasure.store import Photo, Settings
from gli.errors import DataError
from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_weights

Array = npt.NDArray[np.float64]
#: Images evaluated at once.
BATCH = 64


@dataclass(frozen=True)
class Outputs:
    """What a classifier makes of some photographs.

    Attributes:
        margins: log p - log(1 - p) of the true label, shape ``(images, labels)``; one label in a multi-class task.
        hits: Whether each label is right, 0 or 1, shape ``(images, labels)``.
        people: Number of the person on each image, shape ``(images,)``.
        labels: Class number of each image, shape ``(images,)``; 0 in a multi-label task.
    """

    margins: Array
    hits: Array
    people: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    @property
    def log_p(self) -> Array:
        """Log p(label | image), summed over labels, shape ``(images,)``."""
        return log_p(self.margins)


def task_of(settings: Settings) -> Task:
    """Return the task: multi-class with one label column, multi-label with several."""
    return MultiClass(tuple(settings.classes)) if settings.classes else MultiLabel(tuple(settings.labels))


def labels_of(photos: Sequence[Photo], settings: Settings) -> npt.NDArray[np.int64]:
    """Return class numbers, shape ``(images,)``, or 0 and 1, shape ``(images, labels)``.

    Raises:
        DataError: If a photograph has a class that the classifier does not have.
    """
    if not settings.classes:
        return np.array([[value.lower() in YES for value in photo.labels] for photo in photos], dtype=np.int64)
    for photo in photos:
        if photo.labels[0] not in settings.classes:
            raise DataError(f"line {photo.line}: {photo.labels[0]!r} is not a class of {', '.join(settings.classes)}.")
    return np.array([settings.classes.index(photo.labels[0]) for photo in photos], dtype=np.int64)


def load_model(weights: Path, settings: Settings) -> Classifier:
    """Return the classifier of a file.

    Raises:
        CheckpointError: If it cannot be read, or is of another network.
        DataError: If a weight is not a finite number.
    """
    model = build_classifier(settings.backbone, task_of(settings).num_outputs, normalize=settings.normalize)
    load_weights(model, weights, settings.backbone)
    if not all(bool(each.isfinite().all()) for each in model.state_dict().values()):
        raise DataError(f"{weights}: holds weights that are not finite numbers. Name the file of a model that works.")
    return model


@torch.no_grad()
def evaluate(weights: Path, photos: Sequence[Photo], pixels: npt.NDArray[np.uint8], settings: Settings) -> Outputs:
    """Return the outputs of a classifier.

    Args:
        weights: A checkpoint of gli or a plain state dict.
        photos: The photographs.
        pixels: Their pixels, of :func:`pixels_of`.
        settings: Settings of the store.
    """
    task, model = task_of(settings), load_model(weights, settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    labels = labels_of(photos, settings)
    margins, hits = [], []
    for start in range(0, len(photos), BATCH):
        images = torch.from_numpy(pixels[start : start + BATCH]).to(device).permute(0, 3, 1, 2) / 255
        truth = torch.from_numpy(labels[start : start + BATCH]).to(device)
        logits = model(images)
        margins.append(torch.stack(list(task.margins(logits, truth).values()), dim=1).cpu().numpy())
        accuracies = task.accuracies(logits, truth)
        columns = ["accuracy"] if settings.classes else [f"accuracy_{name}" for name in settings.labels]
        hits.append(torch.stack([accuracies[name] for name in columns], dim=1).cpu().double().numpy())
    people = np.unique([photo.identity for photo in photos], return_inverse=True)[1]
    classes = labels if settings.classes else np.zeros(len(photos), dtype=np.int64)
    return Outputs(np.concatenate(margins), np.concatenate(hits), people.astype(np.int64), classes)
