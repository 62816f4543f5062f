"""What all unlearning methods share: the model, the optimiser, stepping, evaluation and saving.

A method is a subclass with one function, :meth:`Method.unlearn`, which returns a loss for a retain and a forget batch.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from gli.data import FaceDataModule
from gli.data.faces import Rows
from gli.data.loading import Batch, Pass
from gli.data.recipe import Recipe
from gli.data.tasks import Task
from gli.errors import SettingError
from gli.methods.schedule import SCHEDULES, ScheduleName
from gli.metrics.registry import COLUMNS, LOSS
from gli.models.backbones import GIVEN, Classifier, build_classifier
from gli.models.blocks import frozen_modules
from gli.models.checkpoints import load_features, load_weights
from gli.models.network import Network
from gli.models.training_images import TRAINING_IMAGES, pack, read_training_images, unpack
from gli.runs.membership import Membership
from gli.system.chunks import CHUNK_PIXELS, in_chunks
from gli.system.lightning import clear_step_values, current_epoch

OptimizerName = Literal["sgd", "adam", "adamw"]
BatchNormMode = Literal["train", "eval", "train_first", "released"]


def require_not_negative(**settings: float | None) -> None:
    """Refuse settings below zero.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value is not None and value < 0:
            raise SettingError(f"model.{name} is {value:g}; it must not be negative.")


def require_positive(**settings: float | None) -> None:
    """Refuse settings that are zero or below.

    Raises:
        SettingError: Naming the first of them.
    """
    for name, value in settings.items():
        if value is not None and value <= 0:
            raise SettingError(f"model.{name} is {value:g}; it must be above zero.")


