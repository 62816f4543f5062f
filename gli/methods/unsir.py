"""UNSIR at the level of features: impair with noise far from the faces to be forgotten, then repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gli.data.loading import Batch, Pass
from gli.errors import SettingError
from gli.methods.base import Method
from gli.methods.seeding import seeded_randn_like
from gli.methods.settings import BatchNormMode, require_not_negative
from gli.perturbation import features, maximise_error
from gli.perturbation.distances import DISTANCES, DistanceName


class UNSIR(Method):
    r"""UNSIR, unlearning by selective impair and repair, at the level of features.

    Stage 1 (impair): a batch of noise images is made whose features lie far from those of a forget batch, and the model
    takes one step on the class loss of the noise, labelled as a retain batch, plus that of the retain batch. Stage 2
    (repair): fine-tuning on retain. Both stages are reported.

    Equation:
        Noise, clipped to [0, 1]:

        $$\max_{x_{\text{noise}}} d(F(x_{\text{noise}}), F(x_{\text{forget}}))$$

        where the features $F$ are the logits. Impair:

        $$\min_\theta l(x_{\text{noise}}, y_{\text{retain}}; \theta) + l(x_{\text{retain}}, y_{\text{retain}}; \theta)$$

        Repair:

        $$\min_\theta \mathbb E_{\text{retain}} l(x, y; \theta)$$

    Cost:
        Impair: for each batch ``noise_steps`` forward and backward passes for the noise, one forward pass of the forget
        batch and two forward and backward passes of the model. Repair: as fine-tuning.

    Fails:
        Noise lies so far from faces that the model can learn its labels without unlearning anything; then only the
        fine-tuning of stage 2 remains. In train mode the noise would also distort BatchNorm's statistics.

    Defaults:
        The MUFAC/MUCAC benchmark's: 5 steps of Adam at 0.01 on noise from a standard normal, mean squared error over
        the logits; SGD at 0.001; two epochs of impairing, each one pass over forget, and one of repairing. BatchNorm is
        in eval mode there, because the notebook evaluates the model before training.

    Source:
        Paper, section 4.1.2, Eq. 4; Tarun et al., "Fast Yet Effective Machine Unlearning", 2021.

    Args:
        impair_epochs: Epochs of stage 1, each one pass over forget.
        repair_epochs: Epochs of stage 2, each one pass over retain.
        noise_steps: Steps of Adam for a batch of noise.
        noise_lr: Learning rate of Adam for the noise, in pixel values.
        distance: d: ``mse``, ``l2``, ``l1`` or ``cosine``.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        impair_epochs: int = 2,
        repair_epochs: int = 1,
        noise_steps: int = 5,
        noise_lr: float = 0.01,
        distance: DistanceName = "mse",
        batch_norm: BatchNormMode = "eval",
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_norm=batch_norm, **kwargs)
        require_not_negative(
            impair_epochs=impair_epochs, repair_epochs=repair_epochs, noise_steps=noise_steps, noise_lr=noise_lr
        )
        if impair_epochs + repair_epochs == 0:
            raise SettingError(
                "model.impair_epochs and model.repair_epochs are both 0: there is nothing to do. Raise one of them."
            )
        self.impair_epochs, self.epochs = impair_epochs, impair_epochs + repair_epochs
        self.noise_steps, self.noise_lr, self.distance = noise_steps, noise_lr, DISTANCES[distance]

    def passes_in(self, epoch: int) -> Sequence[Pass]:
        """Return one pass over forget with both sets while impairing, one over retain alone while repairing."""
        return (Pass("retain", "forget", over="forget"),) if epoch < self.impair_epochs else (Pass("retain"),)

    def stage(self, epoch: int) -> str:
        """Return the name of the stage."""
        return "stage 1 (impair)" if epoch < self.impair_epochs else "stage 2 (repair)"

    def unlearn(self, retain: Batch, forget: Batch | None) -> Tensor:
        """Return the impair loss where there is a forget batch, else the repair loss."""
        if forget is None:
            return self.loss(retain)
        return self.loss(retain._replace(images=self.noise(forget))) + self.loss(retain)

    def noise(self, forget: Batch) -> Tensor:
        """Return noise images in [0, 1] whose features are far from those of the forget batch, of its shape."""
        forget_features = features(self.model, forget.images)
        # Adam's epsilon makes the gradient's scale matter: take that of the mean over the batch of all processes.
        world = self.trainer.world_size
        return maximise_error(
            self.model,
            seeded_randn_like(forget.images, self),
            lambda logits: -self.distance(logits, forget_features) / world,
            steps=self.noise_steps,
            lr=self.noise_lr,
        )
