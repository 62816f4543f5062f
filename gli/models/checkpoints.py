"""Read checkpoints safely, and load weights from them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gli.errors import CheckpointError, SettingError
from gli.models.backbones import GIVEN, Classifier, build_classifier, is_import_path
from gli.models.blocks import last_blocks

#: End of the names of BatchNorm's counters.
BATCH_COUNT = "num_batches_tracked"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint: tensors and plain values only, no code.

    A file that begins like safetensors, or whose name ends so, is read as such; every other as of ``torch.save``.

    Raises:
        CheckpointError: If the file does not exist, is damaged, or holds pickled code (which is not run).
    """
    try:
        if Path(path).suffix == ".safetensors" or _is_safetensors(path):
            return dict(load_file(path))
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not re.search(r"Unsupported (global|class)|GLOBAL|REDUCE|weights_only", str(error)) or not _is_pickle(path):
            raise CheckpointError(
                f"{path}: cannot be read as a checkpoint: it is a file of another kind. Check what was downloaded, or "
                "copy it again."
            ) from error
        raise CheckpointError(
            f"{path}: holds pickled code or objects, which could run anything, so it was not loaded. Ask its owner for "
            "a plain state dict: torch.save(model.state_dict(), FILE)."
        ) from error
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint. Check the path.") from error
    except Exception as error:  # torch raises errors of many kinds for damaged files, some without a word.
        why = str(error) or type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint ({why}). It may be damaged: copy it again."
        ) from error
    if not isinstance(contents, Mapping) or not contents:
        raise CheckpointError(f"{path}: holds a {type(contents).__name__}, not a state dict or a checkpoint of gli.")
    return dict(contents)


def _is_safetensors(path: str | Path) -> bool:
    """Return whether a file begins with the length of a header that fits into it, and a header in JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
        size = file.seek(0, 2)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _is_pickle(path: str | Path) -> bool:
    """Return whether a file begins like a pickle or a torch archive, rather than like text or zeros."""
    with open(path, "rb") as file:
        return file.read(4).startswith((b"PK", b"\x80"))


def classifier_state(path: str | Path) -> dict[str, Tensor]:
    """Return the backbone's state dict from a checkpoint of gli or a plain torchvision state dict.

    Prefixes of wrappers (``model.``, ``backbone.``, ``module.``) and the doubled name of the benchmark's head
    (``fc.fc.weight``) are removed.

    Raises:
        CheckpointError: See :func:`read_checkpoint`; also if there are no weights, or two of one name.
    """
    contents = read_checkpoint(path)
    state = contents.get("state_dict", contents)
    named = isinstance(state, Mapping) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state dict (names and tensors) of a classifier.")
    result = {}
    for key, value in state.items():
        for prefix in ("module.", "model.", "backbone."):
            key = key.removeprefix(prefix)
        key = "fc." + key.removeprefix("fc.fc.") if key.startswith("fc.fc.") else key
        if key in result:
            raise CheckpointError(
                f"{path}: holds {key} twice, under different prefixes. Keep the weights of one network."
            )
        result[key] = value
    return result


def _require_loadable(path: str | Path, key: str, value: Tensor) -> None:
    """Refuse a tensor that cannot be copied into a weight: dense real numbers in memory."""
    dense = value.layout is torch.strided and not value.is_nested and not value.is_quantized and not value.is_meta
    if not dense or value.is_complex() or type(value) not in (Tensor, nn.Parameter):
        raise CheckpointError(
            f"{path}: {key} is not a plain tensor of real numbers. Save the model's weights again: "
            "torch.save(model.state_dict(), FILE)."
        )


def _head_names(classifier: Classifier) -> set[str]:
    head = {id(module) for module in last_blocks(classifier, 1)[0]}
    children = [name for name, module in classifier.backbone.named_modules() if id(module) in head]
    return {key for key in classifier.backbone.state_dict() if any(key.startswith(f"{name}.") for name in children)}


def _by_order(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the leading values of a state dict under other names, if their kinds and shapes are the same in order."""
    pairs = list(zip(wanted.items(), state.items(), strict=False))
    same = len(pairs) == len(wanted) and all(
        name.rpartition(".")[2] == given_name.rpartition(".")[2] and value.shape == given.shape
        for (name, value), (given_name, given) in pairs
    )
    return {name: given for (name, _), (_, given) in pairs} if same else None


