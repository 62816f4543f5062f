"""A hand-written CNN and a hand-written Dataset: photographs in folders, listed in a CSV file, with two yes/no labels.

Run it with ``python examples/own_cnn.py FOLDER``. The folder holds ``faces.csv`` with the columns file, identity,
smiling, adult and split (retain, forget, unseen or test), and the images that it lists.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

import gli

METHODS = {"GLI": gli.methods.GLI(), "SCRUB": gli.methods.SCRUB(lr=0.01), "CF-k": gli.methods.CFk(k=1, lr=0.01)}
LABELS = ("smiling", "adult")
#: From input to head, by their names in the network. gli would find the same; a network of other habits needs them.
BLOCKS = ("0", "1", "3")


class Photographs(Dataset[tuple[Tensor, Tensor, str]]):
    """The photographs of one set: (image in [0, 1], labels of 0 and 1, name of the person)."""

    def __init__(self, folder: Path, split: str, size: int = 16) -> None:
        self.folder, self.size = folder, size
        with (folder / "faces.csv").open(newline="") as file:
            self.rows = [row for row in csv.DictReader(file) if row["split"] == split]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, str]:
        """Return a photograph."""
        row = self.rows[number]
        image = Image.open(self.folder / row["file"]).convert("RGB").resize((self.size, self.size))
        labels = torch.tensor([float(row[label] == "yes") for label in LABELS])
        return pil_to_tensor(image) / 255, labels, row["identity"]


def build(outputs: int) -> nn.Module:
    """Return a small CNN."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    body = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(stem, body, nn.Flatten(), nn.Linear(32, outputs))


def main(folder: Path, epochs: int = 5, **settings: Any) -> tuple[nn.Module, dict[str, gli.Result]]:
    """Train an original; forget by each method; return the original and the results."""
    sets: dict[str, Any] = {name: Photographs(folder, name) for name in ("retain", "forget", "unseen", "test")}
    torch.manual_seed(0)
    model = build(len(LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for images, labels, _ in DataLoader(ConcatDataset([sets["retain"], sets["forget"]]), 32, shuffle=True):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(images), labels).backward()
            optimizer.step()
    results = {}
    for name, method in METHODS.items():
        results[name] = gli.forget(model.eval(), **sets, method=method, blocks=BLOCKS, classes=LABELS, **settings)
        print(f"\n{name}\n{results[name]}")
    return model, results


if __name__ == "__main__":
    main(Path(sys.argv[1]))
