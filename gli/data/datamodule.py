"""Base class of all data modules: face table, splits, pixel cache, loaders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn

from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.cache import PixelCache, open_pixels
from gli.data.faces import Faces, Rows, content_hash
from gli.data.loading import Batch, BatchLoader, EpochPlan, EvaluationPlan, FaceDataset, Pass, TableDataset
from gli.data.people_lists import read_cohorts, read_people_list, read_split_settings
from gli.data.recipe import Recipe
from gli.data.split_plan import (
    Rehearsal,
    Split,
    SplitSettings,
    SplitTable,
    check_reference_share,
    held_out_mask,
    no_reference,
    rows_of_cohort,
    split_plan,
)
from gli.data.tasks import Task
from gli.errors import SettingError
from gli.metrics.registry import EVALUATION_SETS
from gli.system.lightning import current_epoch


def both_sets(epoch: int) -> Sequence[Pass]:
    """Return one pass over retain, with forget cycled alongside."""
    return (Pass("retain", "forget"),)


class FaceDataModule(L.LightningDataModule):
    """Data module of a face table with splits by identity and cached pixels. Subclasses implement :meth:`table`.

    After :meth:`setup`, ``splits`` holds the row numbers of ``retain``, ``forget``, ``test`` and ``unseen``,
    ``identities`` one identity per row, and ``task`` the meaning of the labels.

    Args:
        split: ``published`` (the benchmark's own split), ``identity`` (a random split with no person, household or
            identical file in two sets), ``stable`` (likewise, by a keyed hash of the household: nobody changes sets
            when rows are added or removed), or ``given`` (the ``split`` column of the table; an error if people are in
            two sets).
        image_size: Side of the images in pixels.
        batch_size: Images per training batch and process.
        eval_batch_size: Images per evaluation batch.
        num_workers: Number of loader processes; 0 is fast enough, since loading a batch is one copy out of the cache.
        forget_identities: People to forget, instead of the forget set of the split: a list of names, or a text file
            with one name per line.
        assignment: CSV file with the columns ``identity`` and ``set`` (``retain``, ``forget``, ``test`` or ``unseen``)
            that assigns people to sets, instead of a split; people who are not in it are in no set.
        held_out: People on whom the original model was never trained: a list of names, a text file with one name per
            line, or a CSV file with a column of identities. Test and unseen people are chosen among them alone.
        erased: People who were forgotten before, as names or as such a file. They are in no set, and neither are
            identical files under other names, so that a later run does not train on them again. Or the folder of a
            store of erasure requests (``gli erase``): a table with somebody whom it has erased is refused.
        evaluate_retain: Evaluate the retain set in audits as well.
        forget_share: Share of the training images to forget, if the split is ``identity`` or ``stable``.
        test_share: Share of all images in the test set, likewise.
        unseen_share: Share of all images in the unseen set, likewise.
        reference_share: Share of the test people who become the set ``reference`` instead: nobody trains on them and no
            audit reads them, and some methods compare the forgotten people with them. None for no such set.
        rehearsal: Search for settings on people who are not reported: ``true`` drops the forget, test and unseen people
            and assigns the retained people to all sets, with the same shares; ``reference`` takes test and unseen
            people from those of ``reference_share`` instead, for an original that was trained on all retained people.
        split_seed: Seed of the split, and key of its hash, independent of the seed of training.
        deduplicate: Keep only the first of identical files inside a set.
        cohorts: Number of cohorts of people for methods with a network for each (4), or a CSV file that assigns people.
        cache_dir: Folder of the pixel cache.
        augmentation: Augmentation of training batches.
        recipe: Training recipe of the original and retrained models of this data set.

    Raises:
        SettingError: If ``num_workers`` is negative, or a size is less than 1.
    """

    #: Short name of the data set in run folders and tables.
    label: ClassVar[str] = "faces"
    #: Name of the split that comes with the table, in messages; None for "the published split of <label>".
    split_name: ClassVar[str | None] = None
    #: Column of the names in a CSV file of people.
    identity_column = "identity"

    def __init__(
        self,
        split: Split = "identity",
        image_size: int = 128,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        forget_identities: list[str | int] | str | None = None,
        assignment: str | None = None,
        held_out: list[str | int] | str | None = None,
        erased: list[str | int] | str | None = None,
        evaluate_retain: bool = False,
        forget_share: float = 0.15,
        test_share: float = 0.12,
        unseen_share: float = 0.12,
        reference_share: float | None = None,
        rehearsal: Rehearsal = False,
        split_seed: int = 0,
        deduplicate: bool = False,
        cohorts: int | str | None = None,
        cache_dir: str = "data/cache",
        augmentation: Augmentation = NO_AUGMENTATION,
        recipe: Recipe = Recipe(),
    ) -> None:
        super().__init__()
        sizes = {"image_size": image_size, "batch_size": batch_size, "eval_batch_size": eval_batch_size}
        for name, value in sizes.items():
            if value < 1:
                raise SettingError(f"data.{name} is {value}; it must be at least 1.")
        if num_workers < 0:
            raise SettingError(f"data.num_workers is {num_workers}; it must not be negative.")
        check_reference_share(reference_share, rehearsal)
        self.cohorts, self.cohort_of = read_cohorts(cohorts)
        self.split, self.split_seed, self.deduplicate = split, split_seed, deduplicate
        self.forget_identities, self.assignment = forget_identities, assignment
        self.held_out, self.erased = held_out, erased
        self.forget_share, self.test_share, self.unseen_share = forget_share, test_share, unseen_share
        self.image_size, self.batch_size, self.eval_batch_size = image_size, batch_size, eval_batch_size
        self.num_workers, self.evaluate_retain, self.cache_dir = num_workers, evaluate_retain, Path(cache_dir)
        self.augmentation, self.recipe = augmentation, recipe
        self.reference_share, self.rehearsal = reference_share, rehearsal
        #: Passes of an epoch, counted from 0; a method sets its own.
        self.passes_in: Callable[[int], Sequence[Pass]] = both_sets
        self.splits: dict[str, Rows] = {}

    @abstractmethod
    def table(self) -> Faces:
        """Read and return the face table, without pixels.

        Raises:
            DataError: If a file does not exist or violates its format.
        """

    @cached_property
    def faces(self) -> Faces:
        """The face table, read on first use."""
        return self.table()

    @cached_property
    def digests(self) -> npt.NDArray[np.bytes_]:
        """Content hash of each image, computed on first use."""
        return self.faces.images.digests(self.cache_dir)

    @property
    def identities(self) -> npt.NDArray[np.str_]:
        """Identity of the person on each image, one per row."""
        return self.faces.identities

    @property
    def task(self) -> Task:
        """The classification task, which defines the meaning of the labels."""
        return self.faces.task

    @cached_property
    def pixels(self) -> PixelCache:
        """The uint8 pixels of every row, decoded or drawn on first use."""
        return open_pixels(self.faces.images, self.digests, self.image_size, self.cache_dir)

    def prepare_data(self) -> None:
        """Check the table and the splits, and fill the pixel cache. The trainer calls this on one process only."""
        self.setup()
        _ = self.pixels

    def setup(self, stage: str | None = None) -> None:
        """Assign people to sets: see :func:`~gli.data.split_plan.split_plan`.

        If people or identical files are in two sets of a ``published`` split, this is a warning, not an error.

        Raises:
            SettingError: If a set is empty, or a person or an identical file is in two sets.
            DataError: If a file of people cannot be read.
        """
        if self.splits:
            return
        table, given = self._split_table(), {field.name: getattr(self, field.name) for field in fields(SplitSettings)}
        self.splits, warnings = split_plan(table, read_split_settings(given, table, self.identity_column))
        for warning in warnings:
            rank_zero_warn(warning)

    def _split_table(self) -> SplitTable:
        faces, name = self.faces, self.split_name or f"the published split of {self.label}"
        return SplitTable(faces.identities, faces.households, self.digests, faces.published, name)

    @property
    def is_held_out(self) -> npt.NDArray[np.bool_]:
        """Whether each row shows a person whom ``held_out`` declares, of shape ``(n,)``.

        Raises:
            SettingError: If nobody is declared, or a name is not in the table.
            DataError: If the file of names cannot be read.
        """
        table = self._split_table()
        names = read_people_list("held_out", self.held_out or (), table.names, self.identity_column)
        return held_out_mask(table, names)

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        """Names of the sets that an audit evaluates, in the order of the loaders."""
        return (*EVALUATION_SETS, "retain") if self.evaluate_retain else EVALUATION_SETS

    def rows(self, name: str) -> Rows:
        """Return the row numbers of a set; ``train`` is the union of retain and forget.

        ``retain/2`` are the rows of retain in cohort 2, and ``retain/-2`` those in all others.
        """
        self.setup()
        name, _, cohort = name.partition("/")
        if cohort:
            return rows_of_cohort(self.rows(name), self.faces.households, self.cohort_of, self.split_seed, cohort)
        if name == "train":
            return np.union1d(self.splits["retain"], self.splits["forget"])
        if name == "reference" and name not in self.splits:
            raise SettingError(no_reference(self.rehearsal))
        return self.splits[name]

    def dataset(self, name: str) -> TableDataset:
        """Return the images of a set as an ordinary PyTorch data set of (image, label, identity).

        Args:
            name: ``retain``, ``forget``, ``test``, ``unseen``, or ``train`` for retain and forget.
        """
        return TableDataset(self.pixels, self.faces.labels, self.identities, self.rows(name))

    def fingerprint(self, name: str) -> str:
        """Return a hash of everything that training on set ``name`` depends on: content and settings, not paths."""
        rows = self.rows(name)
        settings = f"{self.image_size} {self.batch_size} {self.augmentation!r} {self.task!r}"
        return content_hash(self.digests[rows], self.faces.labels[rows], settings)

    def _rank_and_world(self) -> dict[str, int]:
        """Return the rank of this process and the number of processes, as arguments of the plans."""
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "world": self.trainer.world_size}

    def batches_of(self, name: str, rows: Rows | None = None) -> Iterator[Batch]:
        """Yield this process's evaluation batches of a set, or of some rows of it; uint8, in the order of the table."""
        rows = self.rows(name) if rows is None else rows
        plan = EvaluationPlan(rows, self.eval_batch_size, **self._rank_and_world())
        loader = BatchLoader(FaceDataset(self.pixels, self.faces.labels), plan)
        return (cast(Batch, batch) for batch in loader)

    def train_dataloader(self) -> BatchLoader:
        """Return a loader of the passes of this epoch."""
        epoch = current_epoch(self.trainer) if self.trainer else 0
        passes = self.passes_in(epoch)
        sets = {name: self.rows(name) for pass_ in passes for name in pass_.names}
        plan = EpochPlan(
            sets,
            passes,
            self.batch_size,
            seed=torch.initial_seed() % 2**32,
            epoch=epoch,
            augmentation=self.augmentation,
            **self._rank_and_world(),
        )
        return BatchLoader(FaceDataset(self.pixels, self.faces.labels), plan, self.num_workers)

    def val_dataloader(self) -> list[BatchLoader]:
        """Return one loader for each of ``evaluation_sets``, in that order."""
        dataset, processes = FaceDataset(self.pixels, self.faces.labels), self._rank_and_world()
        plans = [EvaluationPlan(self.rows(name), self.eval_batch_size, **processes) for name in self.evaluation_sets]
        return [BatchLoader(dataset, plan, self.num_workers) for plan in plans]

    def test_dataloader(self) -> list[BatchLoader]:
        """Return the same loaders as in validation."""
        return self.val_dataloader()

    def to_float(self, batch: Batch) -> Batch:
        """Return a batch with pixels in [0, 1], augmented if the loader supplies random numbers."""
        if batch.random_numbers is None:
            return batch._replace(images=batch.images / 255)
        return batch._replace(images=self.augmentation(batch.images, batch.random_numbers), random_numbers=None)

    def on_after_batch_transfer(self, batch: Batch | dict[str, Batch], dataloader_idx: int) -> Batch | dict[str, Batch]:
        """Convert the pixels of a batch to float in [0, 1] and augment them, on the device."""
        if isinstance(batch, Batch):
            return self.to_float(batch)
        return {part: self.to_float(part_batch) for part, part_batch in batch.items()}
