"""A hand-written CNN and Dataset forget people. Run ``python examples/own_cnn.py``: the photographs are drawn.

``python examples/own_cnn.py FOLDER`` takes those of a folder with ``faces.csv``: file, identity, smiling, adult, split.
"""

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import gli

METHODS = {"GLI": gli.methods.GLI(), "SCRUB": gli.methods.SCRUB(lr=0.01), "CF-k": gli.methods.CFk(k=1, lr=0.01)}
LABELS = ("smiling", "adult")
SETS = ("retain", "forget", "unseen", "test")


def draw(folder: Path) -> Path:
    """Draw people who do not exist, and their table, into a folder; return it."""
    drawn = gli.data.SyntheticFaces(people=60, image_size=16, task="attributes", cache_dir=str(folder / "cache"))
    drawn.setup()
    lines = [",".join(("file", "identity", *LABELS, "split"))]
    for split in SETS:
        for number, (image, (_, smiling, young), person) in enumerate(drawn.dataset(split)):
            to_pil_image(image).save(folder / f"{split}{number}.png")
            lines.append(
                f"{split}{number}.png,{person},{'yes' if smiling else 'no'},{'no' if young else 'yes'},{split}"
            )
    (folder / "faces.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


class Photographs(Dataset[Any]):
    """The photographs of a set: those with its name in ``faces.csv``."""

    def __init__(self, folder: Path, split: str) -> None:
        rows = csv.DictReader((folder / "faces.csv").read_text(encoding="utf-8").splitlines())
        self.folder, self.rows = folder, [row for row in rows if row["split"] == split]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        row = self.rows[number]
        image = Image.open(self.folder / row["file"]).convert("RGB").resize((16, 16))
        return pil_to_tensor(image) / 255, torch.tensor([float(row[x] == "yes") for x in LABELS]), row["identity"]


def build(outputs: int) -> nn.Module:
    """Return a small CNN."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(stem, nn.Conv2d(16, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, outputs))


def main(folder: Path, epochs: int = 5, **settings: Any) -> tuple[nn.Module, dict[str, gli.Result]]:
    """Train an original; forget by each method; return the original and the results."""
    sets: dict[str, Any] = {name: Photographs(folder, name) for name in SETS}
    torch.manual_seed(0)
    model = build(len(LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for images, labels, _ in DataLoader(ConcatDataset([sets["retain"], sets["forget"]]), 32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(images), labels).backward()
            optimizer.step()
    settings |= {"blocks": ["0", "1", "4"], "classes": LABELS}  # From input to head: where gli does not find them.
    results = {name: gli.forget(model.eval(), **sets, method=METHODS[name], **settings) for name in METHODS}
    print(*(f"\n{name}\n{result}" for name, result in results.items()), sep="\n")
    return model, results


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]) if sys.argv[1:] else draw(Path(temporary)))
