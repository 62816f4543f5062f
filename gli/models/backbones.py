"""Backbones by name, with a linear head."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
import torchvision
from torch import Tensor, nn

from gli.errors import SettingError, did_you_mean

TORCHVISION = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "wide_resnet101_2", "efficientnet_b0")
#: ResNet-18 with half of the channels after the stem.
SLIM = "resnet18_slim"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """A backbone for images in [0, 1], with normalisation as an optional first step.

    Args:
        backbone: Network from normalised images to logits.
        normalize: Whether to normalise by ImageNet's mean and standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, normalize: bool = False) -> None:
        super().__init__()
        self.backbone, self.normalize = backbone, normalize
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(batch, outputs)`` of images of shape ``(batch, 3, height, width)``."""
        logits: Tensor = self.backbone((images - self.mean) / self.std if self.normalize else images)
        return logits


def build_classifier(name: str, num_outputs: int, *, pretrained: bool = False, normalize: bool = False) -> Classifier:
    """Return a newly initialised classifier with a linear head.

    Args:
        name: A torchvision ResNet, WideResNet or EfficientNet (see ``TORCHVISION``), ``resnet18_slim`` (half the
            channels of ResNet-18 after the stem), or any model of timm.
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


def _backbone(name: str, num_outputs: int, pretrained: bool) -> nn.Module:
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
        known = (*TORCHVISION, SLIM, *timm.list_models())
        raise SettingError(
            f"Unknown backbone {name!r}.{did_you_mean(name, known)} Known: {', '.join((*TORCHVISION, SLIM))}, and all "
            "models of timm."
        )
    return timm.create_model(name, pretrained=pretrained, num_classes=num_outputs)
