"""A torchvision ResNet, trained in plain PyTorch, forgets people: GLI, SCRUB and CF-k side by side.

Run it with ``python examples/torchvision_resnet.py``; it draws its own faces. Replace ``faces()`` and ``train()`` by
your data and your model: any data set of (image in [0, 1], label, identity), any network that returns logits.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, DataLoader

import gli
from gli.methods import GLI, SCRUB, CFk

METHODS = {"GLI": GLI(lr=0.01), "SCRUB": SCRUB(lr=0.01), "CF-k": CFk(k=3, lr=0.01)}


def build(outputs: int) -> torch.nn.Module:
    """Return a ResNet-18; the command takes it as ``--model.backbone torchvision_resnet:build``."""
    return torchvision.models.resnet18(num_classes=outputs)


def faces(people: int = 120, size: int = 32, **settings: Any) -> dict[str, Any]:
    """Return the sets retain, forget, unseen and test, each an ordinary data set of (image, label, identity)."""
    drawn = gli.data.SyntheticFaces(people=people, image_size=size, **settings)
    return {name: drawn.dataset(name) for name in ("retain", "forget", "unseen", "test")}


def train(model: torch.nn.Module, data: Any, epochs: int = 5, seed: int = 0) -> torch.nn.Module:
    """Train a classifier in plain PyTorch."""
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for images, labels, _ in DataLoader(data, batch_size=32, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model.eval()


def main(sets: Mapping[str, Any], epochs: int = 5, **settings: Any) -> tuple[torch.nn.Module, dict[str, gli.Result]]:
    """Train an original and a retrained model; forget by each method; return the original and the results."""
    torch.manual_seed(0)
    model, retrained = build(8), build(8)
    train(model, ConcatDataset([sets["retain"], sets["forget"]]), epochs)
    train(retrained, sets["retain"], epochs)
    results = {}
    for name, method in METHODS.items():
        results[name] = gli.forget(model, **sets, method=method, reference=retrained, **settings)
        print(f"\n{name}\n{results[name]}")
    return model, results


if __name__ == "__main__":
    main(faces())
