"""Time what exists only for speed against the same work with ``GLI_PLAIN=1``."""

from __future__ import annotations

import os
from unittest import mock

import torch

from benchmarks.timing import Measurement, image_size, speedup, time_in_turn
from gli.models.backbones import build_classifier
from gli.system.speed import SWITCH

BATCH = 64


def small_maps(size: int, rounds: int = 15) -> Measurement:
    """Time a training step of ResNet-18; the baseline has PyTorch's own convolutions."""
    torch.manual_seed(0)
    model = build_classifier("resnet18", 8)
    images = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(8, (BATCH,))

    def step(plain: str) -> None:
        with mock.patch.dict(os.environ, {SWITCH: plain}):
            torch.nn.functional.cross_entropy(model(images), labels).backward()

    times = time_in_turn({"baseline": lambda: step("1"), "gli": lambda: step("0")}, rounds)
    work = f"training step, {image_size(size)}, batch {BATCH}, small feature maps as matrix products"
    return speedup(work, "PyTorch's own convolutions", times["baseline"], times["gli"], 1)
