"""Export a classifier for deployment: safetensors, ONNX, or a plain PyTorch state dict; every file is checked."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gli.errors import CheckpointError, SettingError
from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_classifier, load_weights, read_checkpoint
from gli.system.files import atomic_write

#: Formats and the ending of each.
FORMATS: Mapping[str, str] = {"safetensors": ".safetensors", "onnx": ".onnx", "torch": ".pt"}
#: Largest difference of a logit between ONNX and PyTorch, relative to the largest logit.
TOLERANCE = 1e-4
#: Images of the numerical check.
CHECKED = 4
OPSET = 18


def export(
    checkpoint: Path,
    folder: Path,
    formats: Sequence[str],
    *,
    name: str = "model",
    description: Mapping[str, Any] | None = None,
    image_size: int = 128,
) -> list[Path]:
    """Write a classifier in some formats, and check that each gives the logits of the checkpoint.

    The exported network takes images in [0, 1] of shape ``(batch, 3, size, size)``; normalisation is part of it.

    Args:
        checkpoint: A checkpoint of gli, or a plain state dict with a ``description``.
        folder: Folder of the files.
        formats: ``safetensors``, ``onnx`` or ``torch``.
        name: Name of the files without their endings.
        description: ``backbone``, ``outputs`` and ``normalize`` of a plain state dict; None for the checkpoint's.
        image_size: Side of the images of the ONNX file, in pixels.

    Returns:
        The files, in the order of the formats.

    Raises:
        SettingError: If a format is unknown, or its package is not installed.
        CheckpointError: If the checkpoint cannot be loaded, or an exported file gives other logits.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise SettingError(f"--formats {kind}: there is no such format. Formats: {', '.join(FORMATS)}.")
    description = dict(description or read_checkpoint(checkpoint).get("classifier") or {})
    model = _load(checkpoint, description)
    facts = {key: description[key] for key in ("backbone", "outputs", "normalize")}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in formats:
        path = folder / f"{name}{FORMATS[kind]}"
        data = _BYTES[kind](model, facts, image_size)
        _check(data, kind, model, facts, path, image_size)
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
        paths.append(path)
    return paths


def _load(checkpoint: Path, description: Mapping[str, Any]) -> Classifier:
    if "classifier" in read_checkpoint(checkpoint):
        return load_classifier(checkpoint)
    if not {"backbone", "outputs", "normalize"} <= description.keys():
        raise CheckpointError(
            f"{checkpoint}: has no description of its classifier, so gli did not write it. Give --backbone, --outputs."
        )
    model = build_classifier(description["backbone"], len(description["outputs"]), normalize=description["normalize"])
    load_weights(model, checkpoint, description["backbone"])
    return model.eval()


def _state(model: Classifier) -> dict[str, Tensor]:
    """Return the weights of the backbone, sorted by name, so that the same weights give the same file."""
    return {key: value.detach().contiguous().clone() for key, value in sorted(model.backbone.state_dict().items())}


def _safetensors(model: Classifier, facts: Mapping[str, Any], image_size: int) -> bytes:
    # A single entry: the package writes several in an order that differs between processes.
    return safetensors.torch.save(
        _state(model), {"gli": json.dumps({**facts, "image_size": image_size}, sort_keys=True)}
    )


def _torch(model: Classifier, facts: Mapping[str, Any], image_size: int) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": _state(model), "classifier": {**facts}}, buffer)
    return buffer.getvalue()


def _onnx(model: Classifier, facts: Mapping[str, Any], image_size: int) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it.
    except ImportError as error:
        raise SettingError("The format onnx needs packages: pip install '.[onnx]' in gli's sources.") from error
    images = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        model.to(memory_format=torch.contiguous_format),
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=4096)}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"gli": json.dumps(facts, sort_keys=True)})
    # Paths of this machine's files are no part of a model.
    for graph in (proto.graph, *proto.functions):
        del graph.metadata_props[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
    return bytes(proto.SerializeToString())


_BYTES = {"safetensors": _safetensors, "torch": _torch, "onnx": _onnx}


def _read(data: bytes, kind: str) -> dict[str, Tensor]:
    if kind == "safetensors":
        return safetensors.torch.load(data)
    weights: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)["state_dict"]
    return weights


@torch.no_grad()
def _check(data: bytes, kind: str, model: Classifier, facts: Mapping[str, Any], path: Path, image_size: int) -> None:
    """Compare the logits of an exported file with those of the classifier; raise CheckpointError if they differ."""
    images = torch.rand(CHECKED, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    expected = model(images)
    if kind == "onnx":
        try:
            import onnxruntime
        except ImportError as error:
            raise SettingError("The format onnx needs packages: pip install '.[onnx]' in gli's sources.") from error
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        logits = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    else:
        copy = build_classifier(facts["backbone"], expected.shape[1], normalize=facts["normalize"]).eval()
        copy.backbone.load_state_dict(_read(data, kind))
        logits = copy(images)
    difference = float((logits - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{path}: gives other logits than the checkpoint (by {difference:.2g}); it was not written."
        )
