"""Load the classifier of a run."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from torch import nn

from gli.api.arguments import check_module
from gli.errors import CheckpointError
from gli.models.checkpoints import load_classifier, read_checkpoint
from gli.models.hub import HubClassifier
from gli.models.network import PREFIX, Network
from gli.runs.read import SETTINGS


def load(path: str | Path, model: nn.Module | None = None, *, backbone: str | None = None) -> nn.Module:
    """Return a classifier in eval mode, on the CPU: it takes images in [0, 1] and returns logits.

    Args:
        path: A checkpoint of a run, the folder of a run (its ``best.ckpt``), or one that ``save_pretrained`` wrote;
            with ``model`` also a state dict of its class.
        model: A network of your own class, for runs of :func:`gli.forget`; it is not changed, a copy is returned.
        backbone: Import path of the backbone (``my_module:build``), which a checkpoint alone may not name.

    Raises:
        CheckpointError: If there is no such checkpoint, or it is unsafe, damaged, or of another network.

    Example:
        >>> import gli, torch, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> gli.models.HubClassifier("resnet18_slim", ["child", "adult"]).save_pretrained(folder)
        >>> model = gli.load(folder)
        >>> model(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 2])
    """
    path = Path(path)
    if model is not None:
        check_module(model, "model")
    if path.is_dir() and not (path / SETTINGS).is_file():
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{path}: is neither the folder of a run nor one that save_pretrained wrote.")
        with redirect_stdout(StringIO()):  # It prints that it loads.
            return HubClassifier.from_pretrained(str(path), local_files_only=True)
    checkpoint = path / "checkpoints/best.ckpt" if path.is_dir() else path
    if model is None:
        return load_classifier(checkpoint, backbone)
    contents = read_checkpoint(checkpoint)
    if "state_dict" not in contents:  # torch.save(result.model.state_dict(), path)
        contents = {"state_dict": {f"{PREFIX}{name}": value for name, value in contents.items()}}
    return Network(model).with_weights(contents["state_dict"], checkpoint)
