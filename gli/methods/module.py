"""The network of a run as a LightningModule: built, evaluated image by image, and described in its checkpoints."""

from __future__ import annotations

import inspect
import re
from abc import ABCMeta
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gli.data import FaceDataModule
from gli.data.loading import Batch
from gli.data.tasks import Task
from gli.errors import SettingError, did_you_mean
from gli.methods.settings import require_attackable, require_reference
from gli.metrics.registry import COLUMNS, LOSS
from gli.models.backbones import GIVEN, Classifier, build_classifier
from gli.models.checkpoints import load_features, load_weights
from gli.models.network import Network
from gli.models.training_images import TRAINING_IMAGES, pack, read_training_images, unpack
from gli.runs.membership import Membership
from gli.system.chunks import CHUNK_PIXELS, in_chunks
from gli.system.classes import init_parameters
from gli.system.ledger import sha256_file
from gli.system.lightning import current_epoch

#: Key of a checkpoint: SHA-256 of the files that its weights descend from, by their role.
LINEAGE = "lineage"


@contextmanager
def batches_of_one_explained() -> Iterator[None]:
    """Turn the error of BatchNorm at a batch of one image into one that names the settings."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SettingError(
            f"BatchNorm cannot train on a batch of one image ({error}). Set data.batch_size, and batch sizes of the "
            "method, to 2 or more (gli erase: data_settings and method_settings of the policy)."
        ) from error


class MethodClass(ABCMeta):
    """Class of methods: each shows its settings with those of its bases, and names the one that was meant."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Create a method.

        Raises:
            TypeError: If there is no such setting.
        """
        try:
            return ABCMeta.__call__(cls, *args, **kwargs)  # Lightning takes a frame of super() for an __init__.
        except TypeError as error:
            unknown = re.search(r"__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
            if unknown is None or unknown[1] not in kwargs:
                raise
            known = init_parameters(cls)
            hint = did_you_mean(unknown[1], known) or f" It has {', '.join(known)}."
            raise TypeError(f"{cls.__name__} has no setting {unknown[1]!r}.{hint}") from None

    @property
    def __signature__(cls) -> inspect.Signature:
        """Settings of the class and its bases."""
        return inspect.Signature([each.replace(kind=each.KEYWORD_ONLY) for each in init_parameters(cls).values()])


class FaceModule(L.LightningModule, metaclass=MethodClass):
    """A classifier of faces, with the original's weights or new ones.

    Args:
        original: Checkpoint of the original model; None for the one that the command finds or trains.
        backbone: Name of the network, see :func:`~gli.models.build_classifier`.
        pretrained: Whether the original starts from ImageNet weights.
        weights: File that it starts from instead.
        normalize: Normalise images by ImageNet's statistics inside the network.

    Raises:
        SettingError: If both ``pretrained`` and ``weights`` are given.
    """

    #: Whether the network starts from the original model (all but the original and the retrained model do).
    needs_original: ClassVar[bool] = True
    #: Whether the method compares with people who are neither trained on nor audited (``data.reference_share``).
    needs_reference: bool = False
    #: Whether it first puts the network out of use, so that accuracy returns with the iterations.
    rebuilds: ClassVar[bool] = False
    #: What makes it forget more, and less, for the last line of a run; empty for the learning rate and the iterations.
    more: ClassVar[str] = ""
    less: ClassVar[str] = ""
    #: Names of attributes that change over the iterations, so that a checkpoint has to hold them: tensors, lists or
    #: dictionaries of tensors, or numbers.
    saved: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, original: str | None, backbone: str, pretrained: bool, weights: str | None, normalize: bool
    ) -> None:
        super().__init__()
        if pretrained and weights is not None:
            raise SettingError("model.pretrained and model.weights both say where the original starts. Give one.")
        self.original, self.backbone, self.normalize = original, backbone, normalize
        self.pretrained, self.start_weights = pretrained, weights
        self.model: nn.Module = nn.Identity()
        #: The network to start from, where it is given as an object rather than by the name of a backbone.
        self.network: Network | None = None
        #: Whether the weights come from a checkpoint of this run, so that no original is needed.
        self.restored = False
        #: The clock of a run: iterations done, those before a resume included. In :meth:`unlearn` it is the index of
        #: the current iteration, counted from 0.
        self.iteration = 0
        #: Checkpoints of the networks of :meth:`cohort_sets`, by the name of the set.
        self.cohort_files: dict[str, str] = {}
        #: Content hashes of the images that the original was trained on, sorted; None where they are not known.
        self.trained_on: npt.NDArray[np.bytes_] | None = None
        #: How this run knows who the original was trained on; None where nobody has judged it.
        self.membership: Membership | None = None

    @property
    def name(self) -> str:
        """The method's name in tables and figures."""
        return type(self).__name__

    @property
    def data(self) -> FaceDataModule:
        """The data module of the run."""
        return cast(FaceDataModule, cast(Any, self.trainer).datamodule)

    @property
    def task(self) -> Task:
        """Multi-class or multi-label, from the data."""
        return self.data.task

    def __repr__(self) -> str:
        """Return the settings that differ from their defaults, and the network once it is built."""
        if not isinstance(self.model, nn.Identity):
            return super().__repr__()
        defaults = {name: each.default for name, each in init_parameters(type(self)).items()}
        changed = {name: value for name, value in self.hparams.items() if value != defaults.get(name)}
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    # -- building --------------------------------------------------------------------------------------------------

    @property
    def starts_pretrained(self) -> bool:
        """Whether the original did not start from random weights."""
        return self.pretrained or self.start_weights is not None

    def new_classifier(self, pretrained: bool) -> Classifier:
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
            return self.network.fresh() if self.network is not None else self.new_classifier(pretrained)

    def build(self) -> None:
        """Build the network, and load the original's weights where they are needed.

        Raises:
            SettingError: If an original is needed and none is given.
        """
        if self.network is not None:
            self.model = self.network.classifier()
            return
        model = self.new_classifier(self.starts_pretrained and not self.needs_original)
        if self.needs_original and not self.restored:
            if self.original is None:
                raise SettingError(
                    f"{self.name} needs an original model: give --model.original FILE, or have it found or trained by "
                    "find_or_train(method, data) before trainer.fit."
                )
            load_weights(model, self.original, self.backbone)
            if self.trained_on is None:
                self.trained_on = read_training_images(self.original)
        self.model = model

    def cohort_sets(self, data: FaceDataModule) -> Sequence[str]:
        """Return the names of sets on each of which a network is found, or trained by the recipe, before the run."""
        return ()

    def cohort_batch(self, data: FaceDataModule) -> int | None:
        """Return the number of images in a batch in which these networks are trained; None for the data's."""
        return None

    def check(self) -> None:
        """Raise a SettingError if settings do not go together; called before any work, such as training an original."""

    def check_data(self, data: FaceDataModule) -> None:
        """Raise a SettingError if method or audit cannot use the data; called before any work."""
        require_attackable(data)
        if self.needs_reference:
            require_reference(self.name, data)

    # -- evaluation ------------------------------------------------------------------------------------------------

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
        values |= self.task.truths(batch.labels)
        for column in COLUMNS.values():
            columns = accuracies if column.is_accuracy else values
            columns[column.name] = column.compute(self.task, logits, batch.labels)
        return {"index": batch.index, "accuracies": accuracies, "values": values}

    test_step = validation_step

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @cached_property
    def _taught_on(self) -> list[npt.NDArray[np.bytes_]] | None:
        """Content hashes of the images of each network of a cohort; None where one is not known. Read once."""
        images = [read_training_images(path) for path in self.cohort_files.values()]
        return None if any(each is None for each in images) else cast(list[Any], images)

    @cached_property
    def _lineage(self) -> dict[str, str]:
        """SHA-256 of the files that the weights descend from, by their role; files are read once."""
        parents = {**({"original": self.original} if self.original else {}), **self.cohort_files}
        return {role: sha256_file(Path(path)) for role, path in parents.items()}

    def training_images(self) -> npt.NDArray[np.bytes_] | None:
        """Return the content hashes of all images that the model has been trained on so far, sorted.

        Those of the original are included. None where it is not known who the original was trained on.
        """
        data = self.data
        if not self.needs_original:
            if self._taught_on is None:
                return None
            epochs = range(current_epoch(self.trainer) + 1)
            names = {name for epoch in epochs for pass_ in data.passes_in(epoch) for name in pass_.names}
            trained = [data.digests[data.rows(name)] for name in sorted(names)]
            return np.unique(np.concatenate([*self._taught_on, *trained]))
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
        if self._lineage:
            checkpoint[LINEAGE] = self._lineage
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
