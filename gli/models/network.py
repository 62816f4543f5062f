"""A network that the user gives as an object, in place of one that is built by the name of its backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gli.errors import CheckpointError, SettingError
from gli.models.backbones import Classifier

#: What a method's model, a classifier, puts before the names of the network's weights in a checkpoint.
PREFIX = "model.backbone."


@dataclass(frozen=True)
class Network:
    """A network given as an object. It is never changed: methods work on copies.

    Attributes:
        module: From images in [0, 1], shape ``(batch, channels, height, width)``, to logits ``(batch, outputs)``.
        blocks: Names of its blocks from input to head; None to find them.
        build: Returns a newly initialised network of the same architecture; None to reinitialise a copy of ``module``.
        outputs: Returns the logits of what the network returns, where that is no tensor; None to look for ``.logits``.
    """

    module: nn.Module
    blocks: tuple[str, ...] | None = None
    build: Callable[[], nn.Module] | None = None
    outputs: Callable[[Any], Tensor] | None = None

    @property
    def name(self) -> str:
        """Name of the network's class."""
        return type(self.module).__name__

    def classifier(self) -> Classifier:
        """Return a copy, in the layout of all classifiers of gli, with gradients for every weight that had one."""
        return self._classifier(copy.deepcopy(self.module))

    def fresh(self) -> Classifier:
        """Return a newly initialised classifier; call within a seed of its own.

        Raises:
            SettingError: If a weight belongs to a module that cannot be reinitialised and no ``build`` was given.
        """
        return self._classifier(reinitialised(self.module) if self.build is None else self.build())

    def _classifier(self, module: nn.Module) -> Classifier:
        # Channels-last as in build_classifier, so that both give the same numbers.
        return Classifier(module, blocks=self.blocks, outputs=self.outputs).to(memory_format=torch.channels_last)

    def with_weights(self, state: Mapping[str, Tensor], where: object) -> nn.Module:
        """Return a copy of the user's own network with the weights of a checkpoint of a run, in eval mode.

        ``state`` is the state dict of a method, and ``where`` names the checkpoint in the CheckpointError if it is of
        another architecture.
        """
        module = copy.deepcopy(self.module)
        weights = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{where}: holds weights of another network than this {self.name} ({error})."
            ) from error
        return module.eval()


def block_names(module: nn.Module, blocks: Sequence[str | nn.Module]) -> tuple[str, ...]:
    """Return the names of blocks, which may be given as names or as modules of the network.

    Raises:
        SettingError: If there are none, one is named twice, or a module is not part of the network.
    """
    if isinstance(blocks, str) or not blocks:
        raise SettingError(f"blocks is {blocks!r}; give a list of names or modules from input to head.")
    names = {id(part): name for name, part in module.named_modules()}
    result = []
    for block in blocks:
        if isinstance(block, nn.Module) and id(block) not in names:
            raise SettingError(f"blocks: a {type(block).__name__} is not part of the {type(module).__name__}.")
        result.append(names[id(block)] if isinstance(block, nn.Module) else block)
        if result[-1] in result[:-1]:
            raise SettingError(f"blocks: {result[-1]!r} is named twice.")
    return tuple(result)


def reinitialised(module: nn.Module) -> nn.Module:
    """Return a newly initialised copy: each layer by its own ``reset_parameters``.

    Raises:
        SettingError: If a layer has weights of its own but no such function, as the embedding of a transformer.
    """
    fresh = copy.deepcopy(module)
    for name, part in fresh.named_modules():
        tensors = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        reset: Any = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        elif tensors and any(True for _ in part.parameters(recurse=False)):
            raise SettingError(
                f"The {type(part).__name__} {name or 'at the top'} of the network cannot be reinitialised: it has no "
                "reset_parameters(). Give a function that builds a new network: build=lambda: MyNetwork()."
            )
    return fresh


def outputs_of(network: Network, image: npt.NDArray[Any], *, train: bool = False) -> int:
    """Return the number of logits of a network.

    Args:
        network: The network; its mode is left as it is.
        image: One image, shape ``(height, width, channels)``, in [0, 255].
        train: Whether to call a copy of it in train mode.

    Raises:
        SettingError: If the network does not return logits of that shape.
    """
    module = copy.deepcopy(network.module) if train else network.module
    model = Classifier(module, outputs=network.outputs)
    weight = next(module.parameters(), torch.zeros(()))
    batch = torch.from_numpy(np.stack([image, image])).permute(0, 3, 1, 2).to(weight.device) / 255
    modes = {part: part.training for part in module.modules()}
    model.train(train)
    try:
        with torch.no_grad():
            logits: Any = model(batch)
    except (RuntimeError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        who = f"The model {'' if network.outputs is None else 'with outputs= '}cannot take images of shape"
        raise SettingError(f"{who} {tuple(batch.shape[1:])} in float32: {type(error).__name__}: {error}") from error
    finally:
        for part, training in modes.items():
            part.training = training
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 2:
        shown = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise SettingError(
            f"The model returned {shown} for two images{' in train mode' if train else ''}; it must return logits of "
            "shape (2, outputs), alone or as .logits. Say where they are: outputs=lambda y: y[0]."
        )
    return int(logits.shape[1])
