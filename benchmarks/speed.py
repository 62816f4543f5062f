"""What ``gli.speed`` is worth: the same work with the switch ``GLI_PLAIN`` off and on, in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.timing import Finding, faster, in_turn
from gli.metrics import jensen_shannon_distance
from gli.models.backbones import build_classifier
from gli.perturbation import perturb
from gli.speed import SWITCH

BATCH, LOSSES = 64, 200_000


@contextmanager
def plain() -> Iterator[None]:
    """Take the plain ways inside."""
    os.environ[SWITCH] = "1"
    try:
        yield
    finally:
        del os.environ[SWITCH]


def _both(what: str, work: Callable[[], object], rounds: int) -> Finding:
    """Compare a piece of work with the same in :func:`plain`."""

    def work_plainly() -> None:
        with plain():
            work()

    times = in_turn({"plain": work_plainly, "ours": work}, rounds)
    return faster(what, f"{SWITCH}=1", times["plain"], times["ours"], 1)


def pixel_gradient(size: int, rounds: int = 15) -> Finding:
    """Two inner steps of GLI, a batch of 64, ResNet-18 in eval mode."""
    torch.manual_seed(0)
    model = build_classifier("resnet18", 8).eval()
    images = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)

    def work() -> None:
        perturb(model, images, lambda logits: logits.logsumexp(dim=1).mean(), steps=2, step_size=0.01)

    return _both(f"two inner steps, {size} x {size}, gradient of the pixels", work, rounds)


def density(rounds: int = 3) -> Finding:
    """The Jensen-Shannon distance of two sets of 200,000 losses."""
    generator = np.random.default_rng(0)
    forget, unseen = generator.exponential(1, LOSSES), generator.exponential(1.2, LOSSES)
    return _both(
        f"JSD of two sets of {LOSSES:,} losses, binned density", lambda: jensen_shannon_distance(forget, unseen), rounds
    )
