"""NegGrad and Advanced NegGrad: gradient ascent on forget, alone or against a descent on retain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.errors import SettingError
from gli.methods.base import Method
from gli.methods.settings import require_positive
from gli.methods.sweeps import mean_over


class NegGrad(Method):
    r"""NegGrad: gradient ascent on the task's loss on forget.

    Equation:
        $$\max_\theta \mathbb E_{\text{forget}} l(x, y; \theta)$$

    Cost:
        One forward and backward pass per forget image; retain images are not loaded. An epoch has as many batches as
        one over retain, as in the benchmark.

    Fails:
        Nothing bounds the ascent: after some tens to hundreds of iterations the accuracy collapses (the paper's
        catastrophic utility drop, Figure 3), and finally the weights are no longer finite. Stopped in time it forgets
        well.

    Defaults:
        The MUFAC/MUCAC benchmark's: two epochs of SGD at 0.001. Its notebook for MUCAC makes one pass over forget in an
        epoch, not as many batches as over retain (``--trainer.max_steps``).

    Source:
        Paper, section 4.1.1, Eq. 2; Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020.

    Args:
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("forget", over="retain"),)
    epochs = 2

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return minus the task's loss on forget."""
        return -self.loss(forget)


class AdvancedNegGrad(Method):
    r"""Advanced NegGrad: descend on retain's loss and ascend on forget's in one step; with ``alpha`` it is NegGrad+.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta) - \mathbb E_{\text{forget}} l(x, y; \theta)$$

        With ``alpha`` the first term has the weight $\alpha$, and the second $1 - \alpha$.

    Cost:
        One forward and backward pass per retain image and epoch, and as many forget images: twice fine-tuning.

        With ``stop_every`` also one forward pass over forget and reference in every so many iterations.

    Fails:
        The descent slows the collapse but does not bound the ascent: forget's loss can still grow without limit. A
        large alpha makes it fine-tuning. ``stop_every`` ends the run in time, when the mean loss on forget has reached
        that on people whom nobody trained on and no audit reads (the set ``reference``); the losses of single images
        can still be far from theirs.

    Defaults:
        The benchmark's: no alpha, two epochs of SGD at 0.001. NegGrad+ takes alpha 0.95 and BatchNorm in eval mode;
        tuned, with a stop, it is the baseline that a comparison of 18 methods asks to beat (Cadet et al., 2024). An
        epoch here is one pass over retain; the benchmark's notebook for MUCAC makes one pass over forget
        (``--trainer.max_steps``).

    Source:
        Choi and Na, "Towards Machine Unlearning Benchmarks", 2023 (Advanced NegGrad); Kurmanji et al., "Towards
        Unbounded Machine Unlearning", NeurIPS 2023 (NegGrad+).

    Args:
        alpha: Weight of retain's loss, in [0, 1]; None for both losses with weight one.
        stop_every: Iterations from one comparison of forget's loss with that of the reference people to the next; None
            to run to the end. It needs ``data.reference_share``.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 2

    def __init__(self, alpha: float | None = None, stop_every: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_positive(stop_every=stop_every)
        if alpha is not None and not 0 <= alpha <= 1:
            raise SettingError(
                f"model.alpha is {alpha:g}; it must lie in [0, 1], or be null for both losses with weight one."
            )
        self.weights = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        self.stop_every, self.needs_reference = stop_every, stop_every is not None

    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step; stop the run when forget's loss has reached that of the reference people."""
        super().take_step(optimizer)
        if self.stop_every is not None and (self.iteration + 1) % self.stop_every == 0:
            forget, reference = (mean_over(self, name, self.task.losses) for name in ("forget", "reference"))
            self.track(mean_loss_forget=forget, mean_loss_reference=reference)
            if forget >= reference:
                self.trainer.should_stop = True

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return retain's loss less forget's."""
        retain_loss, forget_loss = self.loss(retain), self.loss(forget)
        self.track(loss_retain=retain_loss, loss_forget=forget_loss)
        return self.weights[0] * retain_loss - self.weights[1] * forget_loss
