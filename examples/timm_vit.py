"""A small Vision Transformer of timm forgets people: GLI, SCRUB and CF-k, whose blocks are found.

Run it with ``python examples/timm_vit.py``; it draws its own faces, and downloads nothing.
"""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, DataLoader

import gli
from gli.methods import GLI, SCRUB, CFk

METHODS = {"GLI": GLI(lr=0.01, steps=1), "SCRUB": SCRUB(lr=0.01), "CF-k": CFk(k=2, lr=0.01)}


class NormalisedViT(nn.Module):
    """A ViT that normalises inside: gli hands it images in [0, 1], since it perturbs and clips pixels."""

    def __init__(self, outputs: int, size: int = 32) -> None:
        super().__init__()
        settings = {"img_size": size, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
        self.vit = timm.create_model("vit_tiny_patch16_224", num_classes=outputs, **settings)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of images in [0, 1]."""
        return self.vit((images - 0.5) / 0.5)


def faces(people: int = 120, size: int = 32, **settings: Any) -> dict[str, Any]:
    """Return the sets retain, forget, unseen and test, each an ordinary data set of (image, label, identity)."""
    drawn = gli.data.SyntheticFaces(people=people, image_size=size, **settings)
    return {name: drawn.dataset(name) for name in ("retain", "forget", "unseen", "test")}


def main(sets: Mapping[str, Any], epochs: int = 5, **settings: Any) -> tuple[nn.Module, dict[str, gli.Result]]:
    """Train an original in plain PyTorch; forget by each method; return the original and the results."""
    torch.manual_seed(0)
    model, trained_on = NormalisedViT(8), ConcatDataset([sets["retain"], sets["forget"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    for _ in range(epochs):
        for images, labels, _ in DataLoader(trained_on, batch_size=32, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    results = {}
    for name, method in METHODS.items():
        results[name] = gli.forget(model.eval(), **sets, method=method, **settings)
        print(f"\n{name}\n{results[name]}")
    return model, results


if __name__ == "__main__":
    main(faces())
