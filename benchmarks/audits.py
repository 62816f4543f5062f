"""One audit of MUFAC's size against the passes of the released protocol, and what its statistics cost.

    python -m benchmarks.audits 64

prints the seconds that an audit takes, in a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.beside import silence, some_weights
from benchmarks.faces import MUFAC, files, table
from benchmarks.timing import Finding, dearer, faster, in_turn, printed
from gli.callbacks import ForgettingAudit
from gli.data import FaceTable
from gli.methods import NegGrad
from gli.metrics import jensen_shannon_distance, membership_inference_accuracy
from gli.models.backbones import build_classifier
from gli.models.checkpoints import load_weights
from gli.speed import SWITCH
from gli.speed.freed_memory import keep_freed_memory


class Files(Dataset):
    """Images that are decoded from their files at every access."""

    def __init__(self, folder: Path, split: str, size: int) -> None:
        rows = [line.split(",") for line in (folder / "faces.csv").read_text().split()[1:]]
        self.rows = [(folder / file, int(age)) for file, _, age, its_split in rows if its_split == split]
        self.transform = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        """Return an image in [0, 1], shape (3, size, size), and its label."""
        path, label = self.rows[row]
        with Image.open(path) as file:
            return self.transform(file.convert("RGB")), label


def auditing(data: FaceTable, weights: Path) -> tuple[Callable[[], None], ForgettingAudit]:
    """Return a function that audits a model, and the callback that keeps the scores."""
    gathered = ForgettingAudit(keep_losses=False)
    trainer = L.Trainer(accelerator="cpu", logger=False, callbacks=[gathered], enable_checkpointing=False)
    method = NegGrad(original=str(weights))

    def audit() -> None:
        with silence():
            trainer.validate(method, data, verbose=False)

    return audit, gathered


def scores_of(forget: Sequence[float], unseen: Sequence[float]) -> dict[str, float]:
    """Return the two statistics of an audit, by name."""
    return {
        "mia_accuracy": membership_inference_accuracy(forget, unseen),
        "jsd": jensen_shannon_distance(forget, unseen),
    }


def memory_kept(size: int, rounds: int = 3) -> Finding:
    """An audit whose freed memory is kept in the process against a plain one, each in a process of its own."""
    environments = {"plain": os.environ | {SWITCH: "1"}, "kept": os.environ}
    times: dict[str, list[float]] = {name: [] for name in environments}
    for _ in range(rounds):
        for name, environment in environments.items():
            times[name].append(printed([sys.executable, "-m", "benchmarks.audits", str(size)], environment))
    what = f"audit of {sum(MUFAC.values()):,} images, {size} x {size}, freed memory kept"
    return faster(what, f"{SWITCH}=1", times["plain"], times["kept"], 1)


def audit(size: int, rounds: int = 3) -> list[Finding]:
    """Test accuracy, MIA and JSD of ResNet-18 on 4,543 images."""
    folder = files()
    weights = some_weights(folder)
    model = build_classifier("resnet18", 8).to(memory_format=torch.contiguous_format).eval()
    load_weights(model, weights, "resnet18")
    loaders = {name: DataLoader(Files(folder, name, size), batch_size=64) for name in MUFAC}
    scores: dict[str, float] = {}

    @torch.no_grad()
    def evaluate(name: str) -> list[float]:
        hits, losses = 0.0, []
        for images, labels in loaders[name]:
            logits = model(images)
            hits += float((logits.argmax(dim=1) == labels).sum())
            losses += functional.cross_entropy(logits, labels, reduction="none").tolist()
        scores[f"{name}_accuracy"] = hits / len(losses)
        return losses

    def plain() -> None:
        for name in MUFAC:
            evaluate(name)
        # MIA and JSD each take their own passes.
        scores["mia_accuracy"] = membership_inference_accuracy(evaluate("forget"), evaluate("unseen"))
        scores["jsd"] = jensen_shannon_distance(evaluate("forget"), evaluate("unseen"))

    ours, gathered = auditing(table(size), weights)
    times = in_turn({"plain": plain, "ours": ours}, rounds)
    for name in ("mia_accuracy", "jsd"):
        differ = abs(scores[name] - gathered.rows[-1][name])
        assert differ < 2e-3, f"{name} differs by {differ:g}: that was not the same audit"

    def statistics() -> None:
        scores_of(list(gathered.losses["forget"]), list(gathered.losses["unseen"]))

    alone = in_turn({"statistics": statistics}, rounds)["statistics"]
    return [
        faster(
            f"audit of {sum(MUFAC.values()):,} images, {size} x {size}",
            "the released protocol's six passes, from files",
            times["plain"], times["ours"], 4,
        ),
        dearer(
            f"its statistics (regression, densities), {size} x {size}", "the whole audit", times["ours"], alone, 0.05
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    keep_freed_memory()
    call, _ = auditing(table(int(sys.argv[1])), some_weights(files()))
    print(in_turn({"audit": call}, 1)["audit"][0])
