"""What all unlearning methods share: the model, the optimiser, stepping, evaluation and saving.

A method is one subclass with one function, :meth:`Method.unlearn`, of a retain and a forget batch.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from gli.data.loading import Batch, Pass
from gli.errors import SettingError
from gli.models import Classifier, build_classifier, load_weights
from gli.parts import frozen_modules
from gli.pieces import in_pieces
from gli.recipe import Recipe
from gli.runs import iterations_done
from gli.tasks import Task

#: Pixels that a processor evaluates at a time: with more, activations outgrow its cache; with fewer, its cores lack work.
PIXELS_AT_A_TIME = 2**19


def not_negative(**settings: float | None) -> None:
    """Refuse settings below zero.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value is not None and value < 0:
            raise SettingError(f"model.{name} is {value:g}; it must not be negative.")


def positive(**settings: float) -> None:
    """Refuse settings that are zero or below.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value <= 0:
            raise SettingError(f"model.{name} is {value:g}; it must be above zero.")


def no_momentum_in_adam(optimizer: str, momentum: float | None) -> None:
    """Refuse a momentum that would not be used.

    Raises:
        SettingError: If there is one.
    """
    if optimizer == "adam" and momentum:
        raise SettingError(f"model.momentum is {momentum:g}, but Adam has none: set it to 0, or --model.optimizer sgd.")


Scalars = dict[str, Tensor | float]
OptimizerName = Literal["sgd", "adam"]


def make_optimizer(
    name: OptimizerName, model: nn.Module, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are to be trained, and of no others."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


class Method(L.LightningModule, ABC):
    """Base of all methods: starts from the original model and changes it by manual optimisation.

    A new method is a subclass that implements :meth:`unlearn`::

        class NegGrad(Method):
            passes = (Pass("forget"),)

            def unlearn(self, retain, forget):
                self.descend(-self.loss(forget))

    Methods whose epochs differ override :meth:`passes_in`; those that freeze parts, or compare with the original, prepare
    themselves in :meth:`prepare`.

    Args:
        original: Checkpoint of the original model: one of ours, or a plain torchvision state dict. None for the one
            trained from the same data, backbone, recipe and seed, which the command finds or trains.
        lr: Learning rate.
        optimizer: ``sgd`` or ``adam``.
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        backbone: Name of the network, see :func:`~gli.models.build_classifier`.
        pretrained: Whether the original (and the retrained) model start from ImageNet weights.
        normalize: Normalise images by ImageNet's statistics inside the network.
        batch_norm: Mode in which batches pass through the network: ``train``, ``eval``, or ``train_first`` (train for the
            first batch, eval from then on, as GLI's released code does).
    """

    automatic_optimization = False

    #: The passes of every epoch. By default one over retain, with forget cycled alongside. A part that a pass does not
    #: name is None in :meth:`unlearn`.
    passes: Sequence[Pass] = (Pass("retain", "forget"),)
    #: Epochs where the trainer is not told otherwise.
    epochs: int = 1
    #: Whether the method starts from the original model (all but the original and the retrained model do).
    needs_original: ClassVar[bool] = True

    def __init__(
        self,
        original: str | None = None,
        lr: float = 0.001,
        optimizer: OptimizerName = "sgd",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        backbone: str = "resnet18",
        pretrained: bool = False,
        normalize: bool = False,
        batch_norm: Literal["train", "eval", "train_first"] = "train",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        no_momentum_in_adam(optimizer, momentum)
        self.original, self.lr, self.momentum, self.weight_decay = original, lr, momentum, weight_decay
        self.optimizer = optimizer
        self.backbone, self.pretrained, self.normalize = backbone, pretrained, normalize
        self.batch_norm = batch_norm
        self.model: nn.Module = nn.Identity()
        #: Whether the weights come from a checkpoint of this run, so that no original is wanted.
        self.restored = False
        #: Number of the current iteration, counted from 0.
        self.iteration = 0
        #: The loss of the last step, a scalar.
        self.last_loss: Tensor | None = None
        self._task: Task | None = None
        self._prepared = False
        # In a dict, so that a teacher is no submodule: not saved, not trained, not synchronised.
        self._teachers: dict[str, nn.Module] = {}

    @property
    def name(self) -> str:
        """The method's name in tables and figures."""
        return type(self).__name__

    # -- what a method implements and calls ------------------------------------------------------------------------

    @abstractmethod
    def unlearn(self, retain: Batch, forget: Batch) -> Scalars | None:
        """One iteration: one or more optimiser steps from one batch of each part.

        Args:
            retain: Images to be remembered, in [0, 1]; None in a pass that does not name it.
            forget: Images to be forgotten; likewise.

        Returns:
            Values to log under ``train/``, of the same names on every process (their mean is logged); or None.
        """

    @property
    def task(self) -> Task:
        """Multi-class or multi-label, from the data."""
        assert self._task is not None, "the task is known once the trainer has set the method up"
        return self._task

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss of the model on a batch, a scalar."""
        return self.task.loss(self.model(batch.images), batch.labels)

    def descend(self, loss: Tensor) -> None:
        """One optimiser step down the gradient of a scalar."""
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        torch.clear_autocast_cache()  # It still holds the weights of before the step.
        self.last_loss = loss.detach()
        self.log("train/loss", self.last_loss, sync_dist=True)

    def keep_teacher(self, name: str, model: nn.Module) -> None:
        """Keep a model to compare with, frozen and in eval mode; call in :meth:`prepare`."""
        self._teachers[name] = model.eval().requires_grad_(False)

    def keep_original(self) -> None:
        """Keep a frozen copy of the original model; call in :meth:`prepare`."""
        self.keep_teacher("original", copy.deepcopy(self.model))

    def teacher(self, name: str) -> nn.Module:
        """A model kept by :meth:`keep_teacher`, on this device."""
        if name not in self._teachers:
            raise RuntimeError(f"keep the {name} model in prepare() to have it at hand")
        return self._teachers[name].to(self.device)

    @torch.no_grad()
    def taught(self, name: str, images: Tensor) -> Tensor:
        """A teacher's logits of images, to be learnt from or kept away from."""
        return self.teacher(name)(images)

    def fresh(self, *, pretrained: bool = False) -> Classifier:
        """A newly initialised network, the same for the same seed on every process and after resuming."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed((torch.initial_seed() + 1) % 2**63)
            return build_classifier(
                self.backbone, self.task.num_outputs, pretrained=pretrained, normalize=self.normalize
            )

    def normal_like(self, images: Tensor) -> Tensor:
        """Standard normal noise of a batch's shape: the same for the same seed and iteration, also after resuming.

        Each process has its part of what one process would draw for the whole batch.
        """
        count, world = len(images), self.trainer.world_size
        seed = np.random.SeedSequence([torch.initial_seed(), self.iteration]).generate_state(1, np.uint64)
        generator = torch.Generator(images.device).manual_seed(int(seed[0]))
        drawn = torch.randn(count * world, *images.shape[1:], generator=generator, device=images.device)
        return drawn[self.trainer.global_rank * count :][:count].contiguous(memory_format=torch.channels_last)

    def passes_in(self, epoch: int) -> Sequence[Pass]:
        """The passes of an epoch, counted from 0, where not all are alike."""
        return self.passes

    def stage(self, epoch: int) -> str:
        """Name of the stage that an epoch belongs to, for methods that are reported stage by stage; else empty."""
        return ""

    def prepare(self) -> None:
        """Called before training, once the model holds the original's weights and was audited; changes it if need be."""

    def check(self) -> None:
        """Refuse settings that do not go together; called before anything is done, an original trained, say.

        Raises:
            SettingError: If there are any.
        """

    @property
    def total_iterations(self) -> int:
        """Iterations of the whole run, as far as its limits say."""
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            raise SettingError(
                "The class weight warms up over the run: give --trainer.max_epochs or --trainer.max_steps."
            )
        return max(1, int(total))

    # -- Lightning's hooks -----------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Build the network for the data's task and load the original model's weights into it; prepare it for training."""
        if self._task is None:
            self._build()
        if self.trainer.state.fn == TrainerFn.FITTING and not self._prepared:
            self._prepared = True
            self.prepare()
            cast(Any, self.trainer).reload_dataloaders_every_n_epochs = 1  # Epochs may differ in their passes.

    def _build(self) -> None:
        self._task = cast(Any, self.trainer).datamodule.task
        fresh = self.pretrained and not self.needs_original
        self.model = build_classifier(self.backbone, self.task.num_outputs, pretrained=fresh, normalize=self.normalize)
        if self.needs_original and not self.restored:
            if self.original is None:
                raise SettingError(
                    f"{self.name} needs an original model: give --model.original FILE, or call "
                    "gli.originals.find_or_train(method, data) before trainer.fit."
                )
            load_weights(cast(Any, self.model), self.original, self.backbone)

    def default_epochs(self, recipe: Recipe) -> int:
        """Epochs of a run that sets none."""
        return self.epochs

    def configure_optimizers(self) -> Any:
        """The optimiser of the parameters that are to be trained."""
        return make_optimizer(self.optimizer, self.model, self.lr, self.momentum, self.weight_decay)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let go of what the last step logged: a pass that does not log it would have it in its row of the log as well."""
        for value in cast(Any, self.trainer)._results.values():
            if value.meta.fx == "training_step" and not value.meta.on_epoch:
                value.reset()

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        """Set BatchNorm's mode, hand the batch to the method, log what it returns."""
        self.iteration = iterations_done(self.trainer) - 1
        train = self.batch_norm == "train" or (self.batch_norm == "train_first" and self.iteration == 0)
        self.set_mode(train)
        scalars = self.unlearn(cast(Batch, batch.get("retain")), cast(Batch, batch.get("forget")))
        if train and self.trainer.world_size > 1:
            self._share_statistics()
        self.log("step", float(self.iteration + 1))  # The x axis; the trainer's own count is one behind.
        for name, value in (scalars or {}).items():
            self.log(f"train/{name}", value, sync_dist=True)

    def _share_statistics(self) -> None:
        """Average BatchNorm's running statistics over the processes: each has seen its own part of the batch only."""
        moving = (module for module in self.model.modules() if module.training)
        for buffer in (buffer for module in moving for buffer in module.buffers(recurse=False)):
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.trainer.world_size

    def set_mode(self, train: bool) -> None:
        """Train or eval mode for what is being trained; frozen parts stay in eval mode, so that nothing in them moves."""
        self.model.train(train)
        for part in frozen_modules(self.model):
            part.eval()

    def on_train_epoch_end(self) -> None:
        """Step the learning-rate schedule where there is one."""
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            cast(Any, scheduler).step()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images in [0, 1]."""
        return self.model(images)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Per image: its row number, its loss, and its scores; what is made of them is the audit's business."""
        logits = in_pieces(self.model, batch.images, pixels=PIXELS_AT_A_TIME)
        scores = self.task.scores(logits, batch.labels)
        return {"index": batch.index, "loss": self.task.losses(logits, batch.labels), **scores}

    test_step = validation_step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which classifier the checkpoint holds, so that it can be loaded without the method."""
        checkpoint["classifier"] = {
            "backbone": self.backbone,
            "normalize": self.normalize,
            "task": type(self.task).__name__,
            "outputs": list(self.task.names),
            "method": self.name,
            "iteration": iterations_done(self.trainer),
        }
