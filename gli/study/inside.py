"""Load the models of runs, and audit what their weights give away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gli.auditing.inside import InsideAudit, Subjects, audit_inside
from gli.data import FaceDataModule
from gli.engine.build import build_data
from gli.engine.originals import original_path
from gli.errors import CheckpointError, DataError
from gli.methods.from_scratch import Original
from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_classifier, load_weights
from gli.runs.folder import ORIGINALS
from gli.runs.read import SETTINGS
from gli.study.references import SHARED
from gli.system.console import console, progress
from gli.system.files import read_yaml

LAST = Path("checkpoints/last.ckpt")


def _original_of(run: Path, settings: Mapping[str, Any], data: FaceDataModule) -> Classifier | None:
    """Return the original of a run, or None where its file is no longer there."""
    model = settings["model"]["init_args"]
    network = {name: model[name] for name in SHARED if name in model}
    method = Original(**network)
    if given := model.get("original"):
        path = Path(given)
    else:
        folder = Path(settings.get("originals") or run.parent.parent / ORIGINALS)
        precision = str((settings.get("trainer") or {}).get("precision") or "32-true")
        path = original_path(folder, data, method, data.recipe, settings["seed_everything"], precision=precision)
    if not path.is_file():
        console.print(f"{path}: the original of {run} is not there, so its column is empty.", soft_wrap=True)
        return None
    classifier = build_classifier(method.backbone, data.task.num_outputs, normalize=method.normalize)
    load_weights(classifier, path, method.backbone)
    return classifier


def audit_weights(references: Mapping[Path, Sequence[Path]]) -> dict[Path, InsideAudit]:
    """Audit the weights of runs.

    Args:
        references: For each run its reference runs; runs with the same references are on the same data.

    Returns:
        The audits by run; runs whose checkpoint is lost, and their people, are left out with a message.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    groups: dict[tuple[Path, ...], list[Path]] = {}
    for run, own in references.items():
        groups.setdefault(tuple(own), []).append(run)
    audits = {}
    total = sum(len(own) + 2 * len(runs) for own, runs in groups.items())
    with progress("Looking into models", total) as tick:
        for own, runs in groups.items():
            with _left_out(runs):
                settings = {run: read_yaml(run / SETTINGS, "the settings of a run") for run in runs}
                data = build_data(settings[runs[0]]["data"])
                subjects = Subjects(data, device)
                others = []
                for reference in own:
                    others.append(subjects.measure(load_classifier(reference / LAST)))
                    tick(1)
                for run in runs:
                    with _left_out([run]):
                        inside = subjects.measure(load_classifier(run / LAST))
                        original = _original_of(run, settings[run], data)
                        before = None if original is None else subjects.measure(original)
                        audits[run] = audit_inside(subjects, inside, before, others)
                    tick(2)
    return audits


@contextmanager
def _left_out(runs: Sequence[Path]) -> Iterator[None]:
    """Say that the weights of some runs are not audited if a file cannot be read; their other results are kept."""
    try:
        yield
    except (CheckpointError, DataError) as error:
        console.print(f"The weights of {', '.join(map(str, runs))} are not audited: {error}", soft_wrap=True)
