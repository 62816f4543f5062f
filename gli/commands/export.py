"""``gli export``: write a classifier for deployment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gli.errors import SettingError


def export(
    checkpoint: Path,
    *,
    formats: Sequence[str] = ("safetensors",),
    output: Path | None = None,
    name: str = "model",
    image_size: int = 128,
    backbone: str | None = None,
    outputs: Sequence[str] | None = None,
    normalize: bool = False,
) -> None:
    """Export a classifier for deployment, and check that the files give the same logits.

    gli export lightning_logs/gli_table/version_0/checkpoints/best.ckpt --formats safetensors onnx torch

    The exported network takes images in [0, 1] of shape (batch, 3, size, size). ONNX needs the extra [onnx].

    Args:
        checkpoint: A checkpoint of gli, or a state dict.
        formats: Formats among safetensors, onnx and torch.
        output: Folder of the files (default: that of the checkpoint).
        name: Name of the files.
        image_size: Side of the images in pixels.
        backbone: Network of a plain state dict, such as resnet18.
        outputs: Names of the outputs of a plain state dict.
        normalize: A plain state dict is of a network that normalises its input.
    """
    from gli.models import export as models
    from gli.system.files import writable

    if image_size < 1:
        raise SettingError(f"image_size is {image_size}; it must be at least 1.")
    if Path(name).name != name or name in (".", ".."):
        raise SettingError(f"--name {name}: is a path. Give the folder with --output.")
    description = None
    if backbone or outputs:
        if not backbone or not outputs:
            raise SettingError("A plain state dict needs both --backbone and --outputs.")
        description = {"backbone": backbone, "outputs": outputs, "normalize": normalize}
    folder = output or checkpoint.parent
    with writable(folder, content="the exported model", setting="--output"):
        paths = models.export(checkpoint, folder, formats, name=name, description=description, image_size=image_size)
    for path in paths:
        print(path)
