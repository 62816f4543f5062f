"""Time each part of ``gli.speed`` against the same work with ``GLI_PLAIN=1``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.timing import Measurement, image_size, speedup, time_in_turn
from gli.metrics import jensen_shannon_distance
from gli.models.backbones import build_classifier
from gli.perturbation import perturb
from gli.speed import SWITCH

BATCH = 64
#: Number of losses in each set.
LOSSES = 200_000


@contextmanager
def plain(value: str) -> Iterator[None]:
    """Set the switch ``GLI_PLAIN`` to a value, ``"1"`` or ``"0"``, and restore it at the end."""
    previous = os.environ.get(SWITCH)
    os.environ[SWITCH] = value
    try:
        yield
    finally:
        if previous is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = previous


def _compare_with_plain(work: str, baseline_work: str, function: Callable[[], object], rounds: int) -> Measurement:
    """Time a function with the switch off against the same function with ``GLI_PLAIN=1``."""

    def call(value: str) -> None:
        with plain(value):
            function()

    times = time_in_turn({"baseline": lambda: call("1"), "gli": lambda: call("0")}, rounds)
    return speedup(work, baseline_work, times["baseline"], times["gli"], 1)


def small_maps(size: int, rounds: int = 15) -> Measurement:
    """Time a training step of ResNet-18 in bfloat16; the baseline has PyTorch's own convolutions."""
    torch.manual_seed(0)
    model = build_classifier("resnet18", 8)
    images = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(8, (BATCH,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()

    work = f"training step in bfloat16, {image_size(size)}, batch {BATCH}, small feature maps as matrix products"
    return _compare_with_plain(work, "PyTorch's own convolutions", step, rounds)


def pixel_gradient(size: int, rounds: int = 15) -> Measurement:
    """Time two inner steps of GLI with ResNet-18 in eval mode; the baseline is PyTorch's own gradient of the pixels."""
    torch.manual_seed(0)
    model = build_classifier("resnet18", 8).eval()
    images = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)

    def two_inner_steps() -> None:
        perturb(model, images, lambda logits: logits.logsumexp(dim=1).mean(), steps=2, step_size=0.01)

    work = f"two inner steps of GLI, {image_size(size)}, batch {BATCH}, gradient of the pixels as a dense convolution"
    return _compare_with_plain(work, "PyTorch's own gradient", two_inner_steps, rounds)


def density(rounds: int = 3) -> Measurement:
    """Time the Jensen-Shannon distance of two large sets of losses; the baseline uses scipy's kernel density."""
    generator = np.random.default_rng(0)
    forget, unseen = generator.exponential(1, LOSSES), generator.exponential(1.2, LOSSES)
    return _compare_with_plain(
        f"Jensen-Shannon distance of two sets of {LOSSES:,} losses, binned densities",
        "`scipy.stats.gaussian_kde`",
        lambda: jensen_shannon_distance(forget, unseen),
        rounds,
    )
