"""The blocks of a network, from its input to its head, which CF-k and EU-k count, freeze and reinitialise."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from gli.errors import SettingError
from gli.models.backbones import Classifier

#: Children that contain blocks (torchvision's EfficientNet; timm's transformers and others).
CONTAINERS = ("features", "blocks", "stages", "layers", "levels")
#: A layer, and the normalisations that follow it.
Block = list[nn.Module]


def _children(network: nn.Module) -> Iterator[nn.Module]:
    for name, child in network.named_children():
        if name in CONTAINERS and isinstance(child, nn.Sequential | nn.ModuleList):
            yield from child.children()
        else:
            yield child


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside a classifier and inside modules that only wrap one other, to normalise for example."""
    network = model.backbone if isinstance(model, Classifier) else model
    while True:
        children = [child for child in network.children() if any(True for _ in child.parameters())]
        if len(children) != 1 or not any(True for _ in children[0].children()):
            return network
        if any(True for _ in network.parameters(recurse=False)):
            return network
        network = children[0]


def blocks(model: nn.Module) -> list[Block]:
    """Return the blocks of a network in order: for a ResNet the stem, layer1 to layer4, and the head.

    A normalisation belongs to the block before it. Children without parameters, such as pooling, are not blocks. A
    classifier that was given the names of its blocks has those.
    """
    if isinstance(model, Classifier) and model.block_names is not None:
        return [[model.backbone.get_submodule(name)] for name in model.block_names]
    result: list[Block] = []
    for child in _children(_unwrapped(model)):
        weights = list(child.parameters())
        if any(weight.ndim > 1 for weight in weights) or (weights and not result):
            result.append([child])
        elif weights:
            result[-1].append(child)
    return result


def last_blocks(model: nn.Module, k: int) -> list[Block]:
    """Return the last k blocks of a network; SettingError if it has not as many."""
    all_blocks = blocks(model)
    count = len(all_blocks)
    if not 1 <= k <= count:
        raise SettingError(f"model.k is {k}; this network has {count} blocks: use a k from 1 to {count}.")
    return all_blocks[-k:]


def freeze_except(model: nn.Module, trained: list[Block]) -> None:
    """Disable the gradients of all other blocks (for their modes see :func:`frozen_modules`)."""
    model.requires_grad_(False)
    for block in trained:
        for module in block:
            module.requires_grad_(True)


def reinitialise(trained: list[Block], fresh: list[Block]) -> None:
    """Copy weights and statistics from the same blocks of a newly initialised network."""
    for block, new in zip(trained, fresh, strict=True):
        for module, source in zip(block, new, strict=True):
            module.load_state_dict(source.state_dict())


def frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest modules without trained parameters, whose statistics (BatchNorm) are to be frozen too.

    Where only some blocks are trained, BatchNorm layers without parameters are frozen outside these blocks.
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
