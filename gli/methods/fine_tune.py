"""Training on what is to be remembered: the whole network, or its last parts only."""

from __future__ import annotations

from typing import Any

import torch

from gli.data.loading import Batch, Pass
from gli.methods.base import Method
from gli.methods.by_recipe import ByRecipe
from gli.models import build_classifier
from gli.parts import initialise_anew, last_parts, train_only


class FineTune(Method):
    """Fine-tuning: train on retain, and let forgetting take its course.

    Equation:
        min over theta of CE(f(x; theta), y), the mean over retain.

    Cost:
        One forward and backward pass per retain image and epoch; one model in memory.

    Fails:
        Forgets next to nothing in a few epochs: nothing pushes the model away from what it has memorised.

    Defaults:
        The MUFAC/MUCAC benchmark's: two epochs of SGD at 0.001. Its notebook for MUFAC measures the model before it trains it,
        which leaves BatchNorm in eval mode: ``--model.batch_norm eval``.

    Source:
        Paper, section 4.1.1, Eq. 1; Golatkar et al., "Forgetting Outside the Box", ECCV 2020.

    Args:
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    passes = (Pass("retain"),)
    epochs = 2

    def unlearn(self, retain: Batch, forget: Batch) -> None:
        """Descend on the task's loss on retain."""
        self.descend(self.loss(retain))


class CFk(FineTune):
    """CF-k, catastrophic forgetting of the last k parts: fine-tuning with everything before them frozen.

    Frozen parts stay as they are to the bit, BatchNorm's statistics included.

    Equation:
        min over the last k parts of theta of CE(f(x; theta), y), the mean over retain.

    Cost:
        One forward pass per retain image and epoch, and a backward pass through the last k parts only.

    Fails:
        Forgets less than fine-tuning: what the frozen parts have memorised stays.

    Defaults:
        The benchmark's CF-3: of a ResNet layer3, layer4 and the head, two epochs of SGD at 0.001.

    Source:
        Goel et al., "Towards Adversarial Evaluations for Inexact Machine Unlearning", 2022.

    Args:
        k: Number of parts that are trained, counted from the head; see :func:`gli.parts.parts`.
        **kwargs: See :class:`~gli.methods.base.Method`.
    """

    def __init__(self, k: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def check(self) -> None:
        """Refuse a k that the network has not so many parts for."""
        with torch.device("meta"):
            last_parts(build_classifier(self.backbone, 1), self.k)

    def prepare(self) -> None:
        """Freeze all but the last k parts."""
        train_only(self.model, last_parts(self.model, self.k))


class EUk(ByRecipe, CFk):
    """EU-k, exact unlearning of the last k parts: they are initialised anew and trained as the original was, on retain only.

    Equation:
        min over the last k parts of theta, from a fresh start, of CE(f(x; theta), y), the mean over retain.

    Cost:
        The recipe's epochs over retain, with a backward pass through the last k parts only.

    Fails:
        Exact for the last parts alone: what the frozen ones have memorised stays, and a small k keeps most of it. Costs
        nearly as much as retraining.

    Defaults:
        k = 3 as in CF-3; epochs, learning rate and schedule are the data set's recipe (``data.recipe``).

    Source:
        Goel et al., "Towards Adversarial Evaluations for Inexact Machine Unlearning", 2022.

    Args:
        **kwargs: See :class:`CFk`, :class:`~gli.methods.by_recipe.ByRecipe` and :class:`~gli.methods.base.Method`.
    """

    def prepare(self) -> None:
        """Freeze all but the last k parts, and give those a fresh start."""
        super().prepare()
        fresh = self.fresh(pretrained=self.pretrained)
        initialise_anew(last_parts(self.model, self.k), last_parts(fresh, self.k))
