"""One iteration of every method in plain torch: the cost of the arithmetic alone.

Each function takes the method of a run, reads its settings, teachers and model without changing them, and returns a
function that does the method's iteration on a model and an optimiser of its own, from a batch of floats.
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

Step = Callable[[Batch | None, Batch | None], None]


class Plain:
    """A copy of a method's model, with an optimiser in the same state.

    Args:
        method: The method in the middle of a run.
        layout: Memory layout of the copy; torch's own is ``torch.contiguous_format``.
    """

    def __init__(self, method: Method, layout: torch.memory_format = torch.channels_last) -> None:
        self.model: nn.Module = copy.deepcopy(method.model).to(memory_format=layout)
        for module, original in zip(self.model.modules(), method.model.modules(), strict=True):
            module.training = original.training and method.batch_norm != "train_first"
        theirs = method.optimizers().optimizer  # type: ignore[union-attr]
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        group = theirs.param_groups[0]
        settings = {name: group[name] for name in ("lr", "weight_decay", "momentum") if name in group}
        self.optimizer: torch.optim.Optimizer = type(theirs)(trained, **settings)
        self.optimizer.load_state_dict(copy.deepcopy(theirs.state_dict()))

    def descend(self, loss: Tensor) -> None:
        """Take one optimiser step."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy of a batch."""
        return functional.cross_entropy(self.model(batch.images), batch.labels)


def fine_tune(method: Method) -> tuple[Plain, Step]:
    """FineTune, CFk, EUk, Original, Retrained."""
    plain = Plain(method)
    return plain, lambda retain, forget: plain.descend(plain.loss(retain))


def neg_grad(method: Method) -> tuple[Plain, Step]:
    """Gradient ascent on forget."""
    plain = Plain(method)
    return plain, lambda retain, forget: plain.descend(-plain.loss(forget))


def advanced_neg_grad(method: Any) -> tuple[Plain, Step]:
    """Descent on retain and ascent on forget in one step."""
    plain, (one, other) = Plain(method), method.weights

    def step(retain: Batch, forget: Batch) -> None:
        plain.descend(one * plain.loss(retain) - other * plain.loss(forget))

    return plain, step


def _kl(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(taught / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1).mean()


def scrub(method: Any) -> tuple[Plain, Step]:
    """SCRUB's two kinds of steps."""
    plain, teacher, heat = Plain(method), method.teacher("original"), method.temperature

    def step(retain: Batch | None, forget: Batch | None) -> None:
        images = (retain or forget).images
        with torch.no_grad():
            taught = teacher(images)
        logits = plain.model(images)
        divergence = heat**2 * _kl(logits, taught, heat)
        if retain is None:
            plain.descend(-divergence)
        else:
            class_loss = functional.cross_entropy(logits, retain.labels)
            plain.descend(method.alpha * divergence + method.gamma * class_loss)

    return plain, step


def bad_teaching(method: Any) -> tuple[Plain, Step]:
    """Distillation from two teachers."""
    plain, competent, incompetent = Plain(method), method.teacher("original"), method.teacher("incompetent")

    def step(retain: Batch, forget: Batch) -> None:
        with torch.no_grad():
            taught = torch.cat([competent(retain.images), incompetent(forget.images)])
        plain.descend(_kl(plain.model(torch.cat([retain.images, forget.images])), taught, method.temperature))

    return plain, step


def unsir(method: Any) -> tuple[Plain, Step]:
    """Both stages of UNSIR: noise that maximises the error, then repair."""
    plain = Plain(method)

    def step(retain: Batch, forget: Batch | None) -> None:
        if forget is None:
            plain.descend(plain.loss(retain))
            return
        noise = method.seeded_randn_like(forget.images).requires_grad_(True)
        adam = torch.optim.Adam([noise], lr=method.noise_lr)
        with torch.no_grad():
            away = plain.model(forget.images)
        for _ in range(method.noise_steps):
            (noise.grad,) = torch.autograd.grad(-functional.mse_loss(plain.model(noise), away), noise)
            adam.step()
        noisy = functional.cross_entropy(plain.model(noise.detach().clamp(0, 1)), retain.labels)
        plain.descend(noisy + plain.loss(retain))

    return plain, step


def gli(method: Any) -> tuple[Plain, Step]:
    """GLI and LI at minimal cost: one forward pass of forget, T gradients of the pixels only, one training step."""
    plain, guided = Plain(method), type(method).__name__ == "GLI"

    def step(retain: Batch, forget: Batch) -> None:
        model, images = plain.model, retain.images
        with torch.no_grad():
            away = model(forget.images)
        noise = torch.zeros_like(images)
        for number in range(method.steps):
            noise.requires_grad_(True)
            logits = model((images + noise).clamp(0, 1))
            loss = -functional.mse_loss(logits, away)
            if guided:
                loss = method.weight(number) * functional.cross_entropy(logits, retain.labels) + loss
            (gradient,) = torch.autograd.grad(loss, noise)
            noise = noise.detach() - method.step_size * gradient.sign()
        plain.descend(plain.loss(retain._replace(images=(images + noise).clamp(0, 1))))

    return plain, step


def gli_released(method: Any) -> tuple[Plain, Step]:
    """GLI as released: features of the forget batch in every inner step, gradients of all parameters with them."""
    plain = Plain(method, torch.contiguous_format)

    def step(retain: Batch, forget: Batch) -> None:
        model, images, others = plain.model, retain.images.contiguous(), forget.images.contiguous()
        noise = torch.zeros_like(images)
        for number in range(method.steps):
            noise.requires_grad_(True)
            plain.optimizer.zero_grad()
            logits = model((images + noise).clamp(0, 1))
            distance = functional.mse_loss(logits, model(others).detach())
            (method.weight(number) * functional.cross_entropy(logits, retain.labels) - distance).backward()
            noise = noise.detach() - method.step_size * noise.grad.sign()  # type: ignore[union-attr]
        plain.descend(plain.loss(retain._replace(images=(images + noise).clamp(0, 1))))

    return plain, step


PLAIN: dict[str, Callable[[Any], tuple[Plain, Step]]] = {
    **dict.fromkeys(("Original", "Retrained", "FineTune", "CFk", "EUk"), fine_tune),
    "NegGrad": neg_grad,
    "AdvancedNegGrad": advanced_neg_grad,
    "SCRUB": scrub,
    "BadTeaching": bad_teaching,
    "UNSIR": unsir,
    **dict.fromkeys(("LI", "GLI"), gli),
}