def load_features(classifier: Classifier, path: str | Path, name: str) -> None:
    """Load the weights of all blocks but the head from a state dict; the head stays as it is.

    The file is a state dict of torchvision or timm (``torch.save`` or safetensors), or a checkpoint of gli. The names
    must be those of the backbone, which ``name`` names in messages; or, as in packages that name the same network
    differently, the weights must have the same kinds and shapes in the same order. Raises CheckpointError if the file
    is unsafe or damaged, or of another architecture.
    """
    current, head = classifier.backbone.state_dict(), _head_names(classifier)
    state = classifier_state(path)
    wanted = {key: value for key, value in current.items() if key not in head}
    # Files of early versions of PyTorch do not count batches.
    uncounted = {key: value for key, value in wanted.items() if key in state or not key.endswith(BATCH_COUNT)}
    source: Mapping[str, Tensor] | None = state if uncounted.keys() <= state.keys() else _by_order(wanted, state)
    if source is None:
        missing = [key for key in uncounted if key not in state]
        raise CheckpointError(
            f"{path}: is of another architecture than --model.backbone {name}: it lacks {len(missing)} of its weights "
            f"({', '.join(missing[:2])}{', ...' if len(missing) > 2 else ''}). Name its architecture with "
            "--model.backbone."
        )
    for key, value in uncounted.items():
        _require_loadable(path, key, source[key])
        if source[key].shape != value.shape:
            raise CheckpointError(
                f"{path}: is of another width than --model.backbone {name} ({key} is {tuple(source[key].shape)} "
                f"instead of {tuple(value.shape)}). Name its architecture with --model.backbone."
            )
    classifier.backbone.load_state_dict({**current, **{key: source[key] for key in uncounted}})


def load_weights(classifier: Classifier, path: str | Path, name: str) -> None:
    """Load a checkpoint's weights into a classifier of the same architecture.

    Args:
        classifier: The classifier, changed in place.
        path: A checkpoint of gli or a plain torchvision state dict.
        name: Name of the classifier's backbone, for the messages.

    Raises:
        CheckpointError: If the file is unsafe or damaged, or of another architecture or number of outputs.
    """
    state, expected = classifier_state(path), classifier.backbone.state_dict()
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"{path}: is of another architecture than --model.backbone {name}: it lacks {len(missing)} of its weights "
            f"({', '.join(missing[:2])}{', ...' if len(missing) > 2 else ''}) and has {len(extra)} others "
            f"({', '.join(extra[:2])}{', ...' if len(extra) > 2 else ''}). Name its architecture with --model.backbone."
        )
    for key, value in expected.items():
        _require_loadable(path, key, state[key])
        if value.shape != state[key].shape:
            outputs = key.startswith(("fc.", "classifier.", "head."))
            count = state[key].shape[0] if state[key].ndim else "no"
            reason = f"has {count} outputs, but the data has {value.shape[0] if value.ndim else 1} classes or labels"
            raise CheckpointError(
                f"{path}: {reason if outputs else 'is of another width than --model.backbone ' + name} ({key} is "
                f"{tuple(state[key].shape)} instead of {tuple(value.shape)}). Use data with the classes it was trained "
                "on, or another checkpoint."
            )
    try:
        classifier.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its weights cannot be loaded ({error}). Ask its owner for another copy."
        ) from error


def load_classifier(path: str | Path, backbone: str | None = None) -> Classifier:
    """Return the classifier of a checkpoint of gli, in eval mode, on the CPU.

    Args:
        path: The checkpoint.
        backbone: Name or import path of its backbone; None for the name in the checkpoint. An import path in a
            checkpoint is not followed, because importing a module runs it: give the path here to allow that.

    Example:
        >>> model = load_classifier("lightning_logs/gli_synthetic/version_0/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> logits = model(images)  # images in [0, 1], shape (batch, 3, height, width)  # doctest: +SKIP

    Raises:
        CheckpointError: If the file is not a checkpoint of gli, or its network must be given.
    """
    description = describe_classifier(path)
    named = description["backbone"]
    if named.startswith(GIVEN):
        raise CheckpointError(
            f"{path}: holds the weights of a network of yours, {named.removeprefix(GIVEN)}. Give a network of that "
            "class: gli.load(path, model)."
        )
    if is_import_path(named) and backbone is None:
        raise CheckpointError(
            f"{path}: its backbone is {named}, and importing it runs its code. If you trust it, say so: "
            f"load_classifier(path, backbone={named!r})."
        )
    name = backbone or named
    try:
        classifier = build_classifier(name, len(description["outputs"]), normalize=description["normalize"])
    except SettingError as error:
        raise CheckpointError(f"{path}: {error}") from error
    load_weights(classifier, path, name)
    return classifier.eval()


def describe_classifier(path: str | Path) -> Mapping[str, Any]:
    """Return a checkpoint's description of its classifier: ``backbone``, ``outputs`` (names) and ``normalize``."""
    description = read_checkpoint(path).get("classifier")
    if not _describes(description):
        raise CheckpointError(
            f"{path}: has no description of its classifier, so gli did not write it. Build the network yourself and "
            "load its weights with gli.models.load_weights."
        )
    return description


def _describes(description: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a checkpoint's description of its classifier is complete."""
    if not isinstance(description, Mapping) or not {"backbone", "outputs", "normalize"} <= description.keys():
        return False
    backbone, outputs, normalize = (description[name] for name in ("backbone", "outputs", "normalize"))
    listed = isinstance(outputs, list | tuple) and len(outputs) > 0
    named = listed and all(isinstance(output, str) for output in outputs)
    return isinstance(backbone, str) and named and isinstance(normalize, bool)
