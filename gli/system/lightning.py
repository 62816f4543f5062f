"""Everything in gli that touches a private name of Lightning, jsonargparse, torchmetrics or torch, with its reason.

Public names that need a comment are here too, so that the rest of gli reads without them.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.cli import LightningArgumentParser


def clear_step_values(trainer: L.Trainer) -> None:
    """Clear the values that the previous training step logged.

    Lightning keeps the last value of every key that a step has ever logged, and writes it again for steps that do not
    log the key. Methods whose passes log different values would repeat stale ones. There is no public way to clear
    them.
    """
    results = cast(Any, trainer)._results
    for value in (results or {}).values():
        if value.meta.fx == "training_step" and not value.meta.on_epoch:
            value.reset()


def current_epoch(trainer: L.Trainer) -> int:
    """Return the epoch under way; ``trainer.current_epoch`` is one behind after resuming at the end of an epoch."""
    return int(cast(Any, trainer.fit_loop.epoch_progress.current).processed)


def batches_done_in_epoch(trainer: L.Trainer) -> int:
    """Return the number of batches of the current epoch that were done before a resume, otherwise 0."""
    if not trainer.fit_loop.restarted_mid_epoch:
        return 0
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.completed)


def also_accept(parser: LightningArgumentParser, setting: str, value: str) -> None:
    """Let a setting accept one more value; jsonargparse takes the types of settings from Lightning's signatures."""
    (action,) = (action for action in parser._actions if action.dest == setting)
    cast(Any, action)._typehint |= Literal[value]


def computes_bfloat16() -> bool:
    """Return whether this processor has units for bfloat16 (AMX or AVX-512 BF16); torch has no public name for it."""
    processor = cast(Any, torch.cpu)
    return bool(processor._is_amx_tile_supported() or processor._is_avx512_bf16_supported())
