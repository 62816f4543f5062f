"""Transpose and distil: transpose the kernels of all convolutions, then learn from the original on retain."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.ct import CT
from gli.methods.settings import require_positive


class TransposeDistil(CT):
    r"""Transpose and distil: exchange the two spatial axes of all kernels, then imitate the original on retain.

    The transposition of CT puts out of use what the original computes, its memories of forgotten people included. The
    original then teaches the student, but on retain images only: its softened outputs say more about an image than the
    label does, so that the accuracy comes back in a fraction of the steps, and with it nothing about images that the
    student is never shown.

    Equation:
        $$W_{oihw} \leftarrow W_{oiwh}$$

        for the weights $W$ of every convolution with a square kernel, as in :class:`~gli.methods.ct.CT`. Then

        $$\min_\theta T^2 \mathbb E_{\text{retain}} \text{KL}(p_{\text{original}} \Vert p_\theta)$$

        where $p$ are outputs softened by the temperature $T$.

    Cost:
        One forward and backward pass of the student and one forward pass of the original per retain image and epoch;
        two models in memory. Neither forget images nor labels are used.

    Fails:
        Nothing here teaches the student about transposed images, on which it begins as the original: as with CT,
        whoever knows the method shows those, and so do ``gli audit RUN``, ``gli.audit`` and ``gli erase``. It also
        unlearns how closely retained people were fitted. It does nothing to networks without square kernels larger than
        one pixel, and very short training leaves the accuracy low. An original that gives probabilities of 0 and 1
        only, at any temperature, teaches no more than the labels.

    Defaults:
        Searched on rehearsal people of MUFAC, of temperatures 2, 4 and 8, learning rates 0.03 and 0.1, with and without
        the labels' loss and mixed images (results: ``docs/results.md``). One epoch costs a tenth of 13 epochs. Where
        retraining takes more, two epochs in batches of 32 at 0.003 were better (``transpose_distil_tuned_mufac``).

    Source:
        This project. It joins CT with distillation from the model before unlearning, which SCRUB uses on retain too,
        but starting from the original itself.

    Args:
        temperature: T, which softens both models' outputs.
        batch_size: Images in a batch, on each process; None for the data's. Smaller batches give more steps for the
            same number of forward passes.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    epochs = 1

    def __init__(
        self, temperature: float = 4.0, batch_size: int | None = None, lr: float | None = 0.03, **kwargs: Any
    ) -> None:
        super().__init__(lr=lr, **kwargs)
        require_positive(temperature=temperature)
        self.temperature = temperature
        self.passes = (Pass("retain", batch_size=batch_size),)

    def prepare(self) -> None:
        """Keep the original as the teacher, then transpose the kernels."""
        self.keep_original()
        super().prepare()

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from the original on retain."""
        logits, targets = self.model(retain.images), self.teacher_logits("original", retain.images)
        return self.temperature**2 * self.task.divergence(logits, targets, self.temperature).mean()
