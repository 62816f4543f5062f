"""``make bench``: every comparison, printed as a Markdown table and kept as JSON.

The plain ways are written out here as a reader of the paper would write them, in straightforward torch.
"""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision import transforms

from benchmarks.timing import Comparison, compare
from gli.data import FaceTable, SyntheticFaces
from gli.data.augment import Augmentation
from gli.data.loading import Batch
from gli.distances import mse
from gli.methods import GLI
from gli.metrics import summary
from gli.models import build_classifier
from gli.tasks import MultiClass

SIZE, BATCH, CLASSES = 64, 64, 8
OUTPUT = Path("benchmarks/results.json")


def gli_iteration(steps: int) -> Comparison:
    """One GLI iteration against the released recipe's loop: forget features again in every step, full backward."""
    torch.manual_seed(0)
    images, forget = torch.rand(2, BATCH, 3, SIZE, SIZE)
    labels = torch.randint(CLASSES, (BATCH,))
    model = build_classifier("resnet18", CLASSES).to(memory_format=torch.contiguous_format).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def plain() -> None:
        noise = torch.zeros_like(images).requires_grad_(True)
        for _ in range(steps):
            optimizer.zero_grad()
            logits = model((images + noise).clamp(0, 1))
            distance = functional.mse_loss(logits, model(forget).detach())
            (200 * functional.cross_entropy(logits, labels) - distance).backward()
            noise = (noise - 0.01 * noise.grad.sign()).detach().requires_grad_(True)
        optimizer.zero_grad()
        functional.cross_entropy(model((images + noise.detach()).clamp(0, 1)), labels).backward()
        optimizer.step()

    method = GLI(steps=steps)
    method.model = build_classifier("resnet18", CLASSES).eval()
    method._task = MultiClass(tuple("abcdefgh"))
    ours_optimizer = torch.optim.SGD(method.model.parameters(), lr=1e-4)
    method.perturbation_loss = lambda logits, y, goal, _: 200 * method.task.loss(logits, y) - mse(logits, goal)
    retain, other = Batch(images, labels, labels), Batch(forget, labels, labels)

    def ours() -> None:
        perturbed = method.perturbed(retain, other)
        ours_optimizer.zero_grad()
        method.loss(retain._replace(images=perturbed)).backward()
        ours_optimizer.step()

    return compare(f"GLI iteration, ResNet-18, T = {steps}", plain, ours)


def input_pipeline(folder: Path) -> Comparison:
    """An augmented epoch out of the pixel cache against PIL and torchvision per image, from the same JPEG files."""
    faces = SyntheticFaces(people=64, pictures=8, image_size=SIZE, cache_dir=str(folder / "cache"))
    lines = ["file,identity,age"]
    for row, pixels in enumerate(faces.pixels[np.arange(len(faces.faces))]):
        Image.fromarray(pixels).resize((128, 128)).save(folder / f"{row}.jpg", quality=95)
        lines.append(f"{row}.jpg,{faces.identities[row]},{faces.faces.labels[row]}")
    (folder / "faces.csv").write_text("\n".join(lines))
    data = FaceTable(
        str(folder), image_size=SIZE, batch_size=BATCH, augmentation=Augmentation(), cache_dir=str(folder / "cache")
    )
    data.setup()
    loader, count = data.train_dataloader(), 2 * BATCH * len(data.train_dataloader())
    transform = transforms.Compose(
        [
            transforms.Resize(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(0, shear=10, scale=(0.8, 1.2)),
            transforms.ColorJitter(0.2, 0.2, 0.2),
            transforms.ToTensor(),
        ]
    )

    def plain() -> None:
        for row in range(count):
            with Image.open(folder / f"{row % len(faces.faces)}.jpg") as file:
                transform(file.convert("RGB"))

    def ours() -> None:
        for batch in loader:
            data.on_after_batch_transfer(batch, 0)

    return compare(f"{count} augmented {SIZE} x {SIZE} images from 128 x 128 files, cached", plain, ours)


def audit() -> Comparison:
    """One audit of 4,543 images against the released protocol's six passes over test, unseen and forget."""
    torch.manual_seed(0)
    sets = {
        "test": torch.rand(384, 3, SIZE, SIZE),
        "unseen": torch.rand(376, 3, SIZE, SIZE),
        "forget": torch.rand(375, 3, SIZE, SIZE),
    }
    labels = {name: torch.randint(CLASSES, (len(images),)) for name, images in sets.items()}
    model: nn.Module = build_classifier("resnet18", CLASSES).eval()
    task = MultiClass(tuple("abcdefgh"))

    @torch.no_grad()
    def evaluate(name: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [model(part) for part in sets[name].split(size)]
        logits = torch.cat(parts)
        return (logits.argmax(dim=1) == labels[name]).double(), task.losses(logits, labels[name])

    def plain() -> None:
        accuracy = evaluate("test", BATCH)[0].mean().item()
        for _ in range(2):  # MIA and JSD each take their own passes
            unseen, forget = evaluate("unseen", BATCH)[1], evaluate("forget", BATCH)[1]
            summary(accuracy, forget, unseen)
        evaluate("unseen", BATCH)

    def ours() -> None:
        results = {name: evaluate(name, 256) for name in sets}
        summary(results["test"][0].mean().item(), results["forget"][1], results["unseen"][1])

    return compare("one audit (a quarter of MUFAC's sets, images in memory)", plain, ours, rounds=5)


def main() -> None:
    """Run everything."""
    with tempfile.TemporaryDirectory() as folder:
        found = [gli_iteration(2), gli_iteration(5), input_pipeline(Path(folder)), audit()]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    OUTPUT.write_text(json.dumps({"machine": machine, "comparisons": [asdict(one) for one in found]}, indent=2) + "\n")
    print(f"\n{machine}\n\n| what | plain, ms | gli, ms | times faster |\n|---|---|---|---|")
    for one in found:
        print(f"| {one.name} | {1000 * one.plain:.0f} | {1000 * one.ours:.0f} | {one.ratio:.2f} |")


if __name__ == "__main__":
    main()
