"""Noisy fine-tuning of the head, with an (epsilon, delta) statement where its features never saw forget."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from gli.data.loading import Pass
from gli.errors import SettingError
from gli.methods.base import require_positive
from gli.methods.fine_tune import FineTune
from gli.metrics.noise_bound import epsilon_of, noise_for
from gli.models.backbones import Classifier
from gli.models.blocks import freeze_except, last_blocks
from gli.models.checkpoints import load_features
from gli.system.console import console
from gli.system.ranks import is_first


class NoisyFineTune(FineTune):
    """Noisy fine-tuning: shrink the head, then train it on retain with clipped gradients and Gaussian noise.

    All other blocks are frozen. If they never saw forget, the noise hides from which weights the head started, and with
    them what it had learned from forget.

    Equation:
        theta, the weights of the head, is scaled to a norm of at most C0. Then every step is
        theta <- theta - eta (clip(gradient of CE over a retain batch, C1) + lambda theta) + N(0, sigma^2 I), where
        sigma is such that the whole run has the given (epsilon, delta).

        Statement: for every event E, P(theta in E) <= exp(epsilon) P(theta' in E) + delta and the reverse, where theta'
        results from the same training of a head that never saw forget. The theorem and its proof are in
        ``gli/metrics/noise_bound.py``; it needs no convexity, and it is not tight.

    Cost:
        One forward pass per retain image and epoch, and a backward pass through the head.

    Fails:
        The statement is void, and none is made, where the frozen blocks were trained on forget, as they are in an
        ordinary original: name other weights with ``features``. Whether those have seen forgotten people, the program
        cannot know. It covers the last weights only: whoever reads an audit or a checkpoint of an earlier iteration as
        well, or knows the seed of the noise, knows more; and it says nothing about a second request. The noise grows
        with C0, C1 and the number of weights: on all of a ResNet-18 it destroys the network, so only the head is
        trained.

    Defaults:
        Of this program; the paper's depend on the network. No momentum, which the theorem does not cover.

    Source:
        Koloskova et al., "Certified Unlearning for Neural Networks", ICML 2025; Feldman et al., "Privacy Amplification
        by Iteration", FOCS 2018.

    Args:
        features: State dict of all blocks but the head, trained without forget: a torchvision or timm file, or a
            checkpoint of gli. None for the original's own, for which no statement is made.
        epsilon: epsilon of the statement, after the last iteration of the run.
        delta: delta of the statement, in (0, 1).
        weight_norm: C0, the largest norm of the head at the start.
        gradient_clip: C1, the largest norm of a step's gradient.
        lr: Learning rate.
        weight_decay: Weight decay, lambda.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)
    epochs = 5

    def __init__(
        self,
        features: str | None = None,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        weight_norm: float = 1.0,
        gradient_clip: float = 1.0,
        lr: float | None = 0.1,
        weight_decay: float | None = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, gradient_clip=gradient_clip, **kwargs)
        require_positive(epsilon=epsilon, weight_norm=weight_norm, lr=lr)
        if not 0 < delta < 1:
            raise SettingError(f"model.delta is {delta:g}; it must lie in (0, 1).")
        if self.momentum or self.optimizer != "sgd" or self.schedule is not None:
            raise SettingError(
                "NoisyFineTune needs plain SGD at a constant rate: leave out model.momentum, optimizer and schedule."
            )
        if lr is not None and weight_decay is not None and lr * weight_decay > 1:
            raise SettingError(f"model.lr times model.weight_decay is {lr * weight_decay:g}; it must not be above 1.")
        self.features, self.epsilon, self.delta = features, epsilon, delta
        self.weight_norm, self.gradient_norm = weight_norm, gradient_clip
        self._noise: float | None = None

    def head(self) -> list[nn.Parameter]:
        """Return the parameters of the head."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def bound_settings(self, steps: int) -> dict[str, Any]:
        """Return the arguments of the bound after some steps."""
        recipe = self.recipe
        settings = {"steps": steps, "lr": recipe.lr, "weight_decay": recipe.weight_decay, "delta": self.delta}
        return {**settings, "weight_norm": self.weight_norm, "gradient_norm": self.gradient_norm}

    def statement(self) -> str:
        """Return the (epsilon, delta) statement about the current weights, or why there is none."""
        if self.features is None:
            return "no (epsilon, delta) statement: the frozen features are the original's, which saw the forget set"
        if not self.iteration:
            return "no (epsilon, delta) statement: nothing is trained yet"
        epsilon = epsilon_of(self.noise, **self.bound_settings(self.iteration))
        return (
            f"({epsilon:.3g}, {self.delta:g})-indistinguishable from the same training of a head that never saw the "
            f"forget set, if {self.features} never saw it, for whoever sees these weights only and not the seed"
        )

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a step, by the length of the run."""
        if self._noise is None:
            self._noise = noise_for(self.epsilon, **self.bound_settings(self.total_iterations))
        return self._noise

    @torch.no_grad()
    def prepare(self) -> None:
        """Load the features, freeze them, and shrink the head."""
        head = last_blocks(self.model, 1)
        if self.features is not None:
            load_features(cast(Classifier, self.model), self.features, self.backbone)
        freeze_except(self.model, head)
        norm = torch.stack([parameter.norm() for parameter in self.head()]).norm()
        for parameter in self.head():
            parameter.mul_((self.weight_norm / norm).clamp(max=1))

    @torch.no_grad()
    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step, then add the noise: the same on every process."""
        super().take_step(optimizer)
        draws = self.seeded_generator(self.iteration, 3)
        for parameter in self.head():
            noise = torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype, device="cpu")
            parameter.add_(noise.to(parameter.device), alpha=self.noise)
        if self.features is not None:
            self.track(epsilon=epsilon_of(self.noise, **self.bound_settings(self.iteration + 1)))

    def on_train_end(self) -> None:
        """Print the statement."""
        if is_first():
            console.print(f"[bold]{self.name}[/bold]: {self.statement()}.", soft_wrap=True)
