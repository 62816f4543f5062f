"""Time an audit of MUFAC's size: against the passes of the released protocol, and with and without freed memory kept.

    python -m benchmarks.audits 64

prints the seconds of one audit of images of side 64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.faces import MUFAC, jpeg_faces, jpeg_folder
from benchmarks.fit_timing import save_random_weights, silence
from benchmarks.timing import Measurement, image_size, relative_cost, speedup, time_in_turn
from gli.callbacks import ForgettingAudit
from gli.data import FaceTable
from gli.methods import NegGrad
from gli.metrics import jensen_shannon_distance, membership_inference_accuracy
from gli.models.backbones import build_classifier
from gli.models.checkpoints import load_weights


class FileDataset(Dataset[tuple[torch.Tensor, int]]):
    """Images decoded from their files at every access.

    Args:
        folder: The folder of :func:`~benchmarks.faces.jpeg_folder`.
        split: Name of the set.
        size: Side of the images in pixels.
    """

    def __init__(self, folder: Path, split: str, size: int) -> None:
        rows = [line.split(",") for line in (folder / "faces.csv").read_text().split()[1:]]
        self.files = [(folder / file, int(age)) for file, _, age, row_split in rows if row_split == split]
        self.transform = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return an image in [0, 1], shape ``(3, size, size)``, and its label."""
        path, label = self.files[index]
        with Image.open(path) as file:
            return self.transform(file.convert("RGB")), label


def make_audit(data: FaceTable, weights: Path) -> tuple[Callable[[], None], ForgettingAudit]:
    """Return a function that audits a ResNet-18, and the callback that holds the scores.

    Args:
        data: The data module.
        weights: File of the backbone's weights.
    """
    callback = ForgettingAudit(keep_losses=False)
    with silence():
        trainer = L.Trainer(accelerator="cpu", logger=False, callbacks=[callback], enable_checkpointing=False)
    method = NegGrad(original=str(weights))

    def audit() -> None:
        with silence():
            trainer.validate(method, data, verbose=False)

    return audit, callback


def _statistics(forget: Sequence[float], unseen: Sequence[float]) -> dict[str, float]:
    """Return the two statistics of an audit, by name, from the losses of forget and unseen."""
    return {
        "mia_accuracy": membership_inference_accuracy(forget, unseen),
        "jsd": jensen_shannon_distance(forget, unseen),
    }


def audit(size: int, rounds: int = 3) -> list[Measurement]:
    """Time an audit of ResNet-18 on 4,543 images against the released protocol, and its statistics against the audit.

    Args:
        size: Side of the images in pixels.
        rounds: Number of timed calls.

    Raises:
        AssertionError: If the scores differ from those of the released protocol.
    """
    folder = jpeg_folder()
    weights = save_random_weights(folder)
    model = build_classifier("resnet18", 8).to(memory_format=torch.contiguous_format).eval()
    load_weights(model, weights, "resnet18")
    loaders = {name: DataLoader(FileDataset(folder, name, size), batch_size=64) for name in MUFAC}
    scores: dict[str, float] = {}

    @torch.no_grad()
    def evaluate(name: str) -> list[float]:
        correct, losses = 0.0, []
        for images, labels in loaders[name]:
            logits = model(images)
            correct += float((logits.argmax(dim=1) == labels).sum())
            losses += functional.cross_entropy(logits, labels, reduction="none").tolist()
        scores[f"{name}_accuracy"] = correct / len(losses)
        return losses

    def released_protocol() -> None:
        for name in MUFAC:
            evaluate(name)
        # The two statistics evaluate forget and unseen again, each with separate passes.
        scores["mia_accuracy"] = membership_inference_accuracy(evaluate("forget"), evaluate("unseen"))
        scores["jsd"] = jensen_shannon_distance(evaluate("forget"), evaluate("unseen"))

    gli_audit, callback = make_audit(jpeg_faces(size), weights)
    times = time_in_turn({"baseline": released_protocol, "gli": gli_audit}, rounds)
    for name in ("mia_accuracy", "jsd"):
        difference = abs(scores[name] - callback.rows[-1][name])
        assert difference < 2e-3, f"{name} differs by {difference:g} from the released protocol"

    forget, unseen = list(callback.losses["forget"]), list(callback.losses["unseen"])
    statistics_times = time_in_turn({"statistics": lambda: _statistics(forget, unseen)}, rounds)["statistics"]
    work = f"audit of {sum(MUFAC.values()):,} images, {image_size(size)}"
    return [
        speedup(work, "the released protocol's six passes, from files", times["baseline"], times["gli"], 4),
        relative_cost(
            f"statistics of the audit (regression, densities), {image_size(size)}",
            "the whole audit",
            times["gli"],
            statistics_times,
            0.05,
        ),
    ]
