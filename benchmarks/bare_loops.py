"""One iteration of every method in plain PyTorch, without the cost of a framework.

Each function takes the method of a run, from which it reads settings, teachers and the model without changing them. It
returns a copy of the model, and a function that performs the method's iteration on this copy, from float images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gli.data.loading import Batch
from gli.data.views import VIEWS
from gli.methods import Method
from gli.methods.seeding import seeded_generator, seeded_randn_like


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
        self._followed = optimizer

    def minimise(self, loss: Tensor) -> None:
        """Take one optimiser step on a scalar loss, at the learning rate of the method's step."""
        self.backward(loss)
        self.optimizer.step()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a scalar loss, and take over the learning rate of the method's step."""
        for group, followed in zip(self.optimizer.param_groups, self._followed.param_groups, strict=True):
            group["lr"] = followed["lr"]
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy of a batch."""
        return functional.cross_entropy(self.model(batch.images), batch.labels)


#: Performs an iteration on a retain and a forget batch; the batch of a set that the pass does not name is None.
Step = Callable[[Any, Any], None]
#: Builds the bare loop of a method in the middle of a run.
LoopBuilder = Callable[[Any], tuple[ModelCopy, Step]]


def fine_tune(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of FineTune, CFk, EUk, CT, Original, Retrained and RetrainBriefly."""
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


