"""One iteration of every method in plain PyTorch, without the cost of a framework.

Each function takes the method of a run, from which it reads settings, teachers and the model without changing them. It
returns a copy of the model, and a function that performs the method's iteration on this copy, from float images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gli.data.loading import Batch
from gli.methods import Method


class ModelCopy:
    """Copy of a method's model, with an optimiser in the same state.

    Args:
        method: The method in the middle of a run.
        memory_format: Memory format of the copy; PyTorch's default is ``torch.contiguous_format``.
    """

    def __init__(self, method: Method, memory_format: torch.memory_format = torch.channels_last) -> None:
        self.model: nn.Module = copy.deepcopy(method.model).to(memory_format=memory_format)
        for module, original in zip(self.model.modules(), method.model.modules(), strict=True):
            module.training = original.training and method.batch_norm != "train_first"
        optimizer = method.optimizers().optimizer  # type: ignore[union-attr]
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        group = optimizer.param_groups[0]
        settings = {name: group[name] for name in ("lr", "weight_decay", "momentum") if name in group}
        self.optimizer: torch.optim.Optimizer = type(optimizer)(trained, **settings)
        self.optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def minimise(self, loss: Tensor) -> None:
        """Take one optimiser step on a scalar loss."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy of a batch."""
        return functional.cross_entropy(self.model(batch.images), batch.labels)


#: Performs an iteration on a retain and a forget batch; the batch of a set that the pass does not name is None.
Step = Callable[[Any, Any], None]
#: Builds the bare loop of a method in the middle of a run.
LoopBuilder = Callable[[Any], tuple[ModelCopy, Step]]


def fine_tune(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of FineTune, CFk, EUk, Original and Retrained."""
    bare = ModelCopy(method)
    return bare, lambda retain, forget: bare.minimise(bare.loss(retain))


def neg_grad(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of NegGrad: gradient ascent on forget."""
    bare = ModelCopy(method)
    return bare, lambda retain, forget: bare.minimise(-bare.loss(forget))


def advanced_neg_grad(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of AdvancedNegGrad: descent on retain and ascent on forget in one step."""
    bare, (retain_weight, forget_weight) = ModelCopy(method), method.weights

    def step(retain: Batch, forget: Batch) -> None:
        bare.minimise(retain_weight * bare.loss(retain) - forget_weight * bare.loss(forget))

    return bare, step


def _divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student), the mean over the batch."""
    student = functional.log_softmax(student_logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1).mean()


def scrub(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of SCRUB, with its max steps on forget and min steps on retain."""
    bare, teacher, temperature = ModelCopy(method), method.teacher("original"), method.temperature

    def step(retain: Batch | None, forget: Batch) -> None:
        images = forget.images if retain is None else retain.images
        with torch.no_grad():
            teacher_logits = teacher(images)
        logits = bare.model(images)
        divergence = temperature**2 * _divergence(logits, teacher_logits, temperature)
        if retain is None:
            bare.minimise(-divergence)
        else:
            class_loss = functional.cross_entropy(logits, retain.labels)
            bare.minimise(method.alpha * divergence + method.gamma * class_loss)

    return bare, step


def bad_teaching(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of BadTeaching: distillation from two teachers."""
    bare, competent, incompetent = ModelCopy(method), method.teacher("original"), method.teacher("incompetent")

    def step(retain: Batch, forget: Batch) -> None:
        with torch.no_grad():
            teacher_logits = torch.cat([competent(retain.images), incompetent(forget.images)])
        logits = bare.model(torch.cat([retain.images, forget.images]))
        bare.minimise(_divergence(logits, teacher_logits, method.temperature))

    return bare, step


def unsir(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of UNSIR: impair with noise that maximises the error, then repair."""
    bare = ModelCopy(method)

    def step(retain: Batch, forget: Batch | None) -> None:
        if forget is None:
            bare.minimise(bare.loss(retain))
            return
        noise = method.seeded_randn_like(forget.images).requires_grad_(True)
        adam = torch.optim.Adam([noise], lr=method.noise_lr)
        with torch.no_grad():
            forget_features = bare.model(forget.images)
        for _ in range(method.noise_steps):
            (noise.grad,) = torch.autograd.grad(-functional.mse_loss(bare.model(noise), forget_features), noise)
            adam.step()
        noise_loss = functional.cross_entropy(bare.model(noise.detach().clamp(0, 1)), retain.labels)
        bare.minimise(noise_loss + bare.loss(retain))

    return bare, step


def gli_minimal(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of GLI or LI at minimal cost.

    An iteration has one forward pass of forget, T gradients of the pixels only, and one training step.
    """
    bare, guided = ModelCopy(method), type(method).__name__ == "GLI"

    def step(retain: Batch, forget: Batch) -> None:
        model, images = bare.model, retain.images
        with torch.no_grad():
            forget_features = model(forget.images)
        perturbation = torch.zeros_like(images)
        for inner_step in range(method.steps):
            perturbation.requires_grad_(True)
            logits = model((images + perturbation).clamp(0, 1))
            loss = -functional.mse_loss(logits, forget_features)
            if guided:
                loss = method.weight(inner_step) * functional.cross_entropy(logits, retain.labels) + loss
            (gradient,) = torch.autograd.grad(loss, perturbation)
            perturbation = perturbation.detach() - method.step_size * gradient.sign()
        bare.minimise(bare.loss(retain._replace(images=(images + perturbation).clamp(0, 1))))

    return bare, step


def gli_released(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of GLI as in the released code.

    Every inner step computes the features of the forget batch, and the gradients of all parameters.
    """
    bare = ModelCopy(method, torch.contiguous_format)

    def step(retain: Batch, forget: Batch) -> None:
        model, images, forget_images = bare.model, retain.images.contiguous(), forget.images.contiguous()
        perturbation = torch.zeros_like(images)
        for inner_step in range(method.steps):
            perturbation.requires_grad_(True)
            bare.optimizer.zero_grad()
            logits = model((images + perturbation).clamp(0, 1))
            distance = functional.mse_loss(logits, model(forget_images).detach())
            (method.weight(inner_step) * functional.cross_entropy(logits, retain.labels) - distance).backward()
            gradient: Any = perturbation.grad
            perturbation = perturbation.detach() - method.step_size * gradient.sign()
        bare.minimise(bare.loss(retain._replace(images=(images + perturbation).clamp(0, 1))))

    return bare, step


#: Builders of the bare loop of each method, by its name.
BARE_LOOPS: dict[str, LoopBuilder] = {
    **dict.fromkeys(("Original", "Retrained", "FineTune", "CFk", "EUk"), fine_tune),
    "NegGrad": neg_grad,
    "AdvancedNegGrad": advanced_neg_grad,
    "SCRUB": scrub,
    "BadTeaching": bad_teaching,
    "UNSIR": unsir,
    **dict.fromkeys(("LI", "GLI"), gli_minimal),
}
