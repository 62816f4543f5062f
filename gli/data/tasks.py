"""Classification tasks: one class out of several, or several yes/no labels.

A task defines the loss, the loss per image, the values per image whose means are accuracies, and the divergence between
the outputs of two models, so that methods and audits are the same for both tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gli.errors import SettingError
from gli.metrics.registry import YES


@dataclass(frozen=True)
class Task(ABC):
    """Base class of the two tasks.

    Logits have shape ``(batch, num_outputs)``; labels are as each task describes them.

    Attributes:
        names: Names of the classes or labels, one per logit.
    """

    names: tuple[str, ...]

    @property
    def num_outputs(self) -> int:
        """Number of logits."""
        return len(self.names)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss, a scalar: the mean over the batch of :meth:`losses`."""
        return self.losses(logits, labels).mean()

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image in nats, shape ``(batch,)``, in float32 or float64.

        Labels may also be probabilities of shape ``(batch, num_outputs)``.
        """

    @abstractmethod
    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return values per image by name, shape ``(batch,)``; their mean over a set is the named accuracy."""

    @abstractmethod
    def margins(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the logit-scaled confidence log p - log(1 - p) of the true label, in float64, by name.

        That is ``margin``, or ``margin_<label>`` of each label; each of shape ``(batch,)``.
        """

    def truths(self, labels: Tensor) -> dict[str, Tensor]:
        """Return whether each image has a label, as ``yes_<label>`` of shape ``(batch,)``; nothing for classes."""
        return {}

    @abstractmethod
    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the Kullback-Leibler divergence KL(teacher || student) of each image in nats, shape ``(batch,)``.

        Both logits are divided by the temperature; the result is not multiplied by its square.
        """

    @abstractmethod
    def other_labels(self, labels: Tensor, uniform: Tensor) -> Tensor:
        """Return a random label of each image among all but its own, by uniform numbers in [0, 1), ``(batch,)``."""

    @abstractmethod
    def sampled_targets(self, logits: Tensor, uniform: Tensor, temperature: float | None) -> Tensor:
        """Return probabilities sampled from logits (Gumbel-softmax), shape ``(batch, num_outputs)``.

        ``uniform`` numbers in [0, 1) have the shape of the logits. Without a temperature the sample is hard: zeros and
        ones.
        """


def _double(logits: Tensor) -> Tensor:
    """Convert logits to float64, on the CPU if the device has none: a margin of float32 saturates."""
    return (logits.cpu() if logits.device.type == "mps" else logits).double()


def _wide(logits: Tensor) -> Tensor:
    """Convert half-precision logits to float32; half-precision losses would round different values to the same one."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _inside(uniform: Tensor) -> Tensor:
    """Return random numbers in [0, 1) moved into (0, 1), where the logarithms of Gumbel noise are finite."""
    return uniform.clamp(1e-7, 1 - 1e-7)


@dataclass(frozen=True)
class MultiClass(Task):
    """One class out of several: labels are class numbers of shape ``(batch,)``, the loss is the cross-entropy."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image."""
        return functional.cross_entropy(_wide(logits), labels, reduction="none")

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``accuracy`` (the true class has the largest logit) and ``top2_accuracy`` (one of the two largest)."""
        top = logits.topk(min(2, logits.shape[1]), dim=1).indices
        hits = (top == labels[:, None]).float()
        return {"accuracy": hits[:, 0], "top2_accuracy": hits.sum(dim=1)}

    def margins(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``margin``: the logit of the true class minus the log-sum-exp of all others."""
        logits = _double(logits)
        true = labels.to(logits.device)[:, None]
        rest = logits.scatter(1, true, -torch.inf).logsumexp(dim=1)
        return {"margin": logits.gather(1, true)[:, 0] - rest}

    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the divergence between the two softmax distributions."""
        student = functional.log_softmax(_wide(logits) / temperature, dim=1)
        teacher = functional.log_softmax(_wide(teacher_logits) / temperature, dim=1)
        return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)

    def other_labels(self, labels: Tensor, uniform: Tensor) -> Tensor:
        """Return the label plus a random shift from 1 to the number of classes less one, modulo that number."""
        shift = 1 + (uniform * (self.num_outputs - 1)).long()
        return (labels + shift) % self.num_outputs

    def sampled_targets(self, logits: Tensor, uniform: Tensor, temperature: float | None) -> Tensor:
        """Return the softmax of the logits plus Gumbel noise, or one at its maximum."""
        noisy = logits - (-_inside(uniform).log()).log()
        if temperature is None:
            return functional.one_hot(noisy.argmax(dim=1), self.num_outputs).to(logits.dtype)
        return (noisy / temperature).softmax(dim=1)


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several yes/no labels: 0 or 1 of shape ``(batch, num_outputs)``; the loss is their mean binary cross-entropy."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy of each image, averaged over the labels."""
        logits = _wide(logits)
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").mean(dim=1)

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``accuracy``, the mean over the labels, and ``accuracy_<label>`` of each label."""
        hits = ((logits > 0) == (labels > 0)).float()
        per_label = {f"accuracy_{name}": hits[:, column] for column, name in enumerate(self.names)}
        return {"accuracy": hits.mean(dim=1), **per_label}

    def margins(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``margin_<label>`` of each label: its logit, with the opposite sign where the label is 0."""
        logits = _double(logits)
        signed = torch.where(labels.to(logits.device) > 0, logits, -logits)
        return {f"margin_{name}": signed[:, column] for column, name in enumerate(self.names)}

    def truths(self, labels: Tensor) -> dict[str, Tensor]:
        """Return a column of 0 and 1 of each label."""
        return {f"{YES}{name}": labels[:, column].float() for column, name in enumerate(self.names)}

    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the divergence between the two Bernoulli distributions, summed over the labels."""
        student, teacher = _wide(logits) / temperature, _wide(teacher_logits) / temperature
        yes = teacher.sigmoid() * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        no = (-teacher).sigmoid() * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
        return (yes + no).sum(dim=1)

    def other_labels(self, labels: Tensor, uniform: Tensor) -> Tensor:
        """Return the labels with a random set of them inverted, never the empty set; all sets are equally likely."""
        sets = 1 + (uniform * (2**self.num_outputs - 1)).long()
        inverted: Tensor = sets[:, None] >> torch.arange(self.num_outputs, device=labels.device) & 1
        return labels.bitwise_xor(inverted)

    def sampled_targets(self, logits: Tensor, uniform: Tensor, temperature: float | None) -> Tensor:
        """Return the sigmoid of the logits plus logistic noise (the difference of two Gumbels), or its rounding."""
        noisy = logits + _inside(uniform).logit()
        return (noisy > 0).to(logits.dtype) if temperature is None else (noisy / temperature).sigmoid()


def check_labels(task: Task, labels: npt.NDArray[Any], identities: npt.NDArray[Any], remedy: str = "") -> None:
    """Refuse labels that mean something else than the task.

    Args:
        task: The task.
        labels: Shape ``(n,)`` or ``(n, labels)``.
        identities: Identity of the person on each image, shape ``(n,)``.
        remedy: What to do about vectors that are classes; empty where the user has declared the task.

    Raises:
        SettingError: If all vectors of more than two labels have a single 1, as of one class out of several; or if each
            class is one person.
    """
    if isinstance(task, MultiLabel):
        if remedy and task.num_outputs > 2 and (labels.sum(axis=1) == 1).all():
            raise SettingError(f"Each image has exactly one yes, as one class out of several has: {remedy}")
        return
    people = np.unique(identities, return_inverse=True)[1]
    pairs, classes = np.unique(np.stack([labels, people], axis=1), axis=0), np.unique(labels)
    if 2 < len(classes) == len(pairs) == people.max() + 1 < len(labels):
        raise SettingError(
            "Each class is one person: this is face recognition, for which gli is not made yet. Who leaves would leave "
            "a class without images, and people who were never seen have no class to compare with. gli unlearns "
            "classifiers of age, expression and other attributes."
        )
