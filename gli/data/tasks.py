"""What a classifier is asked: one class out of several, or several yes/no labels.

The task owns the loss, the loss per image, the per-image scores that accuracies are means of, and the divergence between
two models' outputs, so that every method and every audit is written once for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Task(ABC):
    """Base of the two tasks.

    Attributes:
        names: Names of the classes or labels, one per logit.
    """

    names: tuple[str, ...]

    @property
    def num_outputs(self) -> int:
        """Number of logits."""
        return len(self.names)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The training loss: the mean over the batch of :meth:`losses`, a scalar."""
        return self.losses(logits, labels).mean()

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each image, shape ``(batch,)``, in float32 at least."""

    @abstractmethod
    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Per-image values, each of shape ``(batch,)``, whose mean over a set is the accuracy of that name."""

    @abstractmethod
    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """KL(teacher || student) of each image, shape ``(batch,)``, both softened by ``temperature``, not rescaled."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """Accuracy of guessing evenly."""


def _wide(logits: Tensor) -> Tensor:
    """Logits in float32 at least: half-precision losses would merge values that the audit must tell apart."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


@dataclass(frozen=True)
class MultiClass(Task):
    """One of several classes; labels are class numbers of shape ``(batch,)``; the loss is the cross-entropy."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each image."""
        return functional.cross_entropy(_wide(logits), labels, reduction="none")

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``accuracy`` (the true class comes first) and ``top2_accuracy`` (it comes first or second)."""
        top = logits.topk(min(2, logits.shape[1]), dim=1).indices
        hits = (top == labels[:, None]).float()
        return {"accuracy": hits[:, 0], "top2_accuracy": hits.sum(dim=1)}

    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """KL between the two softmax distributions."""
        student = functional.log_softmax(_wide(logits) / temperature, dim=1)
        teacher = functional.log_softmax(_wide(teacher_logits) / temperature, dim=1)
        return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)

    @property
    def chance(self) -> float:
        """One over the number of classes."""
        return 1 / self.num_outputs


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several yes/no labels; labels are 0 or 1 of shape ``(batch, labels)``; the loss is the mean of the BCEs."""

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the labels of the binary cross-entropy with logits, of each image."""
        logits = _wide(logits)
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").mean(dim=1)

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``accuracy``, the mean over the labels, and ``accuracy_<label>`` for each."""
        hits = ((logits > 0) == (labels > 0)).float()
        each = {f"accuracy_{name}": hits[:, column] for column, name in enumerate(self.names)}
        return {"accuracy": hits.mean(dim=1), **each}

    def divergence(self, logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Sum over the labels of the KL between the two Bernoulli distributions."""
        student, teacher = _wide(logits) / temperature, _wide(teacher_logits) / temperature
        yes = teacher.sigmoid() * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        no = (-teacher).sigmoid() * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
        return (yes + no).sum(dim=1)

    @property
    def chance(self) -> float:
        """One half."""
        return 0.5
