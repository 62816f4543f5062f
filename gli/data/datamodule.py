"""The base of all data modules: table -> splits -> pixel cache -> loaders."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn

from gli.data import splits as splitting
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.cache import PixelCache, open_pixels
from gli.data.faces import Faces, Rows
from gli.data.loading import EVALUATION_SETS, Batch, BatchLoader, EpochPlan, EvaluationPlan, FaceDataset, Pass
from gli.data.recipe import Recipe
from gli.data.tasks import Task
from gli.errors import SettingError
from gli.system.digest import digest
from gli.system.files import read_text
from gli.system.lightning import current_epoch

Split = Literal["published", "identity", "given"]
RETAIN_AND_FORGET = (Pass("retain", "forget"),)
#: Share of unseen among unseen and forget images from which on an attacker who knows nothing is right too often to say nothing.
ONE_SIDED = 0.55


class FaceDataModule(L.LightningDataModule):
    """A face table with identity-aware splits, cached pixels and loaders. Subclasses say where the table comes from.

    After :meth:`setup`: ``splits`` (row numbers of ``retain``, ``forget``, ``test``, ``unseen``), ``identities`` (one per
    row) and ``task``.

    Args:
        split: ``published`` (the benchmark's own), ``identity`` (no person, household or identical file in two sets), or
            ``given`` (the table's own ``split`` column, refused where people cross).
        image_size: Side of the images in pixels.
        batch_size: Images per training batch and process.
        eval_batch_size: Images per evaluation batch.
        num_workers: Loader processes; 0 is quick enough, since a batch is one copy out of the cache.
        forget_identities: Who is to be forgotten, instead of the split's own forget set: a list of names, or a text
            file with one a line.
        forget_share: Share of the training images to be forgotten where the split is drawn.
        test_share: Share of all images for the test set where the split is drawn.
        unseen_share: Share of all images for the unseen set where the split is drawn.
        split_seed: Seed of the drawn split; not the seed of training.
        deduplicate: Keep repeated files inside a set once.
        cache_dir: Folder of the pixel cache.
        augmentation: Augmentation of training batches.
        recipe: How the original and retrained models of this data set are trained.
    """

    #: Short name in run folders and tables.
    label: ClassVar[str] = "faces"

    def __init__(
        self,
        split: Split = "identity",
        image_size: int = 128,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        forget_identities: list[str | int] | str | None = None,
        forget_share: float = 0.15,
        test_share: float = 0.12,
        unseen_share: float = 0.12,
        split_seed: int = 0,
        deduplicate: bool = False,
        cache_dir: str = "data/cache",
        augmentation: Augmentation = NO_AUGMENTATION,
        recipe: Recipe = Recipe(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        if num_workers < 0:
            raise SettingError(f"data.num_workers is {num_workers}; it must not be negative.")
        for name, value in (
            ("image_size", image_size),
            ("batch_size", batch_size),
            ("eval_batch_size", eval_batch_size),
        ):
            if value < 1:
                raise SettingError(f"data.{name} is {value}; it must be at least 1.")
        self.split, self.image_size, self.batch_size = split, image_size, batch_size
        self.eval_batch_size, self.num_workers = eval_batch_size, num_workers
        self.forget_identities, self.forget_share = forget_identities, forget_share
        self.test_share, self.unseen_share, self.split_seed = test_share, unseen_share, split_seed
        self.deduplicate, self.cache_dir = deduplicate, Path(cache_dir)
        self.augmentation, self.recipe = augmentation, recipe
        self.splits: dict[str, Rows] = {}
        self._faces: Faces | None = None
        self._digests: npt.NDArray[np.bytes_] | None = None
        self._pixels: PixelCache | None = None

    @abstractmethod
    def table(self) -> Faces:
        """Read the face table; no pixels yet.

        Raises:
            DataError: If a file is absent or not as its format says.
        """

    @property
    def faces(self) -> Faces:
        """The face table, read once."""
        if self._faces is None:
            self._faces = self.table()
        return self._faces

    @property
    def digests(self) -> npt.NDArray[np.bytes_]:
        """Content hash of each image."""
        if self._digests is None:
            self._digests = self.faces.images.digests(self.cache_dir)
        return self._digests

    @property
    def identities(self) -> npt.NDArray[np.str_]:
        """Who is on the image, one per row."""
        return self.faces.identities

    @property
    def task(self) -> Task:
        """What the labels mean."""
        return self.faces.task

    @property
    def pixels(self) -> PixelCache:
        """The uint8 pixels of every row, decoded or drawn on first use."""
        if self._pixels is None:
            self._pixels = open_pixels(self.faces.images, self.digests, self.image_size, self.cache_dir)
        return self._pixels

    def prepare_data(self) -> None:
        """Check the table and the splits and fill the pixel cache; the trainer calls this on one process only."""
        self.setup()
        _ = self.pixels

    def setup(self, stage: str | None = None) -> None:
        """Make and check the splits.

        Raises:
            SettingError: If a set is empty, or a person or an identical file is in two sets (but for ``published``, where
                they are counted in a warning).
        """
        if self.splits:
            return
        splits = self._split()
        hints = {
            "forget": f"Name people in data.forget_identities or raise data.forget_share (now {self.forget_share:g}).",
            "retain": "Everything would be forgotten; keep some people, or train a new model instead.",
            "test": f"Raise data.test_share (now {self.test_share:g}), or put more people in the table.",
            "unseen": f"Raise data.unseen_share (now {self.unseen_share:g}), or put more people in the table.",
        }
        splitting.check_filled(splits, hints)
        crossing = splitting.check_disjoint(splits, self.identities, self.digests)
        if crossing and self.split == "published":
            rank_zero_warn(f"the published split of {self.label} is not disjoint: {'; '.join(crossing)}")
        elif crossing:
            raise SettingError(
                f"People or files stand in two sets: {'; '.join(crossing)}. Give each person to one set, or set "
                "data.split to 'identity' to have the program deal them out."
            )
        self.splits = splitting.without_repeats(splits, self.digests) if self.deduplicate else splits
        forget, unseen = len(self.splits["forget"]), len(self.splits["unseen"])
        floor = unseen / (forget + unseen)
        if floor > ONE_SIDED:
            rank_zero_warn(
                f"there are {forget} forget images and {unseen} unseen ones: who always says 'unseen' is right for "
                f"{100 * floor:.0f} % of them, and the MIA accuracy, with the forgetting and final scores, is to be read "
                "against that. Compare it with a retrained model's, or lower data.unseen_share."
            )

    def _split(self) -> dict[str, Rows]:
        """Row numbers of the four sets, not yet checked."""
        faces = self.faces
        forget = None if self.forget_identities is None else self._rows_to_forget()
        if self.split == "identity":
            return self._identity_split(forget)
        if faces.published is None:
            raise SettingError(f"data.split is {self.split!r}, but {self.label} comes with no split. Use 'identity'.")
        splits = {name: np.asarray(rows, dtype=np.int64) for name, rows in faces.published.items()}
        if forget is not None:
            train = np.union1d(splits["retain"], splits["forget"])
            outside = np.setdiff1d(forget, train)
            if len(outside):
                where = f"the training images of split={self.split!r}"
                raise SettingError(
                    f"forget_identities names {self._named_with(outside[0])!r}, who is not (only) in {where}, or shares an "
                    "identical file with somebody who is not: what was not trained on cannot be forgotten. Take the name out."
                )
            splits |= {"retain": np.setdiff1d(train, forget), "forget": forget}
        return splits

    def _identity_split(self, forget: Rows | None) -> dict[str, Rows]:
        """Deal whole identity groups out; people named to be forgotten are in training by definition."""
        groups = splitting.identity_groups(self.faces.households, self.digests)
        train_share = 1 - self.test_share - self.unseen_share
        shares = {"unseen": self.unseen_share, "test": self.test_share, "forget": self.forget_share * train_share}
        given = {"test_share": self.test_share, "unseen_share": self.unseen_share, "forget_share": self.forget_share}
        for name, share in given.items():
            if not 0 <= share < 1:
                raise SettingError(f"data.{name} is {share:g}; it must lie in [0, 1).")
        if train_share <= 0:
            raise SettingError(
                f"data.test_share {self.test_share:g} and data.unseen_share {self.unseen_share:g} leave no images for "
                "training; lower them."
            )
        if forget is None:
            return splitting.identity_split(groups, shares, "retain", self.split_seed)
        # The household of somebody to be forgotten was trained on; only the others can be test or unseen people.
        trained = np.isin(groups, groups[forget])
        others = np.flatnonzero(~trained)
        scale = len(groups) / max(1, len(others))
        shares = {name: min(1.0, share * scale) for name, share in shares.items() if name != "forget"}
        dealt = splitting.identity_split(groups[others], shares, "retain", self.split_seed)
        splits = {name: others[rows] for name, rows in dealt.items()}
        retain = np.setdiff1d(np.union1d(splits["retain"], np.flatnonzero(trained)), forget)
        return {**splits, "retain": retain, "forget": forget}

    def _wanted(self) -> list[str]:
        """The names in ``forget_identities``."""
        wanted = self.forget_identities
        if not isinstance(wanted, str):
            return [str(name) for name in wanted or []]
        if not os.path.isfile(wanted):
            raise SettingError(
                f"forget_identities: {wanted}: no such file. It names people one a line; to name one here write '[{wanted}]'."
            )
        known = {*self.identities.tolist(), *self.faces.households.tolist()}
        return splitting.named(read_text(Path(wanted)).split("\n"), known)

    def _named_with(self, row: int) -> str:
        """The name in ``forget_identities`` by which this row is to be forgotten: its person, household, or a sharer of files."""
        groups = splitting.identity_groups(self.identities, self.digests)
        for name in self._wanted():
            rows = splitting.rows_of_identities([name], self.identities, self.faces.households)
            if groups[row] in groups[rows]:
                return name
        return str(self.identities[row])

    def _rows_to_forget(self) -> Rows:
        """Rows of the people named, and of those who share a file with them: a copy left in retain would not be forgotten."""
        named = splitting.rows_of_identities(self._wanted(), self.identities, self.faces.households)
        groups = splitting.identity_groups(self.identities, self.digests)
        rows = np.flatnonzero(np.isin(groups, groups[named])).astype(np.int64)
        added = sorted(set(self.identities[rows]) - set(self.identities[named]))
        if added:
            rank_zero_warn(f"also forgotten, as they share identical files with the people named: {', '.join(added)}")
        return rows

    def rows(self, name: str) -> Rows:
        """Row numbers of a set; ``train`` is retain and forget together."""
        self.setup()
        if name == "train":
            return np.union1d(self.splits["retain"], self.splits["forget"])
        return self.splits[name]

    def fingerprint(self, name: str) -> str:
        """A hash of everything about this data that the training on set ``name`` depends on: content, not paths."""
        rows = self.rows(name)
        labels = self.faces.labels[rows].reshape(len(rows), -1)
        # By content first and label second: one group of identical files may carry different labels.
        order = np.lexsort((*labels.T[::-1], self.digests[rows]))
        labels = np.ascontiguousarray(labels[order])
        sizes = f"{self.image_size} {self.batch_size} {self.augmentation!r} {self.task!r}"
        return digest(self.digests[rows][order].tobytes(), labels.tobytes(), sizes)

    def _processes(self) -> dict[str, int]:
        """This process's place among all, for the plans."""
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "world": self.trainer.world_size}

    def train_dataloader(self) -> BatchLoader:
        """Batches of this epoch for the sets that the method wants; retain and forget together where nothing is said."""
        method: Any = self.trainer and self.trainer.lightning_module
        epoch = current_epoch(self.trainer) if self.trainer else 0
        passes: Sequence[Pass] = method.passes_in(epoch) if hasattr(method, "passes_in") else RETAIN_AND_FORGET
        sets = {name: self.rows(name) for one in passes for name in one.names}
        plan = EpochPlan(
            sets,
            passes,
            self.batch_size,
            seed=torch.initial_seed() % 2**32,
            epoch=epoch,
            augmentation=self.augmentation,
            **self._processes(),
        )
        return BatchLoader(FaceDataset(self.pixels, self.faces.labels), plan, self.num_workers)

    def val_dataloader(self) -> list[BatchLoader]:
        """One loader for each of ``EVALUATION_SETS``, in that order."""
        dataset = FaceDataset(self.pixels, self.faces.labels)
        plans = [EvaluationPlan(self.rows(name), self.eval_batch_size, **self._processes()) for name in EVALUATION_SETS]
        return [BatchLoader(dataset, plan, self.num_workers) for plan in plans]

    def test_dataloader(self) -> list[BatchLoader]:
        """The same sets as in validation."""
        return self.val_dataloader()

    def to_float(self, batch: Batch) -> Batch:
        """Pixels in [0, 1], augmented where the loader drew random numbers for it."""
        if batch.draws is None:
            return batch._replace(images=batch.images / 255)
        return batch._replace(images=self.augmentation(batch.images, batch.draws), draws=None)

    def on_after_batch_transfer(self, batch: Batch | dict[str, Batch], dataloader_idx: int) -> Batch | dict[str, Batch]:
        """On the device: from uint8 to what a method sees."""
        if isinstance(batch, Batch):
            return self.to_float(batch)
        return {part: self.to_float(one) for part, one in batch.items()}
