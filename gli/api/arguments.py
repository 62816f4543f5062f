"""Checks of the arguments of the API, so that a mistake ends in one message before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import nn

from gli.data.given import GivenFaces
from gli.errors import SettingError
from gli.methods import Method
from gli.models.network import Network, outputs_of
from gli.system.classes import init_parameters

#: Words of the command in sentences, as regular expressions, and those of Python that say the same.
WORDS = {
    r"--(?:model|data|early_stopping)\.(\w+) (\d[\d.]*\b)": r"\1=\2",
    r"--trainer\.": "trainer's ",
    r"(?<![./\w-])(?:--)?(?:model|data)\.(?=[a-z_]+\b)": "",
    "gli audit says": "the verdict says",
}
#: Settings of methods that describe the network, which is given to :func:`gli.forget`, and what to do instead.
OF_COMMAND = {
    "original": "Give its network as model.",
    "backbone": "Give the network as model.",
    "pretrained": "Leave it out.",
    "weights": "Load them into the model.",
    "normalize": "Put the normalisation into the model: torch.nn.Sequential(normalise, model).",
}
#: Arguments of :func:`gli.forget` in earlier versions, and the setting of ``trainer`` that has taken the place of each.
MOVED = {
    "epochs": "max_epochs",
    "steps": "max_steps",
    "audit_every": "val_check_interval",
    "logger": "logger",
    "accelerator": "accelerator",
    "precision": "precision",
    "progress": "enable_progress_bar",
}
#: Largest seed, exclusive, that NumPy accepts.
SEEDS = 2**32


def check_module(module: object, name: str) -> None:
    """Refuse what is no network.

    Raises:
        SettingError: If it is the path of a file, a state dict, a class or anything else.
    """
    if not isinstance(module, nn.Module):
        kind = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
        raise SettingError(f"{name} is {kind}; give a torch.nn.Module, or the path to gli.load.")


def given_network(model: nn.Module, outputs: object) -> Network:
    """Return the network that was given as ``model``, with what reads its outputs.

    Raises:
        SettingError: If the model is no network, or ``outputs`` no function.
    """
    check_module(model, "model")
    if outputs is not None and not callable(outputs):
        raise SettingError(f"outputs is a {type(outputs).__name__}; give a function: outputs=lambda y: y.logits.")
    return Network(model, outputs=outputs)


def check_trainable(model: nn.Module) -> None:
    """Refuse a model that cannot be trained.

    Raises:
        SettingError: If it is TorchScript, its weights are not in float32, or all of them are frozen.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise SettingError("The model is TorchScript; give the torch.nn.Module that it was made from.")
    kinds = {str(each.dtype).removeprefix("torch.") for each in model.parameters() if each.is_floating_point()}
    if other := sorted(kinds - {"float32"}):
        raise SettingError(
            f"The model has weights in {', '.join(other)}; gli trains weights in float32. Give a copy: "
            "copy.deepcopy(model).float(). For mixed precision there is precision='bf16-mixed'."
        )
    if not any(each.requires_grad for each in model.parameters()):
        raise SettingError("The model has no weight to train: requires_grad is False for each. Set it on some of them.")


def check_outputs(network: Network, name: str, data: GivenFaces, *, train: bool = False) -> None:
    """Refuse a network that answers another question than the model.

    Args:
        network: The network.
        name: Name of the argument, for the message.
        data: The data of the model.
        train: Whether to look at its outputs in train mode.

    Raises:
        SettingError: If the number of its outputs is another one.
    """
    own = outputs_of(network, data.pixels[data.rows("forget")[:1]][0], train=train)
    outputs = data.faces.task.num_outputs
    if own != outputs:
        raise SettingError(
            f"{name} has {own} outputs, but the model has {outputs}. Give a network of the same classes."
        )


def check_moved(arguments: Mapping[str, object]) -> None:
    """Refuse arguments of earlier versions, and those that never were.

    Raises:
        SettingError: If an argument is now a setting of the trainer.
        TypeError: If there is no such argument.
    """
    for name, value in arguments.items():
        if name not in MOVED:
            raise TypeError(f"forget() got an unexpected keyword argument {name!r}")
        raise SettingError(f"{name} is a setting of the trainer now; give trainer={{{MOVED[name]!r}: {value!r}}}.")


def check_run(
    method: object,
    build: Callable[[], nn.Module] | None,
    trainer: Mapping[str, object],
    patience: int | None,
    keep: str,
    seed: int,
) -> None:
    """Check the arguments of :func:`gli.forget` that no other part of gli checks.

    Raises:
        SettingError: If one of them makes no sense.
    """
    if not isinstance(method, Method):
        shown = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise SettingError(f"method is {shown}; give an object, such as gli.methods.SCRUB(lr=1e-3).")
    for name, remedy in OF_COMMAND.items():
        value = method.hparams.get(name)
        if value is not None and value != init_parameters(type(method))[name].default:
            raise SettingError(f"{method.name} has {name}={value!r}, a setting of the command. {remedy}")
    if build is not None and (isinstance(build, nn.Module) or not callable(build)):
        raise SettingError(f"build is a {type(build).__name__}; give a function: build=lambda: MyNetwork().")
    for name in ("max_epochs", "max_steps"):
        if trainer.get(name) == 0:
            raise SettingError(f"trainer's {name} is 0; it must be at least 1.")
    if patience is not None and patience < 1:
        raise SettingError(f"patience is {patience}; it must be at least 1, or None.")
    if keep not in ("best", "last"):
        raise SettingError(f"keep is {keep!r}; it must be 'best' or 'last'.")
    if not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise SettingError(f"seed is {seed!r}; it must be a whole number from 0 to {SEEDS - 1}.")


def check_margin(margin: float) -> None:
    """Refuse a margin outside (0, 0.5).

    Raises:
        SettingError: If it is.
    """
    if not 0 < margin < 0.5:
        raise SettingError(f"margin is {margin:g}; it must lie between 0 and 0.5.")


def in_python(sentence: str) -> str:
    """Return a sentence of the command in the words of :func:`gli.forget`."""
    for pattern, replacement in WORDS.items():
        sentence = re.sub(pattern, replacement, sentence)
    return sentence
