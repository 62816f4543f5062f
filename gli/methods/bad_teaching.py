"""Bad Teaching: a competent teacher for retain, an incompetent one for forget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.settings import OptimizerName, require_positive


class BadTeaching(Method):
    r"""Bad Teaching: the student learns retain from the original model and forget from an untrained network.

    Batches mix forget with a fixed random share of retain; each image is taught by the teacher of its set.

    Equation:
        $$\min_\theta \mathbb E_{\text{retain} \cup \text{forget}} \text{KL}(p_{\text{teacher}} \Vert p_\theta)$$

        over forget and a share of retain, where $p$ are outputs softened by the temperature $T$. The teacher of a
        retain image is the original model, that of a forget image an untrained network.

    Cost:
        One forward and backward pass of the student and one forward pass of a teacher per image: forget and a share of
        retain, once. Three models in memory.

    Fails:
        The incompetent teacher gives nearly the same output for every image: close to uniform for ResNet-18, but one
        class with high confidence for a fresh ResNet-50. Forget's losses then become nearly equal, or larger than those
        of unseen people: an attacker with more than one threshold tells them apart (JSD) although the MIA accuracy is
        near 0.5.

    Defaults:
        Its own paper's, as the reference of the MUFAC/MUCAC comparison: T = 1, Adam at 0.0001, one epoch, 30 % of
        retain, batches of 256. KL is the sum over the C classes and the mean over the batch, as in its paper; the
        released code averages over the classes too, so that its loss is 1 / C of this one. Under Adam that matters
        little.

    Source:
        Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023.

    Args:
        temperature: T, which softens all outputs.
        retain_share: Share of retain that is used, in (0, 1].
        batch_size: Images in a batch, of both sets together, on each process; None for the data's.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        retain_share: float = 0.3,
        batch_size: int | None = 256,
        lr: float = 0.0001,
        optimizer: OptimizerName = "adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, optimizer=optimizer, **kwargs)
        require_positive(temperature=temperature)
        self.temperature = temperature
        shares = {"retain": retain_share}
        self.passes = (Pass("retain", "forget", mixed=True, shares=shares, batch_size=batch_size),)

    def prepare(self) -> None:
        """Keep the original model as the competent teacher, a fresh network as the incompetent one."""
        self.keep_original()
        self.keep_teacher("incompetent", self.fresh_classifier())

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the divergence from each image's teacher, the mean over the batch."""
        targets = torch.cat(
            [self.teacher_logits("original", retain.images), self.teacher_logits("incompetent", forget.images)]
        )
        logits = self.model(torch.cat([retain.images, forget.images]))
        return self.task.divergence(logits, targets, self.temperature).mean()
