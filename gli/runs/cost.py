"""The cost of a run: training time and peak memory, in ``cost.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gli.system.files import write_json
from gli.system.process import memory

if TYPE_CHECKING:
    import torch

COST = "cost.json"
NUMBERS = ("training_seconds", "peak_memory_bytes")


def write_cost(folder: Path, training_seconds: float, device: torch.device) -> None:
    """Write the cost of a run into its folder.

    The time is that of training steps, without audits; the memory is the peak of the device.
    """
    cost: dict[str, Any] = {"training_seconds": training_seconds, "peak_memory_bytes": memory()[1]}
    if device.type == "cuda":
        from torch import cuda  # Loaded already by the caller.

        cost["peak_memory_bytes"] = cuda.max_memory_allocated(device)
    cost["device"] = device_name(device)
    write_json(folder / COST, cost)


def device_name(device: torch.device) -> str:
    """Return the name of a device, as in the record of a run's cost: ``cpu``, or the model of the GPU."""
    if device.type != "cuda":
        return "cpu"
    from torch import cuda  # Loaded already by the caller.

    return cuda.get_device_name(device)


def read_cost(folder: Path) -> dict[str, Any]:
    """Return the cost of a run: ``training_seconds``, ``peak_memory_bytes`` and ``device``.

    The result is empty where the run did not reach its end, or the file is damaged.
    """
    try:
        cost = json.loads((folder / COST).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(cost, dict) or any(type(cost[name]) not in (int, float) for name in NUMBERS if name in cost):
        return {}
    return {name: cost[name] for name in (*NUMBERS, "device") if name in cost}
