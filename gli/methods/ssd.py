"""SSD: dampen the weights that matter for forget much more than for retain; nothing is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch, EpochPlan, Pass
from gli.errors import SettingError
from gli.methods.base import Method
from gli.methods.settings import require_not_negative, require_positive


class SSD(Method):
    r"""SSD, selective synaptic dampening: multiply the weights that are special to forget by a factor below one.

    The iterations of a run only collect squared gradients, first over forget and then over retain; the weights change
    once, in the last iteration. Audits before it see the original.

    Equation:
        $$\theta \leftarrow \min(1, \lambda F_{\text{retain}} / F_{\text{forget}}) \theta$$

        for each weight with $F_{\text{forget}} > \alpha F_{\text{retain}}$, where $F$ is the mean over batches of the
        squared gradient of a batch's loss (the diagonal of the empirical Fisher information).

    Cost:
        One forward and backward pass over forget and one over retain, once. Two additional numbers per weight.

    Fails:
        It is erratic on random people, who share everything with those who stay: no weight is special to them. alpha
        has a narrow useful range, between no change at all and a network that has lost its task.

    Defaults:
        Its own paper's: alpha 10, lambda 1. The paper takes F_retain over the whole training set; here it is over
        retain, and BatchNorm is in eval mode.

    Source:
        Foster et al., "Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening", AAAI 2024.

    Args:
        alpha: A weight is dampened where F_forget is more than this multiple of F_retain.
        dampening: lambda, the strength of the dampening.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("forget"), Pass("retain"))
    saved = ("squares", "batches")
    more = "lower --model.alpha, and let it see both sets completely (without --trainer.max_steps)"
    less = "raise --model.alpha"

    def __init__(self, alpha: float = 10.0, dampening: float = 1.0, **kwargs: Any) -> None:
        # The optimiser's steps count iterations and must not move a weight.
        super().__init__(lr=0.0, momentum=0.0, weight_decay=0.0, optimizer="sgd", batch_norm="eval", **kwargs)
        require_positive(alpha=alpha)
        require_not_negative(dampening=dampening)
        self.alpha, self.dampening = alpha, dampening
        #: Sums of squared gradients and numbers of batches, of each set.
        self.squares: dict[str, dict[str, Tensor]] = {"retain": {}, "forget": {}}
        self.batches = {"retain": 0, "forget": 0}
        self._set = "retain"

    def prepare(self) -> None:
        """Refuse a run that would end before the pass over retain: it would change no weight.

        Raises:
            SettingError: If it would.
        """
        first = len(EpochPlan({"forget": self.data.rows("forget")}, self.passes[:1], self.data.batch_size))
        if self.total_iterations <= first:
            raise SettingError(
                f"SSD dampens weights in its last iteration, after passes over forget ({first} iterations) and retain, "
                f"but this run ends after {self.total_iterations}. Leave out --trainer.max_steps."
            )

    def unlearn(self, retain: Batch | None, forget: Batch) -> Tensor:
        """Return the task's loss on the batch of either set, for its gradient."""
        self._set = "forget" if retain is None else "retain"
        return self.loss(forget if retain is None else retain)

    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the squared gradients; dampen after the last batch."""
        sums = self.squares[self._set]
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                square = parameter.grad.detach() ** 2
                sums[name] = square + sums[name].to(square.device) if name in sums else square
        self.batches[self._set] += 1
        super().take_step(optimizer)
        if self.iteration + 1 == self.total_iterations:
            self.dampen()

    @torch.no_grad()
    def dampen(self) -> None:
        """Change the weights."""
        changed = total = 0
        for name, weight in self.model.named_parameters():
            squares = {part: sums[name].to(weight.device) for part, sums in self.squares.items() if name in sums}
            fisher = {part: square / self.batches[part] for part, square in squares.items()}
            if len(fisher) < 2:
                continue
            special = fisher["forget"] > self.alpha * fisher["retain"]
            factor = (self.dampening * fisher["retain"] / fisher["forget"]).clamp(max=1)
            weight.copy_(torch.where(special, factor * weight, weight))
            changed, total = changed + int(special.sum()), total + weight.numel()
        self.track(dampened_share=changed / max(1, total))
