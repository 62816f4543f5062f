"""The parts of a network, from its input to its head: what CF-k and EU-k count, freeze and initialise anew."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from gli.errors import SettingError
from gli.models.backbones import Classifier

#: Children that are no part themselves but a row of parts (torchvision's EfficientNet; timm's transformers and others).
ROWS_OF_BLOCKS = ("features", "blocks", "stages", "layers", "levels")
Part = list[nn.Module]


def _children(network: nn.Module) -> Iterator[nn.Module]:
    for name, child in network.named_children():
        if name in ROWS_OF_BLOCKS and isinstance(child, nn.Sequential | nn.ModuleList):
            yield from child.children()
        else:
            yield child


def parts(model: nn.Module) -> list[Part]:
    """The parts of a network in its own order: for a ResNet the stem, layer1 to layer4, and the head.

    A normalisation goes with the layer before it; children without parameters, such as pooling, are no part.
    """
    found: list[Part] = []
    for child in _children(model.backbone if isinstance(model, Classifier) else model):
        weights = list(child.parameters())
        if any(weight.ndim > 1 for weight in weights) or (weights and not found):
            found.append([child])
        elif weights:
            found[-1].append(child)
    return found


def last_blocks(model: nn.Module, k: int) -> list[Part]:
    """The last k parts of a network.

    Raises:
        SettingError: If it has not so many, or k is less than one.
    """
    found = parts(model)
    if not 1 <= k <= len(found):
        raise SettingError(
            f"model.k is {k}; this network has {len(found)} parts, so that k lies between 1 and {len(found)}."
        )
    return found[-k:]


def freeze_except(model: nn.Module, trained: list[Part]) -> None:
    """Freeze everything but these parts: no gradients for the rest (for its modes see :func:`frozen_modules`)."""
    model.requires_grad_(False)
    for part in trained:
        for module in part:
            module.requires_grad_(True)


def reinitialise(trained: list[Part], fresh: list[Part]) -> None:
    """Give parts the weights and statistics of the same parts of a fresh network."""
    for part, new in zip(trained, fresh, strict=True):
        for module, source in zip(part, new, strict=True):
            module.load_state_dict(source.state_dict())


def frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules none of whose parameters is trained; what they hold besides (BatchNorm's statistics) is frozen too.

    In a network that is trained in part, statistics that belong to no parameters (BatchNorm without weights) are frozen
    where they are not inside a part that is trained.
    """
    weights = list(module.parameters())
    if weights and all(weight.requires_grad for weight in weights):
        return
    if not any(weight.requires_grad for weight in weights):
        if weights or any(True for _ in module.buffers()):
            yield module
        return
    for child in module.children():
        yield from frozen_modules(child)
