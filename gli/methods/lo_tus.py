"""LoTUS: distil the original with targets whose temperature follows what the model still remembers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.seeding import rand_of_images
from gli.methods.settings import OptimizerName
from gli.methods.sweeps import mean_over
from gli.system.lightning import current_epoch


class LoTUS(Method):
    r"""LoTUS, logits tempering unlearning: random targets from the original, soft on forget and hard on retain.

    It needs people whom nobody trained on and no audit reads: the set ``reference``.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain} \cup \text{forget}} l(x, g(x); \theta)$$

        over a share of retain. The targets $g$ are Gumbel-softmax samples of the original's logits, with noise $G$:

        $$g(x) = \text{softmax}((f(x; \theta_{\text{original}}) + G) / \tau)$$

        on forget; on retain they are hard: one for the largest entry of $f + G$. With accuracies $A$, the temperature

        $$\tau = \exp(\alpha (A_{\text{forget}}(\theta) - A_{\text{reference}}(\theta_{\text{original}})))$$

        is computed at the start of every epoch. With several labels, each is a two-class sample. The run stops when
        $A_{\text{forget}}(\theta)$ has come down to $A_{\text{reference}}(\theta_{\text{original}})$.

    Cost:
        One forward and backward pass of the model and one forward pass of the original per image; before every epoch,
        one forward pass over forget. Two models in memory.

    Fails:
        The targets of forget images come from what the original has memorised of them: softened, the order of classes
        stays. It forgets slowly, and the accuracy is a coarse signal for when to stop: losses may still separate forget
        from unseen.

    Defaults:
        Its own code's: AdamW at 0.0001, ten epochs, 30 % of retain, alpha 2.

    Source:
        Spartalis et al., "LoTUS: Large-Scale Machine Unlearning with a Taste of Uncertainty", CVPR 2025.

    Args:
        alpha: How strongly the temperature follows the difference of accuracies.
        retain_share: Share of retain that is used, in (0, 1].
        stop_at_reference: Stop the run when the accuracy on forget has come down to that on reference.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 10
    needs_reference = True
    saved = ("temperature", "epoch_of_temperature")

    def __init__(
        self,
        alpha: float = 2.0,
        retain_share: float = 0.3,
        stop_at_reference: bool = True,
        lr: float | None = 0.0001,
        optimizer: OptimizerName = "adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, optimizer=optimizer, **kwargs)
        self.alpha, self.stop_at_reference = alpha, stop_at_reference
        self.passes = (Pass("retain", "forget", mixed=True, shares={"retain": retain_share}),)
        self.temperature, self.epoch_of_temperature = 1.0, -1
        self._goal = 0.0

    def accuracy(self, name: str) -> float:
        """Return the model's accuracy on a set."""
        return mean_over(self, name, lambda logits, labels: self.task.accuracies(logits, labels)["accuracy"])

    def prepare(self) -> None:
        """Keep the original as teacher, and its accuracy on people it never saw."""
        self.keep_original()
        self._goal = self.accuracy("reference")

    def update_temperature(self) -> None:
        """Compute the temperature of an epoch, and stop the run when nothing is left to forget."""
        difference = self.accuracy("forget") - self._goal
        self.temperature = math.exp(self.alpha * difference)
        if self.stop_at_reference and difference <= 0:
            self.trainer.should_stop = True

    def targets(self, retain: Batch, forget: Batch) -> Tensor:
        """Return a probability for every output of both batches, retain first."""
        sampled = []
        for key, (batch, temperature) in enumerate(((retain, None), (forget, self.temperature))):
            logits = self.teacher_logits("original", batch.images)
            uniform = rand_of_images(batch.index, logits.shape[1], self, self.iteration, key)
            sampled.append(self.task.sampled_targets(logits, uniform, temperature))
        return torch.cat(sampled)

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the cross-entropy with the sampled targets."""
        if self.epoch_of_temperature != current_epoch(self.trainer):
            self.update_temperature()
            self.epoch_of_temperature = current_epoch(self.trainer)
        self.track(temperature=self.temperature)
        logits = self.model(torch.cat([retain.images, forget.images]))
        return self.task.losses(logits, self.targets(retain, forget)).mean()
