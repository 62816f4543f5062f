"""Settings of a run that takes a second: few small drawn faces, a tiny network, one epoch for its original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gli.runs.spec import RunSpec

TINY = [
    "--data=SyntheticFaces",
    "--data.people=24",
    "--data.pictures=5",
    "--data.image_size=32",
    "--data.batch_size=16",
    "--data.recipe.epochs=1",
    "--model.backbone=test_resnet",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
#: Settings that some methods need, and that let them run to their end.
NEEDED = {"LoTUS": ["--data.reference_share=0.5", "--model.stop_at_reference=false"]}
#: An audit after every iteration, to the end.
EVERY = ["--trainer.val_check_interval=1", "--early_stopping.patience=null"]


def a_run(folder: Path, *flags: str, model: str = "FineTune", **place: Any) -> RunSpec:
    """Return a run of such settings and two steps in a folder."""
    from gli.engine.fit import specify

    return specify([f"--model={model}", *TINY, "--trainer.max_steps=2", *flags], folder=folder, **place)
