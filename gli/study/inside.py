"""Load the models of runs: their answers to other views of the photographs, and what their weights give away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gli.auditing.inside import Inside, Subjects, audit_inside
from gli.auditing.record import read_rows
from gli.auditing.reference_audit import Views
from gli.auditing.run_audit import Weights
from gli.auditing.views import sets_in_views
from gli.data import FaceDataModule
from gli.data.faces import Rows
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


def audit_weights(references: Mapping[Path, Sequence[Path]], answers_only: bool = False) -> dict[Path, Weights]:
    """Audit the weights of runs.

    Args:
        references: For each run its reference runs; runs with the same references are on the same data.
        answers_only: Only show the models the photographs in other views, and do not look into them.

    Returns:
        What was measured, by run; runs whose checkpoint is lost, and their people, are left out with a message.
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
                rows, first = read_rows(runs[0]), load_classifier(own[0] / LAST)
                near = _original_of(runs[0], settings[runs[0]], data) or first
                subjects = Subjects(data, device, near)
                measure = partial(_measure, subjects, data, rows, answers_only)
                others = []
                for reference in own:
                    others.append(measure(load_classifier(reference / LAST)))
                    tick(1)
                shown, looked = [views for views, _ in others], [inside for _, inside in others if inside is not None]
                for run in runs:
                    with _left_out([run]):
                        views, inside = measure(load_classifier(run / LAST))
                        original = _original_of(run, settings[run], data)
                        before = ({}, None) if original is None else measure(original)
                        found = None if inside is None else audit_inside(subjects, inside, before[1], looked)
                        audits[run] = Weights(views, before[0], shown, found)
                    tick(2)
    return audits


def _measure(
    subjects: Subjects, data: FaceDataModule, rows: Mapping[str, Rows], answers_only: bool, model: Classifier
) -> tuple[Views, Inside | None]:
    """Return the margins of a model in other views, and what is measured inside it unless only answers are wanted."""
    views = sets_in_views(model.to(subjects.device).eval(), data, rows)
    return views, None if answers_only else subjects.measure(model)


@contextmanager
def _left_out(runs: Sequence[Path]) -> Iterator[None]:
    """Say that the weights of some runs are not audited if a file cannot be read; their other results are kept."""
    try:
        yield
    except (CheckpointError, DataError) as error:
        names = ", ".join(map(str, runs))
        console.print(f"The weights of {names} are not audited, and the upright view alone: {error}", soft_wrap=True)
