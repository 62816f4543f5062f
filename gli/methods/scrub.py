"""SCRUB: a student that stays close to its teacher on retain and moves away from it on forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.settings import require_not_negative, require_positive


class SCRUB(Method):
    r"""SCRUB: the original model is the frozen teacher of a student that starts as its copy.

    Max passes over forget drive the student away from the teacher, min passes over retain keep it close and its class
    loss low.

    Equation:
        With $D = T^2 \text{KL}(p_{\text{original}} \Vert p_\theta)$, where $p$ are outputs softened by the temperature
        $T$, a max step is

        $$\min_\theta -\mathbb E_{\text{forget}} D$$

        and a min step

        $$\min_\theta \mathbb E_{\text{retain}} (\alpha D + \gamma l(x, y; \theta))$$

        With several labels, the benchmark's MUCAC notebook takes a softmax over them instead, as if they were mutually
        exclusive.

    Cost:
        Min passes: fine-tuning and a forward pass of the teacher. Max passes: the same over forget. Two models in
        memory.

    Fails:
        A student that still equals its teacher has no divergence to increase: with BatchNorm in eval mode, a max pass
        that comes first does nothing. The max step has no bound: after too many of them, or with too large a learning
        rate, the min passes cannot repair the model. With too few, forget's error stays below that of unseen people.
        *Rewinding* (SCRUB+R) keeps the model of the audit at which both errors are closest: ``--checkpoint.monitor
        val/rewind_gap``.

    Defaults:
        The MUFAC/MUCAC benchmark's: min pass, then max pass, in both of two epochs; alpha = gamma = 1, T = 4, SGD at
        0.001, batches of 64. SCRUB's own paper: ``msteps=2``, max pass first, three epochs, alpha = 0.001, gamma =
        0.99, T = 4 (2 for small data), SGD at 0.0005 with momentum 0.9 and weight decay 0.0005, batches of 32 (forget)
        and 128 (retain): ``--config scrub_paper_<data set>``.

    Source:
        Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023.

    Args:
        alpha: Weight of the divergence from the teacher on retain.
        gamma: Weight of the class loss on retain.
        temperature: T, which softens both models' outputs.
        msteps: Epochs that have a max pass; later ones have a min pass only.
        first: Which pass comes first in those epochs.
        forget_batch_size: Images in a batch of a max pass, on each process; None for the data's.
        retain_batch_size: The same for a min pass.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 2

    def __init__(
        self,
        alpha: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 4.0,
        msteps: int = 2,
        first: Literal["min", "max"] = "min",
        forget_batch_size: int | None = None,
        retain_batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_not_negative(alpha=alpha, gamma=gamma, msteps=msteps)
        require_positive(temperature=temperature)
        self.alpha, self.gamma, self.temperature, self.msteps, self.first = alpha, gamma, temperature, msteps, first
        self.max_pass = Pass("forget", batch_size=forget_batch_size)
        self.min_pass = Pass("retain", batch_size=retain_batch_size)

    def passes_in(self, epoch: int) -> Sequence[Pass]:
        """Return a max and a min pass in the first ``msteps`` epochs, then min passes."""
        if epoch >= self.msteps:
            return (self.min_pass,)
        return (self.max_pass, self.min_pass) if self.first == "max" else (self.min_pass, self.max_pass)

    def prepare(self) -> None:
        """Keep the original model as the teacher."""
        self.keep_original()

    def divergence(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return T^2 KL(teacher || student), the mean over the batch."""
        divergence = self.task.divergence(logits, self.teacher_logits("original", images), self.temperature)
        return self.temperature**2 * divergence.mean()

    def unlearn(self, retain: Batch | None, forget: Batch) -> Tensor:
        """Return the loss of a min step where there is a retain batch, else that of a max step."""
        if retain is None:
            divergence = self.divergence(self.model(forget.images), forget.images)
            self.track(divergence_forget=divergence)
            return -divergence
        logits = self.model(retain.images)
        divergence = self.divergence(logits, retain.images)
        self.track(divergence_retain=divergence)
        return self.alpha * divergence + self.gamma * self.task.loss(logits, retain.labels)
