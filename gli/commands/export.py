"""Export a classifier for deployment, and check that the files give the same logits.

    gli export lightning_logs/gli_table/version_0/checkpoints/best.ckpt --formats safetensors onnx torch

The exported network takes images in [0, 1] of shape (batch, 3, size, size). ONNX needs the extra [onnx].
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gli.commands.main import make_parser, run_command


def main(args: Sequence[str]) -> int:
    """Run ``gli export``; return the exit status: 0, or 2 after an error that the user can correct."""
    parser = make_parser("export", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint of gli, or a state dict")
    parser.add_argument("--formats", nargs="+", default=["safetensors"], help="safetensors, onnx, torch")
    parser.add_argument("--output", type=Path, help="folder of the files (default: that of the checkpoint)")
    parser.add_argument("--name", default="model", help="name of the files (default: model)")
    parser.add_argument("--image-size", type=int, default=128, help="side of the images in pixels (default: 128)")
    parser.add_argument("--backbone", help="network of a plain state dict, such as resnet18")
    parser.add_argument("--outputs", nargs="+", help="names of the outputs of a plain state dict")
    parser.add_argument("--normalize", action="store_true", help="a plain state dict of a network that normalises")
    options = parser.parse_args(args)
    return run_command("gli export", lambda: _export(options))


def _export(options: argparse.Namespace) -> int:
    from gli.errors import SettingError
    from gli.models.export import export
    from gli.system.files import writable

    if options.image_size < 1:
        raise SettingError(f"--image-size is {options.image_size}; it must be at least 1.")
    if Path(options.name).name != options.name or options.name in (".", ".."):
        raise SettingError(f"--name {options.name}: is a path. Give the folder with --output.")
    description = None
    if options.backbone or options.outputs:
        if not options.backbone or not options.outputs:
            raise SettingError("A plain state dict needs both --backbone and --outputs.")
        description = {"backbone": options.backbone, "outputs": options.outputs, "normalize": options.normalize}
    folder = options.output or options.checkpoint.parent
    with writable(folder, content="the exported model", setting="--output"):
        paths = export(
            options.checkpoint,
            folder,
            options.formats,
            name=options.name,
            description=description,
            image_size=options.image_size,
        )
    for path in paths:
        print(path)
    return 0