def transpose_distil(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of TransposeDistil: distillation from the original on retain."""
    bare, teacher, temperature = ModelCopy(method), method.teacher("original"), method.temperature

    def step(retain: Batch, forget: Batch) -> None:
        with torch.no_grad():
            teacher_logits = teacher(retain.images)
        bare.minimise(temperature**2 * _divergence(bare.model(retain.images), teacher_logits, temperature))

    return bare, step


def _strangers(method: Any) -> Callable[[Batch], Tensor]:
    """Return a function of a batch: for each image, the mean logits of the networks that never saw its person."""
    networks = {rows: method.cohort_network(rows) for rows in method.cohort_files}
    trained_on = {rows: torch.from_numpy(method.data.rows(rows)) for rows in networks}

    @torch.no_grad()
    def answers(batch: Batch) -> Tensor:
        logits = torch.stack([network(batch.images) for network in networks.values()])
        strange = torch.stack([~torch.isin(batch.index, rows) for rows in trained_on.values()])[:, :, None]
        return (logits * strange).sum(dim=0) / strange.sum(dim=0)

    return answers


def served(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of Served: distillation on retain from networks that never saw the person."""
    bare, answers, temperature, share = ModelCopy(method), _strangers(method), method.temperature, method.label_share

    def step(retain: Batch, forget: Batch) -> None:
        logits = bare.model(retain.images)
        divergence = temperature**2 * _divergence(logits, answers(retain), temperature)
        bare.minimise((1 - share) * divergence + share * functional.cross_entropy(logits, retain.labels))

    return bare, step


def out_of_fold(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of OutOfFold: forget from networks that never saw the person, retain from the original."""
    bare, answers, temperature = ModelCopy(method), _strangers(method), method.temperature
    teacher, views = method.teacher("original"), [VIEWS.get(view, lambda image: image) for view in method.views]

    def in_turn(batch: Batch) -> Batch:
        turns = ((batch.index + method.iteration) % len(views)).tolist()
        shown = [views[turn](batch.images[[at]]) for at, turn in enumerate(turns)]
        return batch._replace(images=torch.cat(shown).contiguous())

    def step(retain: Batch, forget: Batch) -> None:
        retain, forget = in_turn(retain), in_turn(forget)
        with torch.no_grad():
            own = teacher(retain.images)
        forget_logits, logits = bare.model(torch.cat([forget.images, retain.images])).chunk(2)
        divergences = _divergence(forget_logits, answers(forget), temperature) + _divergence(logits, own, temperature)
        bare.minimise(temperature**2 * divergences)

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
        noise = seeded_randn_like(forget.images, method).requires_grad_(True)
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


def l1_sparse(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of L1Sparse: fine-tuning with a penalty on the absolute weights."""
    bare = ModelCopy(method)

    def step(retain: Batch, forget: None) -> None:
        weight = method.alpha * (1 - method.iteration / method.total_iterations)
        norm = torch.stack([parameter.abs().sum() for parameter in bare.model.parameters()]).sum()
        bare.minimise(bare.loss(retain) + weight * norm)

    return bare, step


def msg(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of MSG: fine-tuning in which some gradients are slowed."""
    bare = ModelCopy(method)
    weights = dict(bare.model.named_parameters())

    def step(retain: Batch, forget: None) -> None:
        bare.backward(bare.loss(retain))
        for name, factor in method.factors.items():
            weights[name].grad.mul_(factor)  # type: ignore[union-attr]
        bare.optimizer.step()

    return bare, step


def random_labels(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of RandomLabels, and of SalUn with its mask."""
    bare, masks = ModelCopy(method), getattr(method, "masks", {})
    weights = dict(bare.model.named_parameters())

    def step(retain: Batch, forget: Batch) -> None:
        images = torch.cat([retain.images, forget.images])
        labels = torch.cat([retain.labels, method.wrong_labels(forget)])
        bare.backward(functional.cross_entropy(bare.model(images), labels))
        before = {name: weights[name].detach().clone() for name in masks}
        for name, mask in masks.items():
            weights[name].grad.mul_(mask)  # type: ignore[union-attr]
        bare.optimizer.step()
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].copy_(torch.where(mask, weights[name], before[name]))

    return bare, step


def sfron(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of SFRon: a masked ascent on forget in some iterations, then descent on retain."""
    bare = ModelCopy(method)
    weights = dict(bare.model.named_parameters())

    def step(retain: Batch, forget: Batch) -> None:
        if method.iteration % method.every == 0:
            losses = functional.cross_entropy(bare.model(forget.images), forget.labels, reduction="none")
            shares = losses.detach().clamp(min=1e-8) ** -method.power
            shares = shares / shares.mean()
            decay = 0.5 * (1 + math.cos(math.pi * method.iteration / method.total_iterations))
            bare.backward(-method.scale * decay * (shares * losses).mean())
            for name, mask in method.masks.items():
                weights[name].grad.mul_(mask)  # type: ignore[union-attr]
            torch.nn.utils.clip_grad_norm_(weights.values(), method.ascent_clip)
            bare.optimizer.step()
        bare.minimise(bare.loss(retain))

    return bare, step


def lotus(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of LoTUS: cross-entropy with sampled targets."""
    bare = ModelCopy(method)

    def step(retain: Batch, forget: Batch) -> None:
        logits = bare.model(torch.cat([retain.images, forget.images]))
        bare.minimise(functional.cross_entropy(logits, method.targets(retain, forget)))

    return bare, step


def noisy_fine_tune(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of NoisyFineTune: clipped gradients of the head, and noise on its weights."""
    bare = ModelCopy(method)
    head = [parameter for parameter in bare.model.parameters() if parameter.requires_grad]

    def step(retain: Batch, forget: None) -> None:
        bare.backward(bare.loss(retain))
        torch.nn.utils.clip_grad_norm_(head, method.gradient_clip)
        bare.optimizer.step()
        draws = seeded_generator(method.iteration, 3)
        with torch.no_grad():
            for parameter in head:
                parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=method.noise)

    return bare, step


def ssd(method: Any) -> tuple[ModelCopy, Step]:
    """Build the loop of SSD: collect squared gradients, and dampen in the last iteration."""
    bare, squares, counts = ModelCopy(method), copy.deepcopy(method.squares), dict(method.batches)

    def step(retain: Batch | None, forget: Batch | None) -> None:
        part = "forget" if retain is None else "retain"
        bare.minimise(bare.loss(forget if retain is None else retain))  # type: ignore[arg-type]
        counts[part] += 1
        with torch.no_grad():
            for name, weight in bare.model.named_parameters():
                squares[part][name] = squares[part].get(name, 0) + weight.grad**2  # type: ignore[operator]
                if method.iteration + 1 == method.total_iterations:
                    of_forget, of_retain = (squares[each][name] / counts[each] for each in ("forget", "retain"))
                    factor = (method.dampening * of_retain / of_forget).clamp(max=1)
                    weight.copy_(torch.where(of_forget > method.alpha * of_retain, factor * weight, weight))

    return bare, step


#: Builders of the bare loop of each method, by its name.
BARE_LOOPS: dict[str, LoopBuilder] = {
    **dict.fromkeys(("Original", "Retrained", "FineTune", "CFk", "EUk", "CT", "RetrainBriefly"), fine_tune),
    **dict.fromkeys(("RandomLabels", "SalUn"), random_labels),
    "L1Sparse": l1_sparse,
    "MSG": msg,
    "SFRon": sfron,
    "SSD": ssd,
    "LoTUS": lotus,
    "NoisyFineTune": noisy_fine_tune,
    "NegGrad": neg_grad,
    "AdvancedNegGrad": advanced_neg_grad,
    "SCRUB": scrub,
    "TransposeDistil": transpose_distil,
    "Served": served,
    "OutOfFold": out_of_fold,
    "BadTeaching": bad_teaching,
    "UNSIR": unsir,
    **dict.fromkeys(("LI", "GLI"), gli_minimal),
}