def make_optimizer(name: OptimizerName, model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return an optimiser of the parameters that require a gradient.

    Args:
        name: ``sgd``, ``adam`` or ``adamw``.
        model: The network.
        recipe: Learning rate, momentum (SGD only) and weight decay.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name != "sgd":
        adam = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        return adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


class Method(L.LightningModule, ABC):
    """Base of all methods: start from the original model and change it by manual optimisation.

    A new method is a subclass that implements :meth:`unlearn`::

        class NegGrad(Method):
            passes = (Pass("forget"),)

            def unlearn(self, retain, forget):
                return -self.loss(forget)

    Override :meth:`passes_in` where epochs differ, :meth:`prepare` to freeze blocks, to edit weights before training or
    to keep a teacher, and :meth:`take_step` to change gradients before a step or weights after it.

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
        batch_norm: Mode of BatchNorm while training: ``train``, ``eval``, ``train_first`` (train for the first batch,
            eval afterwards), or ``released``: as ``train_first``, and the inner steps of GLI and LI move the running
            statistics in the first batch too, as in GLI's released code.
        gradient_clip: Largest norm of the gradient of a step; None for no clipping. (The trainer's own setting does not
            work under manual optimisation.)
    """

    automatic_optimization = False

    #: The passes of every epoch; by default one over retain, with forget cycled alongside. In :meth:`unlearn`, the
    #: batch of a set that a pass does not name is None.
    passes: Sequence[Pass] = (Pass("retain", "forget"),)
    #: Number of epochs where the trainer is not told otherwise.
    epochs: int = 1
    #: Whether the method starts from the original model (all but the original and the retrained model do).
    needs_original: ClassVar[bool] = True
    #: Whether epochs and learning-rate schedule are those of the data set's recipe.
    follows_recipe: ClassVar[bool] = False
    #: Whether the method compares with people who are neither trained on nor audited (``data.reference_share``).
    needs_reference: bool = False
    #: Whether the method perturbs images by inner steps, so that ``batch_norm: released`` has a meaning.
    perturbs: ClassVar[bool] = False
    #: Names of attributes that change over the iterations, so that a checkpoint has to hold them: tensors, lists or
    #: dictionaries of tensors, or numbers.
    saved: ClassVar[tuple[str, ...]] = ()

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
        super().__init__()
        self.save_hyperparameters()
        require_not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        require_positive(gradient_clip=gradient_clip)
        if optimizer != "sgd" and momentum:
            raise SettingError(
                f"model.momentum is {momentum:g}, but Adam has none: set it to 0, or --model.optimizer sgd."
            )
        if batch_norm == "released" and not self.perturbs:
            raise SettingError("model.batch_norm released is for GLI and LI, whose inner steps move the statistics.")
        if schedule is not None and self.follows_recipe:
            raise SettingError(f"model.schedule is {schedule}, but this method follows the recipe's. Leave it out.")
        self.original, self.lr, self.momentum, self.weight_decay = original, lr, momentum, weight_decay
        self.optimizer, self.gradient_clip, self.schedule = optimizer, gradient_clip, schedule
        if pretrained and weights is not None:
            raise SettingError("model.pretrained and model.weights both say where the original starts. Give one.")
        self.backbone, self.pretrained, self.normalize = backbone, pretrained, normalize
        self.start_weights = weights
        self.batch_norm = batch_norm
        self.model: nn.Module = nn.Identity()
        #: The network to start from, where it is given as an object rather than by the name of a backbone.
        self.network: Network | None = None
        #: Whether the weights come from a checkpoint of this run, so that no original is needed.
        self.restored = False
        #: The clock of a run: iterations done, those before a resume included. In :meth:`unlearn` it is the index of
        #: the current iteration, counted from 0.
        self.iteration = 0
        #: The loss of the last step, a scalar.
        self.last_loss: Tensor | None = None
        #: Content hashes of the images that the original was trained on, sorted; None where they are not known.
        self.trained_on: npt.NDArray[np.bytes_] | None = None
        #: How this run knows who the original was trained on; None where nobody has judged it.
        self.membership: Membership | None = None
        #: A few images before and after their perturbation, for the figures.
        self.examples: tuple[Tensor, Tensor] | None = None
        #: Time that :meth:`prepare` took, which is part of the cost of a run.
        self.prepare_seconds = 0.0
        self._built = self._prepared = False
        self._tracked: dict[str, Tensor | float] = {}
        # In a dict, because a submodule would be saved, trained and synchronised.
        self._teachers: dict[str, nn.Module] = {}

    @property
    def name(self) -> str:
        """The method's name in tables and figures."""
        return type(self).__name__

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

    def track(self, **values: Tensor | float) -> None:
        """Log values of this iteration under ``train/``; call in :meth:`unlearn`.

        Under several processes the mean is logged, so every process must give the same names.
        """
        self._tracked |= {
            name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()
        }

    @property
    def data(self) -> FaceDataModule:
        """The data module of the run."""
        return cast(FaceDataModule, cast(Any, self.trainer).datamodule)

    @property
    def task(self) -> Task:
        """Multi-class or multi-label, from the data."""
        return self.data.task

    @property
    def recipe(self) -> Recipe:
        """The data set's recipe, with this method's own settings where they are given."""
        settings = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        return replace(self.data.recipe, **given)

    def loss(self, batch: Batch) -> Tensor:
        """Return the task's loss of the model on a batch, a scalar."""
        return self.task.loss(self.model(batch.images), batch.labels)

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

    def distillation(self, name: str, images: Tensor, logits: Tensor, temperature: float) -> Tensor:
        """Return T^2 KL(teacher || student), both softened by the temperature T: the mean over the batch.

        Args:
            name: Name of the teacher.
            images: The images.
            logits: The student's logits of them.
            temperature: T.
        """
        divergence = self.task.divergence(logits, self.teacher_logits(name, images), temperature)
        return temperature**2 * divergence.mean()

    @property
    def starts_pretrained(self) -> bool:
        """Whether the original did not start from random weights."""
        return self.pretrained or self.start_weights is not None

    def _new_classifier(self, pretrained: bool) -> Classifier:
        """Return a new network, with random weights or those that the original started from."""
        download = pretrained and self.start_weights is None
        outputs = self.task.num_outputs
        model = build_classifier(self.backbone, outputs, pretrained=download, normalize=self.normalize)
        if pretrained and self.start_weights is not None:
            load_features(model, self.start_weights, self.backbone)
        return model

    def fresh_classifier(self, *, pretrained: bool = False) -> Classifier:
        """Return a newly initialised network: the same one for the same seed, on every process and after resuming.

        Args:
            pretrained: Whether it starts from what the original started from, rather than from random weights.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed((torch.initial_seed() + 1) % 2**63)
            return self.network.fresh() if self.network is not None else self._new_classifier(pretrained)

    def seeded_generator(self, *key: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a generator that depends on the seed of the run and a key only: the same one on every process."""
        seed = np.random.SeedSequence([torch.initial_seed(), *key]).generate_state(1, np.uint64)
        return torch.Generator(device).manual_seed(int(seed[0]))

    def seeded_randn_like(self, images: Tensor) -> Tensor:
        """Return standard normal noise of a batch's shape, which depends on the seed and the iteration only.

        A resumed run draws the same noise. Each process gets its share of the noise that one process would draw for
        the whole batch.
        """
        count, world = len(images), self.trainer.world_size
        generator = self.seeded_generator(self.iteration, device=images.device)
        noise = torch.randn(count * world, *images.shape[1:], generator=generator, device=images.device)
        return noise[self.trainer.global_rank * count :][:count].contiguous(memory_format=torch.channels_last)

    def rand_of_images(self, index: Tensor, columns: int, *key: int) -> Tensor:
        """Return uniform random numbers in [0, 1) of images, shape ``(batch, columns)``.

        They depend on the seed, the key and the image only, not on the batch or the process that it is in.

        Args:
            index: Row numbers of the images, shape ``(batch,)``.
            columns: Random numbers of each image.
            *key: Numbers that tell one draw from another, such as the iteration.
        """
        table = torch.rand(len(self.data.identities), columns, generator=self.seeded_generator(*key), device="cpu")
        return table[index.cpu()].to(index.device)

    # -- going over a whole set, in prepare() or now and then in unlearn() -------------------------------------------

    def batches_of(self, name: str, rows: Rows | None = None) -> Iterator[Batch]:
        """Yield this process's batches of a set (or of some of its rows) without augmentation, images in [0, 1].

        Every row is on one process. Use :meth:`mean_over` or :meth:`gradients_over` to combine the processes.
        """
        device = self.trainer.strategy.root_device
        for batch in self.data.batches_of(name, rows):
            moved = Batch(batch.images.to(device), batch.labels.to(device), batch.index.to(device))
            yield self.data.to_float(moved)

    @torch.no_grad()
    def mean_over(self, name: str, function: Callable[[Tensor, Tensor], Tensor]) -> float:
        """Return the mean over a set of a value per image of the model in eval mode.

        Args:
            name: Name of the set.
            function: Takes logits and labels of a batch and returns one value per image, such as ``task.losses``.
        """
        modes = self._enter_eval_mode()
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in self.batches_of(name):
            values = function(self.model(batch.images), batch.labels)
            sums += torch.stack([values.double().sum().cpu(), torch.tensor(float(len(values)), dtype=torch.float64)])
        self._restore_modes(modes)
        total, count = self._sum_over_processes(sums)
        return float(total / count)

    def gradients_over(self, name: str, rows: Rows | None = None) -> dict[str, Tensor]:
        """Return the gradient, by the parameters' names, of the mean loss over a set, with BatchNorm in eval mode."""
        modes = self._enter_eval_mode()
        parameters = {key: value for key, value in self.model.named_parameters() if value.requires_grad}
        total = {key: torch.zeros_like(value) for key, value in parameters.items()}
        count = torch.zeros(1, dtype=torch.float64)
        with torch.enable_grad():
            for batch in self.batches_of(name, rows):
                loss = self.task.losses(self.model(batch.images), batch.labels).sum()
                gradients = torch.autograd.grad(loss, list(parameters.values()))
                for key, gradient in zip(parameters, gradients, strict=True):
                    total[key] += gradient
                count += len(batch.images)
        self._restore_modes(modes)
        images = self._sum_over_processes(count).item()
        return {key: self._sum_over_processes(value) / images for key, value in total.items()}

    def fisher_over(self, name: str) -> dict[str, Tensor]:
        """Return the diagonal of the empirical Fisher information of a set, by the parameters' names.

        It is the mean over batches (of the training batch size, all processes together) of the squared gradient of the
        mean loss of a batch, with BatchNorm in eval mode.
        """
        rows, size = self.data.rows(name), self.data.batch_size * self.trainer.world_size
        total: dict[str, Tensor] = {}
        count = math.ceil(len(rows) / size)
        for start in range(0, len(rows), size):
            for key, gradient in self.gradients_over(name, rows[start : start + size]).items():
                total[key] = total.get(key, 0) + gradient**2 / count
        return total

    def _enter_eval_mode(self) -> dict[nn.Module, bool]:
        """Put the model on the device of the run and in eval mode; return the modes that its modules had."""
        self.model.to(self.trainer.strategy.root_device)
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        return modes

    def _restore_modes(self, modes: dict[nn.Module, bool]) -> None:
        for module, training in modes.items():
            module.training = training

    def _sum_over_processes(self, values: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return values
        device = self.trainer.strategy.root_device
        summed = values.to(device)
        torch.distributed.all_reduce(summed)
        return summed.to(values.device)

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
        """Return the factor of the learning rate in the current iteration: that of ``schedule``."""
        return 1.0 if self.schedule is None else SCHEDULES[self.schedule](self.iteration, self.total_iterations)

    def check(self) -> None:
        """Refuse settings that do not go together; called before any work, such as training an original.

        Raises:
            SettingError: If there are any.
        """

    def check_data(self, data: FaceDataModule) -> None:
        """Refuse data that the method cannot use; called before any work.

        Raises:
            SettingError: If it needs reference people, and the data has none.
        """
        if self.needs_reference and not data.reference_share:
            raise SettingError(
                f"{self.name} compares with people who are neither trained on nor audited. Set some of the test people "
                "aside for it: --data.reference_share 0.5."
            )
        if self.needs_reference and data.rehearsal == "reference":
            raise SettingError(
                f"{self.name} compares with reference people, but they are the test and unseen people of this "
                "rehearsal. Set --data.rehearsal true, without --model.original."
            )

    def default_epochs(self, recipe: Recipe) -> int:
        """Return the number of epochs of a run that does not set it."""
        return recipe.epochs if self.follows_recipe else self.epochs

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

    # -- Lightning's hooks -----------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Build the network, load the original model's weights, and prepare for training."""
        if not self._built:
            self._built = True
            self._build()
        if self.trainer.state.fn == TrainerFn.FITTING and not self._prepared:
            self._prepared = True
            started = time.perf_counter()
            self.prepare()
            self.prepare_seconds = time.perf_counter() - started
            cast(Any, self.trainer).reload_dataloaders_every_n_epochs = 1  # Epochs may differ in their passes.

    def _build(self) -> None:
        if self.network is not None:
            self.model = self.network.classifier()
            return
        model = self._new_classifier(self.starts_pretrained and not self.needs_original)
        if self.needs_original and not self.restored:
            if self.original is None:
                raise SettingError(
                    f"{self.name} needs an original model: give --model.original FILE, or call "
                    "gli.engine.originals.find_or_train(method, data) before trainer.fit."
                )
            load_weights(model, self.original, self.backbone)
            if self.trained_on is None:
                self.trained_on = read_training_images(self.original)
        self.model = model

    def configure_optimizers(self) -> Any:
        """Return the optimiser, and the recipe's schedule where the method follows it."""
        recipe = self.recipe
        optimizer = make_optimizer(self.optimizer, self.model, recipe)
        if not self.follows_recipe:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, list(recipe.milestones))]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Clear values logged by the previous step; otherwise a pass that does not log a key repeats its last value."""
        clear_step_values(self.trainer)

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        """Set BatchNorm's mode, take a step down the gradient of the method's loss, and log."""
        train = self.batch_norm == "train" or (self.batch_norm != "eval" and self.iteration == 0)
        self.set_mode(train)
        self._set_learning_rate()
        self._tracked = {}
        loss = self.unlearn(cast(Batch, batch.get("retain")), cast(Batch, batch.get("forget")))
        self._step(loss)
        if train and self.trainer.world_size > 1:
            self._average_statistics()
        self.iteration += 1
        self.log("step", float(self.iteration))  # The x axis; the trainer's own count is one behind.
        for name, value in {"loss": loss.detach(), **self._tracked}.items():
            self.log(f"train/{name}", value, sync_dist=True)

    def _set_learning_rate(self) -> None:
        """Set the learning rate of this iteration; one that follows the recipe's schedule is set after each epoch."""
        if not self.follows_recipe:
            for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
                group["lr"] = self.recipe.lr * self.lr_factor()

    def _step(self, loss: Tensor) -> None:
        """Take one optimiser step down the gradient of a scalar."""
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.take_step(optimizer)
        torch.clear_autocast_cache()  # It still holds the weights before the step.
        self.last_loss = loss.detach()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient where asked; in mixed precision it is unscaled here."""
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, gradient_clip_algorithm="norm")

    def _average_statistics(self) -> None:
        """Average BatchNorm's running statistics over the processes: each has seen its own share of the batch only."""
        modules = (module for module in self.model.modules() if module.training)
        for buffer in (buffer for module in modules for buffer in module.buffers(recurse=False)):
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.trainer.world_size

    def set_mode(self, train: bool) -> None:
        """Set train or eval mode; frozen modules stay in eval mode, so that their statistics do not move."""
        self.model.train(train)
        for module in frozen_modules(self.model):
            module.eval()

    def on_train_epoch_end(self) -> None:
        """Step the learning-rate schedule, if there is one."""
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            cast(Any, scheduler).step()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images in [0, 1]."""
        logits: Tensor = self.model(images)
        return logits

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Return the per-image values of a batch for the audit.

        Returns:
            ``index``: row numbers, shape ``(batch,)``; ``accuracies`` and ``values``: columns by name, each of shape
            ``(batch,)``.
        """
        logits = in_chunks(self.model, batch.images, pixels=CHUNK_PIXELS)
        accuracies = self.task.accuracies(logits, batch.labels)
        values = {LOSS: self.task.losses(logits, batch.labels), **self.task.margins(logits, batch.labels)}
        for column in COLUMNS.values():
            columns = accuracies if column.is_accuracy else values
            columns[column.name] = column.compute(self.task, logits, batch.labels)
        return {"index": batch.index, "accuracies": accuracies, "values": values}

    test_step = validation_step

    def training_images(self) -> npt.NDArray[np.bytes_] | None:
        """Return the content hashes of all images that the model has been trained on so far, sorted.

        Those of the original are included. None where it is not known who the original was trained on.
        """
        data = self.data
        if not self.needs_original:
            epochs = range(current_epoch(self.trainer) + 1)
            names = {name for epoch in epochs for pass_ in self.passes_in(epoch) for name in pass_.names}
            return np.unique(np.concatenate([data.digests[data.rows(name)] for name in sorted(names)]))
        if self.trained_on is None:
            return None
        return np.union1d(self.trained_on, data.digests[data.rows("train")])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the classifier and its training images, so that it can be loaded and judged without the method."""
        images = self.training_images()
        if images is not None:
            checkpoint[TRAINING_IMAGES] = pack(images)
        checkpoint["classifier"] = {
            "backbone": self.backbone if self.network is None else f"{GIVEN}{self.network.name}",
            "normalize": self.normalize,
            "task": type(self.task).__name__,
            "outputs": list(self.task.names),
            "method": self.name,
            "iteration": self.iteration,
        }
        if self.saved:
            checkpoint["method_state"] = {name: getattr(self, name) for name in self.saved}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the clock to the iteration of the checkpoint; restore what the method saved and who was trained on."""
        self.iteration = int(checkpoint["classifier"]["iteration"])
        if self.trained_on is None:
            self.trained_on = unpack(checkpoint, "the checkpoint")
        for name, value in checkpoint.get("method_state", {}).items():
            if name in self.saved:
                setattr(self, name, value)
