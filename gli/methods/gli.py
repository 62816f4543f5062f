"""Guided Loss-Increasing (GLI), and Loss-Increasing (LI), its ablation without the guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from gli.data.loading import Batch
from gli.errors import SettingError
from gli.methods.base import Method
from gli.methods.seeding import seeded_randn_like
from gli.methods.settings import require_not_negative
from gli.perturbation import ClassWeight, features, perturb
from gli.perturbation.distances import DISTANCES, DistanceName
from gli.perturbation.perturb import gradient, in_float32
from gli.perturbation.scale_free import scale_free


class LI(Method):
    r"""Loss-Increasing: perturb retained faces away from the features of the forget faces, and train on the result.

    This is GLI's ablation: nothing guides the perturbation.

    Equation:
        From $\eta = 0$ (or noise), ``steps`` times with $\alpha$ = ``step_size``:

        $$\eta \leftarrow \eta + \alpha \cdot \text{sign}(\nabla_\eta d(F(x_\eta), F(x_{\text{forget}})))$$

        where $x_\eta = x_{\text{retain}} + \eta$, clipped to [0, 1], and the features $F$ are the logits. Then one step
        of

        $$\min_\theta l(x_\eta, y_{\text{retain}}; \theta)$$

    Cost:
        For each retain batch ``steps`` forward passes with a backward pass to the pixels, one forward pass of a forget
        batch, and one forward and backward pass of the model. One model in memory; two with ``features: original``.

    Fails:
        Without guidance the perturbed faces no longer show what their labels say, and the accuracy falls over the
        iterations: the paper's catastrophic utility drop (section 4.2, Figure 3, Table 3).

    Defaults:
        GLI's released code on MUFAC: T = 2, alpha = 0.01, mean squared error over the logits of the current model, no
        start noise, one epoch of SGD at 0.001, BatchNorm in train mode for the first batch only. On MUCAC T = 5.
        In that first batch the released code also lets the 2 T passes of the inner steps move BatchNorm's running
        statistics, with which all later batches are trained and audited: ``batch_norm: released``, the default of the
        configurations for MUFAC and MUCAC. Algorithm 1 to the letter: ``--config gli_paper_mufac``.

    Source:
        Paper, section 4.3, Algorithm 1, Eq. 5.

    Args:
        steps: Inner steps, T in the paper.
        step_size: Step in pixel values, alpha in the paper.
        distance: d: ``mse`` (released code), ``l2`` (the paper), ``l1`` or ``cosine``.
        init_std: Standard deviation of the start noise: 0 (released code) or 0.01 (Algorithm 1).
        features: F of the ``current`` model (released code) or of the ``original`` one (Algorithm 1).
        batch_norm: Mode of BatchNorm while training: ``train``, ``eval``, ``train_first`` (train for the first batch,
            eval afterwards), or ``released``: as ``train_first``, and the inner steps move the running statistics in
            the first batch too, as in the released code.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        steps: int = 2,
        step_size: float = 0.01,
        distance: DistanceName = "mse",
        init_std: float = 0.0,
        features: Literal["current", "original"] = "current",
        batch_norm: Literal["train", "eval", "train_first", "released"] = "train_first",
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_norm="train_first" if batch_norm == "released" else batch_norm, **kwargs)
        self.released = batch_norm == "released"
        require_not_negative(steps=steps, step_size=step_size, init_std=init_std)
        self.steps, self.step_size, self.init_std = steps, step_size, init_std
        self.distance, self.features = DISTANCES[distance], features
        #: Direction of an inner step, from what :meth:`perturbation_loss` returns and the perturbation.
        self.direction: Callable[[Any, Tensor], Tensor] = gradient

    def prepare(self) -> None:
        """Keep the original model if F is that of the original."""
        if self.features == "original":
            self.keep_original()

    def perturbation_loss(self, logits: Tensor, labels: Tensor, forget_features: Tensor, step: int) -> Any:
        """Return what the perturbation minimises: minus the distance to the features of the forget batch."""
        return -self.distance(logits, forget_features)

    def perturbed(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the perturbed retain images, of unchanged shape and range."""
        model = self.model if self.features == "current" else self.teacher("original")
        # The forget features do not depend on the perturbation: one forward pass serves all steps.
        forget_features = features(model, forget.images)
        with self._statistics_as_released(forget):
            return perturb(
                model,
                retain.images,
                lambda logits, step: self.perturbation_loss(logits, retain.labels, forget_features, step),
                steps=self.steps,
                step_size=self.step_size,
                direction=self.direction,
                start=self.init_std * seeded_randn_like(retain.images, self) if self.init_std else None,
            )

    @contextmanager
    def _statistics_as_released(self, forget: Batch) -> Iterator[None]:
        """Repeat, in the first batch, the passes of the inner steps, so that they move BatchNorm's statistics.

        In the released code every inner step has a pass of the perturbed images and one of the forget images, in train
        mode. :func:`~gli.perturbation.perturb` itself leaves the statistics alone.
        """
        if not self.released or self.iteration:
            yield
            return
        passed: list[Tensor] = []
        hook = self.model.register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0].detach()))
        try:
            yield
        finally:
            hook.remove()
        with torch.no_grad(), in_float32(forget.images):
            for images in passed:
                self.model(images)
                self.model(forget.images)

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the class loss of the perturbed images."""
        images = self.perturbed(retain, forget)
        self.examples = (retain.images[:6], images[:6])
        return self.loss(retain._replace(images=images))


class GLI(LI):
    r"""Guided Loss-Increasing: LI whose perturbation also keeps the class loss of the perturbed images low.

    Equation:
        As LI, with

        $$\eta \leftarrow \eta - \alpha \cdot \text{sign}(\nabla_\eta (w l - (1 - w) d))$$

        where $l$ is the loss of $x_\eta$ under the model of $F$, and $d$ LI's distance. In batch $i$ of $N$, counted
        from 0 (class-loss warm-up, Eq. 6):

        $$w_i = w_{\text{init}} + \frac{w_{\text{final}} - w_{\text{init}}}{N - 1} i$$

        The released code minimises $c l - d$, which is the same for $w = c / (1 + c)$, and it is $c$ that grows
        linearly.

        Scale-free (``gradients: normalised``):

        $$\eta \leftarrow \eta - \alpha \cdot \text{sign}(w g_l / \lVert g_l \rVert - (1 - w) g_d / \lVert g_d \rVert)$$

        where $g_l$ and $g_d$ are the gradients of $l$ and of $d$ for one image, with L2 norms over its pixels. Only the
        sign of the sum counts, so $c g_l - g_d$ with $c = w \lVert g_d \rVert / ((1 - w) \lVert g_l \rVert)$ is the
        same: a class weight of its own for each image and step, which makes up for the scales of the two losses. With
        $w = 0.5$ both gradients have the same length, whatever the original has memorised; multiplying a loss or the
        logits' distance by a constant changes nothing.

    Cost:
        As LI: the class loss needs no additional pass. With ``gradients: normalised`` every inner step has two backward
        passes to the pixels instead of one.

    Fails:
        The class weight depends on the scale of the losses: where the class loss on retain is not small, or the logits
        are small, a large weight freezes the perturbation and GLI becomes fine-tuning; where the original has
        memorised, the distance dominates at the same weight. Search it for each data set and original, on held-out
        people (``gli search``).

    Defaults:
        GLI's released code on MUFAC: as LI, with c from 200 to 1000 over the batches of the run (binary tasks of MUCAC:
        800 to 12000).

    Source:
        Paper, section 4.3, Algorithm 1, Eq. 5 and 6.

    Args:
        class_weight: Weight of the class loss and its warm-up; the released code's 200 to 1000 by default.
        gradients: ``normalised`` for the scale-free form, where the class weight is convex (``class_weight.form
            convex``), w in [0, 1]; None for gradients as they are (paper and released code).
        **kwargs: See :class:`LI` and :class:`~gli.methods.base.Method`.
    """

    def __init__(
        self,
        class_weight: ClassWeight = ClassWeight(),
        gradients: Literal["normalised"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gradients is not None and class_weight.form != "convex":
            raise SettingError(
                "model.gradients normalised needs a class weight in [0, 1]: --model.class_weight.form convex, with "
                "initial and final such as 0.5."
            )
        self.class_weight, self.gradients = class_weight, gradients
        if gradients is not None:
            self.direction = scale_free

    def weight(self, step: int) -> float:
        """Return the weight of the class loss at an inner step of the current iteration."""
        return self.class_weight.at(self.iteration, self.total_iterations, step, self.steps)

    def perturbation_loss(self, logits: Tensor, labels: Tensor, forget_features: Tensor, step: int) -> Any:
        """Return the weighted class loss less the weighted distance (Eq. 5), or both with their weights."""
        class_loss, distance = self.task.loss(logits, labels), self.distance(logits, forget_features)
        if self.gradients is None:
            return self.class_weight.combine(self.weight(step), class_loss, distance)
        of_class, of_distance = self.class_weight.shares(self.weight(step))
        return [(of_class, class_loss), (-of_distance, distance)]

    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return LI's loss; log the class weight of the last inner step."""
        self.track(class_weight=self.weight(max(0, self.steps - 1)))
        return super().unlearn(retain, forget)
