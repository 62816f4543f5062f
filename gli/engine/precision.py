"""The precision that a machine trains fastest in: processors without units for bfloat16 emulate it, much slower."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import torch
from torch import nn

from gli.system.lightning import computes_bfloat16

#: In place of a precision: the one that this machine trains fastest in.
AUTO = "auto"
HALF = ("bf16-mixed", "16-mixed", "bf16", "16")


def resolve_precision(precision: Any, accelerator: Any = None) -> Any:
    """Return a precision of the trainer; ``auto`` is the one that this machine trains fastest in.

    It depends on what the processor or GPU computes in, and on no measurement: two runs on one machine must not differ.
    """
    if precision != AUTO:
        return precision
    accelerator = accelerator or AUTO
    if accelerator in (AUTO, "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if accelerator in (AUTO, "cpu") and computes_bfloat16() else "32-true"


@cache
def step_seconds(dtype: torch.dtype, repeats: int = 3) -> float:
    """Return the seconds of a small training step of convolutions on this processor: the least of ``repeats``."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3))
        images = torch.rand(8, 32, 16, 16)
    times = []
    for _ in range(repeats + 1):  # The first step prepares kernels.
        start = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            network(images).float().square().mean().backward()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def slow_precision(precision: str) -> str:
    """Return a warning where half precision takes longer than float32 on this processor, otherwise nothing."""
    if precision not in HALF or computes_bfloat16():
        return ""
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16
    ratio = step_seconds(dtype) / step_seconds(torch.float32)
    if ratio <= 1:
        return ""
    return (
        f"This processor emulates half precision: a training step in {precision} took {ratio:.1f} times as long as in "
        "float32. Set trainer.precision to auto, for the precision that a machine trains fastest in."
    )
