"""SFRon: weighted, masked ascent on forget every few iterations, descent on retain in all of them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from gli.data.loading import Batch
from gli.methods.base import Method
from gli.methods.settings import cosine, require_not_negative, require_positive
from gli.methods.sweeps import fisher_over
from gli.system.ranks import sum_over_processes


class SFRon(Method):
    r"""SFRon, saliency forgetting in the remain-preserving manifold online: ascent and repair in turn.

    Equation:
        Every ``every``-th iteration, one step over a forget batch of $B$ images:

        $$\max_\theta \frac{s}{B} \sum_{i=1}^B w_i l(x_i, y_i; \theta)$$

        with constants $w_i \propto l(x_i, y_i; \theta)^{-p}$ that sum to $B$, so that images that are forgotten already
        count little; $s$ decays from ``scale`` to 0 by a cosine. The gradient is clipped after it was masked to the
        weights with

        $$F_{\text{forget}} \ge t F_{\text{retain}}$$

        where $t$ is ``threshold`` and $F$ the diagonal of the empirical Fisher information of the original. Every
        iteration, one step of

        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

    Cost:
        As fine-tuning, and one forward and backward pass of a forget batch in every ``every``-th iteration; before,
        one pass over forget and one over retain for the mask. A mask in memory.

    Fails:
        The ascent has no bound except the clipping: with a large scale or few retain steps between, the accuracy falls
        faster than the repair can restore it. Both steps share one momentum, as in its code: an ascent goes on for
        some iterations.

    Defaults:
        Its own code's: every 5th iteration, scale 25, p 0.5, clipping at 7; SGD at 0.01, momentum 0.9, weight decay
        0.0005. It takes 1,500 iterations of 128 images; for 1,500 images to forget, 150 to 300 are enough.

    Source:
        Huang et al., "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement", NeurIPS 2024.

    Args:
        every: Iterations from one ascent to the next.
        scale: s at the start.
        power: p, how strongly the weights prefer images with a low loss.
        threshold: Smallest F_forget / F_retain of a weight that the ascent may move.
        ascent_clip: Largest norm of the gradient of the ascent.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 2

    def __init__(
        self,
        every: int = 5,
        scale: float = 25.0,
        power: float = 0.5,
        threshold: float = 1.0,
        ascent_clip: float = 7.0,
        lr: float | None = 0.01,
        momentum: float | None = 0.9,
        weight_decay: float | None = 0.0005,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, momentum=momentum, weight_decay=weight_decay, **kwargs)
        require_positive(every=every, ascent_clip=ascent_clip)
        require_not_negative(scale=scale, power=power, threshold=threshold)
        self.every, self.scale, self.power = every, scale, power
        self.threshold, self.ascent_clip = threshold, ascent_clip
        #: True where the ascent may move a weight, by the names of the weights.
        self.masks: dict[str, Tensor] = {}

    def prepare(self) -> None:
        """Mask the weights that matter less for forget than for retain."""
        forget, retain = fisher_over(self, "forget"), fisher_over(self, "retain")
        self.masks = {name: forget[name] >= self.threshold * retain[name] for name in forget}

    def ascent_loss(self, forget: Batch) -> Tensor:
        """Return minus the weighted loss of a forget batch, the mean over the batches of all processes."""
        losses = self.task.losses(self.model(forget.images), forget.labels)
        weights = losses.detach().clamp(min=1e-8) ** -self.power
        weights = weights / (sum_over_processes(weights.mean(), self.trainer) / self.trainer.world_size)
        return -self.scale * cosine(self.iteration, self.total_iterations) * (weights * losses).mean()

    def ascend(self, forget: Batch) -> None:
        """Take a step of ascent, with the optimiser's momentum, which does not count as an iteration."""
        parameters = dict(self.model.named_parameters())
        gradients = torch.autograd.grad(self.ascent_loss(forget), [parameters[name] for name in self.masks])
        for (name, mask), gradient in zip(self.masks.items(), gradients, strict=True):
            mean = sum_over_processes(gradient, self.trainer) / self.trainer.world_size
            parameters[name].grad = mean * mask.to(mean.device)
        torch.nn.utils.clip_grad_norm_([parameters[name] for name in self.masks], self.ascent_clip)
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        cast(torch.optim.Optimizer, getattr(optimizer, "optimizer", optimizer)).step()

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Ascend on forget where it is due; return the task's loss on retain."""
        if self.iteration % self.every == 0:
            self.ascend(forget)
        return self.loss(retain)
