"""Backbones by name or import path, with a linear head."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torchvision
from torch import Tensor, nn

from gli.errors import SettingError, did_you_mean
from gli.system.digest import digest
from gli.system.speed import fast_small_maps

TORCHVISION = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "wide_resnet101_2", "efficientnet_b0")
#: ResNet-18 with half of the channels after the stem.
SLIM = "resnet18_slim"
#: What a checkpoint writes before the class of a network that was given as an object, so has no backbone's name.
GIVEN = "given:"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """A backbone for images in [0, 1], with normalisation as an optional first step.

    Args:
        backbone: Network from normalised images to logits.
        normalize: Whether to normalise by ImageNet's mean and standard deviation.
        blocks: Names of the backbone's blocks from its input to its head, for methods that train some of them only;
            None to find them, see :func:`gli.models.blocks.blocks`.
        outputs: Returns the logits of what the backbone returns, where that is no tensor; None to look for a field
            ``logits``, as networks of Hugging Face and Inception in train mode have it.

    Raises:
        SettingError: If the backbone has no block of a given name.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        normalize: bool = False,
        blocks: Sequence[str] | None = None,
        outputs: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.normalize, self.logits_of = backbone, normalize, outputs
        self.block_names = None if blocks is None else tuple(blocks)
        modules = dict(backbone.named_modules())
        for name in self.block_names or ():
            if not name or name not in modules:
                children = ", ".join(child for child, _ in backbone.named_children())
                hint = did_you_mean(name, modules)
                raise SettingError(f"The network has no block {name!r}.{hint} Its children are: {children}.")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(batch, outputs)`` of images of shape ``(batch, 3, height, width)``."""
        with fast_small_maps(images):
            returned = self.backbone((images - self.mean) / self.std if self.normalize else images)
        if not isinstance(returned, Tensor):
            returned = getattr(returned, "logits", returned) if self.logits_of is None else self.logits_of(returned)
        logits: Tensor = returned
        return logits


def build_classifier(name: str, num_outputs: int, *, pretrained: bool = False, normalize: bool = False) -> Classifier:
    """Return a newly initialised classifier with a linear head.

    Args:
        name: A torchvision ResNet, WideResNet or EfficientNet (see ``TORCHVISION``), ``resnet18_slim`` (half the
            channels of ResNet-18 after the stem), any model of timm, or the import path of a function or class
            (``my_module:build``) that is called with the number of outputs and returns a network from images to logits.
        num_outputs: Number of logits.
        pretrained: Start from ImageNet weights, downloaded on first use; the head is new.
        normalize: Normalise by ImageNet's mean and standard deviation inside the network (the published models do not).

    Raises:
        SettingError: If the name is unknown, or the network or its weights are not available.
    """
    try:
        backbone = _backbone(name, num_outputs, pretrained)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise SettingError(f"The backbone {name!r} cannot be built ({error}). Check its name.") from error
        raise SettingError(
            f"The ImageNet weights of {name!r} cannot be downloaded ({error}). Check the network, name a file "
            "of them with --model.weights, or train from scratch with --model.pretrained false."
        ) from error
    # Channels-last is the layout of the pixel cache, and convolutions are faster in it on CPU and GPU.
    return Classifier(backbone, normalize).to(memory_format=torch.channels_last)


def is_import_path(name: str) -> bool:
    """Return whether the name of a backbone is an import path, such as ``my_module:build``."""
    return ":" in name


def import_backbone(name: str) -> Callable[[int], nn.Module]:
    """Return the function or class behind an import path.

    Raises:
        SettingError: If the path is malformed, or there is no such module or function.
    """
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise SettingError(f"The backbone {name!r} is not an import path. Write it as my_module:build.")
    try:
        target: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module and not module.startswith(f"{error.name}."):
            raise SettingError(f"The backbone {name!r} cannot be imported ({error}). Install what it needs.") from error
        raise SettingError(
            f"The backbone {name!r}: there is no module {module!r} in the current folder or installed."
        ) from error
    for part in function.split("."):
        if not hasattr(target, part):
            raise SettingError(
                f"The backbone {name!r}: {module} has no {function!r}.{did_you_mean(part, vars(target))}"
            )
        target = getattr(target, part)
    if not callable(target):
        raise SettingError(f"The backbone {name!r} is a {type(target).__name__}, not a function or class. Name one.")
    return cast("Callable[[int], nn.Module]", target)


def backbone_key(name: str) -> str:
    """Return what identifies a backbone: its name; for an import path also a hash of the file that defines it."""
    if not is_import_path(name):
        return name
    try:
        source = inspect.getsourcefile(inspect.unwrap(import_backbone(name)))
    except TypeError:  # Built-in.
        source = None
    return name if source is None else f"{name} {digest(Path(source).read_bytes())}"


def _own_backbone(name: str, num_outputs: int) -> nn.Module:
    build = import_backbone(name)
    try:
        inspect.signature(build).bind(num_outputs)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"The backbone {name!r} cannot be built ({error}). It is called with one argument, the number of outputs."
        ) from error
    network = build(num_outputs)
    if not isinstance(network, nn.Module):
        raise SettingError(f"The backbone {name!r} returned a {type(network).__name__}, not a torch.nn.Module.")
    return network


def _backbone(name: str, num_outputs: int, pretrained: bool) -> nn.Module:
    if is_import_path(name):
        if pretrained:
            raise SettingError(f"{name!r} loads its own weights, if any. Use --model.pretrained false.")
        return _own_backbone(name, num_outputs)
    if name in TORCHVISION:
        network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
        head = "fc" if hasattr(network, "fc") else "classifier.1"
        parent, _, last = head.rpartition(".")
        features = int(cast(nn.Linear, network.get_submodule(head)).in_features)
        network.get_submodule(parent).register_module(last, nn.Linear(features, num_outputs))
        return network
    if name == SLIM:
        if pretrained:
            raise SettingError(f"{SLIM!r} has no ImageNet weights. Use --model.backbone resnet18, or pretrained false.")
        block: Any = timm.models.resnet.BasicBlock  # timm's annotation requires an instance, its code the class.
        channels = (32, 64, 128, 256)
        return timm.models.resnet.ResNet(block, (2, 2, 2, 2), num_classes=num_outputs, channels=channels, stem_width=32)
    if not timm.is_model(name):
        names = (*TORCHVISION, SLIM, *timm.list_models())
        raise SettingError(
            f"Unknown backbone {name!r}.{did_you_mean(name, names)} Known: {', '.join((*TORCHVISION, SLIM))}, all "
            "models of timm, and import paths of your own (my_module:build)."
        )
    return timm.create_model(name, pretrained=pretrained, num_classes=num_outputs)
