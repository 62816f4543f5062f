"""The base class of unlearning methods: a loss for a retain and a forget batch, and a step down its gradient.

A method is a subclass of :class:`Method` with one function, :meth:`Method.unlearn`. It may also call:
:mod:`~gli.methods.sweeps` (means and gradients over a whole set) and :mod:`~gli.methods.seeding` (random numbers).
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast, get_args

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from gli.data.loading import Batch, Pass
from gli.data.recipe import Recipe
from gli.errors import SettingError
from gli.methods.module import FaceModule, batches_of_one_explained
from gli.methods.settings import (
    SCHEDULES,
    BatchNormMode,
    OptimizerName,
    ScheduleName,
    make_optimizer,
    require_loss,
    require_not_negative,
    require_positive,
)
from gli.models.blocks import frozen_modules
from gli.system.lightning import clear_step_values
from gli.system.ranks import average_buffers

RELEASED = "Only methods with inner steps have a mode as released: these move the statistics."


class Method(FaceModule, ABC):
    r"""Base of all methods: start from the original model and change it by manual optimisation.

    A new method is a subclass that implements :meth:`unlearn`::

        class NegGrad(Method):
            passes = (Pass("forget"),)

            def unlearn(self, retain, forget):
                return -self.loss(forget)

    Override :meth:`passes_in` where epochs differ, :meth:`prepare` to freeze blocks, to edit weights before training or
    to keep a teacher, and :meth:`take_step` to change gradients before a step or weights after it.

    Symbols:
        $\theta$ are the weights of the network, $\theta_{\text{original}}$ those of the original model, from which a
        method starts unless its equation says otherwise. $f(x; \theta)$ are the logits of an image $x$, and
        $l(x, y; \theta)$ is the task's loss for its label $y$: the cross-entropy, or the mean binary cross-entropy of
        several labels. $\mathbb E_{\text{retain}}$ is the mean over the images and labels of retain, of which a step
        takes one batch; other sets likewise. $\text{KL}(p \Vert q)$ is the Kullback-Leibler divergence, with several
        labels the sum over the labels of that between two Bernoullis.

    Args:
        original: Checkpoint of the original model: one of ours, or a plain torchvision state dict. None for the one
            trained from the same data, backbone, recipe and seed, which the command finds or trains.
        lr: Learning rate; None for that of the data set's recipe.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        momentum: Momentum of SGD; None for that of the recipe.
        weight_decay: Weight decay; None for that of the recipe.
        schedule: Learning rate over the run: ``cosine`` decay, or ``warmup``, which rises linearly over the first fifth
            and then decays linearly; None for a constant one (or the recipe's steps, where a method follows it).
        backbone: Name of the network, see :func:`~gli.models.build_classifier`.
        pretrained: Whether the original (and the retrained) model start from ImageNet weights, downloaded on first use.
        weights: File that they start from instead, without a download: a state dict of torchvision or timm
            (``torch.save`` or ``.safetensors``). The head is new.
        normalize: Normalise images by ImageNet's statistics inside the network.
        batch_norm: Mode of BatchNorm while training: ``train``, ``eval``, or ``train_first`` (then eval).
        gradient_clip: Largest norm of the gradient of a step; None for no clipping. (The trainer's own setting does not
            work under manual optimisation.)
    """

    automatic_optimization = False

    #: The passes of every epoch; by default one over retain, with forget cycled alongside. In :meth:`unlearn`, the
    #: batch of a set that a pass does not name is None.
    passes: Sequence[Pass] = (Pass("retain", "forget"),)
    #: Number of epochs where the trainer sets none.
    epochs: int = 1
    #: Whether epochs and learning-rate schedule are those of the data set's recipe.
    follows_recipe: ClassVar[bool] = False

    def __init__(
        self,
        original: str | None = None,
        lr: float | None = 0.001,
        optimizer: OptimizerName = "sgd",
        momentum: float | None = 0.0,
        weight_decay: float | None = 0.0,
        schedule: ScheduleName | None = None,
        backbone: str = "resnet18",
        pretrained: bool = False,
        weights: str | None = None,
        normalize: bool = False,
        batch_norm: BatchNormMode = "train",
        gradient_clip: float | None = None,
    ) -> None:
        super().__init__(original, backbone, pretrained, weights, normalize)
        self.save_hyperparameters()
        require_not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        require_positive(gradient_clip=gradient_clip)
        if optimizer != "sgd" and momentum:
            raise SettingError(
                f"model.momentum is {momentum:g}, but Adam has none: set it to 0, or --model.optimizer sgd."
            )
        if batch_norm not in get_args(BatchNormMode):
            raise SettingError(f"model.batch_norm is {batch_norm}; use train, eval or train_first. {RELEASED}")
        if schedule is not None and self.follows_recipe:
            raise SettingError(f"model.schedule is {schedule}, but this method follows the recipe's. Leave it out.")
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.optimizer, self.schedule, self.gradient_clip = optimizer, schedule, gradient_clip
        self.batch_norm = batch_norm
        #: The loss of the last step, a scalar.
        self.last_loss: Tensor | None = None
        #: A few images before and after their perturbation, for the figures.
        self.examples: tuple[Tensor, Tensor] | None = None
        #: Time that :meth:`prepare` took, which is part of the cost of a run.
        self.prepare_seconds = 0.0
        self._built = self._prepared = False
        self._tracked: dict[str, Tensor | float] = {}
        # In a dict, because a submodule would be saved, trained and synchronised.
        self._teachers: dict[str, nn.Module] = {}

    # -- what a method implements and calls ------------------------------------------------------------------------

    @abstractmethod
    def unlearn(self, retain: Batch, forget: Batch) -> Tensor:
        """Return the loss of one iteration, to be minimised by one optimiser step.

        Args:
            retain: Images to be remembered, in [0, 1]; None in a pass that does not name them.
            forget: Images to be forgotten, likewise.

        Returns:
            A scalar with a gradient.
        """

    def loss(self, batch: Batch) -> Tensor:
        """Return the task's loss of the model on a batch, a scalar."""
        return self.task.loss(self.model(batch.images), batch.labels)

    def track(self, **values: Tensor | float) -> None:
        """Log values of this iteration under ``train/``; call in :meth:`unlearn`.

        Under several processes the mean is logged, so every process must give the same names.
        """
        self._tracked |= values

    def keep_teacher(self, name: str, model: nn.Module) -> None:
        """Keep a model to compare with, frozen and in eval mode; call in :meth:`prepare`."""
        self._teachers[name] = model.eval().requires_grad_(False)

    def keep_original(self) -> None:
        """Keep a frozen copy of the original model as teacher ``original``; call in :meth:`prepare`."""
        self.keep_teacher("original", copy.deepcopy(self.model))

    def teacher(self, name: str) -> nn.Module:
        """Return a model kept by :meth:`keep_teacher`, on this device."""
        if name not in self._teachers:
            raise RuntimeError(f"call keep_teacher({name!r}, ...) in prepare() to have this teacher")
        return self._teachers[name].to(self.device)

    @torch.no_grad()
    def teacher_logits(self, name: str, images: Tensor) -> Tensor:
        """Return a teacher's logits of images, without a gradient."""
        logits: Tensor = self.teacher(name)(images)
        return logits

    # -- what a method may override --------------------------------------------------------------------------------

    def passes_in(self, epoch: int) -> Sequence[Pass]:
        """Return the passes of an epoch, counted from 0; override where epochs differ."""
        return self.passes

    def stage(self, epoch: int) -> str:
        """Return the name of the stage of an epoch, for methods that are reported by stage; otherwise ``""``."""
        return ""

    def prepare(self) -> None:
        """Prepare for training; called once, when the model holds the original's weights and was audited."""

    def take_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimiser's step; override to change gradients before it, or weights after it.

        Gradients are those of the loss; :attr:`gradient_clip` clips them inside ``optimizer.step()``.
        """
        optimizer.step()

    def lr_factor(self) -> float:
        """Return the factor of the learning rate in the current iteration: that of ``schedule``, or the recipe's."""
        if self.follows_recipe:
            done = 0.0 if self.recipe.schedule == "steps" else (self.iteration + 0.5) / self.total_iterations
            return self.recipe.lr_factor(self.trainer.current_epoch, done)
        return 1.0 if self.schedule is None else SCHEDULES[self.schedule](self.iteration, self.total_iterations)

    def default_epochs(self, recipe: Recipe) -> int:
        """Return the number of epochs of a run that does not set it."""
        return recipe.epochs if self.follows_recipe else self.epochs

    # -- the step --------------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The data set's recipe, with this method's own settings where they are given."""
        settings = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        return replace(self.data.recipe, **given)

    @property
    def total_iterations(self) -> int:
        """Iterations of the whole run, by the limits of the trainer.

        Raises:
            SettingError: If the run has no limit.
        """
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            raise SettingError(
                "A setting of this method changes over the run: give --trainer.max_epochs or --trainer.max_steps."
            )
        return max(1, int(total))

    def configure_model(self) -> None:
        """Build the network, load the original model's weights, and prepare for training."""
        if not self._built:
            self._built = True
            self.build()
        if self.trainer.state.fn == TrainerFn.FITTING and not self._prepared:
            self._prepared, started = True, time.perf_counter()
            self.data.passes_in = self.passes_in
            cast(Any, self.trainer).reload_dataloaders_every_n_epochs = 1  # Epochs may differ in their passes.
            self.prepare()
            self.prepare_seconds = time.perf_counter() - started

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return make_optimizer(self.optimizer, self.model, self.recipe)

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        """Set BatchNorm's mode and the learning rate, take a step down the gradient of the method's loss, and log."""
        # Clear values of the previous step; otherwise a pass that does not log a key repeats its last value.
        clear_step_values(self.trainer)
        self._tracked = {}
        train = self.batch_norm == "train" or (self.batch_norm == "train_first" and self.iteration == 0)
        self.set_mode(train)
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        for group in optimizer.param_groups:
            group["lr"] = self.recipe.lr * self.lr_factor()
        with batches_of_one_explained():
            loss = self.unlearn(cast(Batch, batch.get("retain")), cast(Batch, batch.get("forget")))
        require_loss(self.name, loss)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.take_step(optimizer)
        torch.clear_autocast_cache()  # It still holds the weights before the step.
        self.last_loss = loss.detach()
        if train:  # Each process has seen its own share of the batch only.
            average_buffers((module for module in self.model.modules() if module.training), self.trainer)
        self.iteration += 1
        self.log("step", float(self.iteration))  # The x axis; the trainer's own count is one behind.
        for name, value in {"loss": self.last_loss, **self._tracked}.items():
            self.log(f"train/{name}", value, sync_dist=True)

    def set_mode(self, train: bool) -> None:
        """Set train or eval mode; frozen modules stay in eval mode, so that their statistics do not move."""
        self.model.train(train)
        for module in frozen_modules(self.model):
            module.eval()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient where asked; in mixed precision it is unscaled here."""
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, gradient_clip_algorithm="norm")
