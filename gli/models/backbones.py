"""Backbones by name, with a linear head."""

from __future__ import annotations

import timm
import torch
import torchvision
from torch import Tensor, nn

from gli.errors import SettingError, did_you_mean

TORCHVISION = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "wide_resnet101_2", "efficientnet_b0")


SLIM = "resnet18_slim"


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """A backbone on images in [0, 1]; normalisation, where the backbone wants it, is its first layer.

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
        """Logits of shape ``(batch, outputs)`` of images of shape ``(batch, 3, height, width)``."""
        return self.backbone((images - self.mean) / self.std if self.normalize else images)


def build_classifier(name: str, num_outputs: int, *, pretrained: bool = False, normalize: bool = False) -> Classifier:
    """A fresh classifier with a linear head.

    Args:
        name: A torchvision ResNet, WideResNet or EfficientNet (see ``TORCHVISION``), ``resnet18_slim`` (half the
            channels of ResNet-18 after the stem), or any name that timm knows.
        num_outputs: Number of logits.
        pretrained: Start from ImageNet weights, downloaded on first use; the head is new.
        normalize: Normalise by ImageNet's mean and standard deviation inside the network. The published models do not.

    Raises:
        SettingError: If nobody knows the name, the network cannot be built, or the weights cannot be had.
    """
    try:
        backbone = _backbone(name, num_outputs, pretrained)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise SettingError(f"The backbone {name!r} cannot be built ({error}). Check its name.") from error
        raise SettingError(
            f"The ImageNet weights of {name!r} cannot be downloaded ({error}). Check the network, or train from scratch "
            "with --model.pretrained false."
        ) from error
    # Channels-last is the layout of the pixel cache and the faster one for convolutions on CPU and GPU alike.
    return Classifier(backbone, normalize).to(memory_format=torch.channels_last)


def _backbone(name: str, num_outputs: int, pretrained: bool) -> nn.Module:
    if name in TORCHVISION:
        network = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
        head = "fc" if hasattr(network, "fc") else "classifier.1"
        parent, _, last = head.rpartition(".")
        old = network.get_submodule(head)
        network.get_submodule(parent).register_module(last, nn.Linear(old.in_features, num_outputs))
        return network
    if name == SLIM:
        if pretrained:
            raise SettingError(f"{SLIM!r} has no ImageNet weights. Use --model.backbone resnet18, or pretrained false.")
        return timm.models.resnet.ResNet(
            timm.models.resnet.BasicBlock,  # type: ignore[arg-type]
            (2, 2, 2, 2),
            num_classes=num_outputs,
            channels=(32, 64, 128, 256),
            stem_width=32,
        )
    if not timm.is_model(name):
        known = (*TORCHVISION, SLIM, *timm.list_models())
        raise SettingError(
            f"Unknown backbone {name!r}.{did_you_mean(name, known)} Known: {', '.join((*TORCHVISION, SLIM))}, and any of timm's."
        )
    return timm.create_model(name, pretrained=pretrained, num_classes=num_outputs)
