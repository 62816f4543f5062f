"""Base class of all data modules: face table, splits, pixel cache, loaders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn

from gli.data import splits as splitting
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.cache import PixelCache, open_pixels
from gli.data.erased_people import is_store, refuse_erased
from gli.data.faces import Faces, Rows
from gli.data.loading import Batch, BatchLoader, EpochPlan, EvaluationPlan, FaceDataset, Pass, TableDataset
from gli.data.people_lists import read_people_list
from gli.data.recipe import Recipe
from gli.data.rehearsal import rehearse, rehearse_with_reference
from gli.data.shuffled_split import shuffled_split
from gli.data.stable_split import stable_split
from gli.data.tasks import Task
from gli.errors import DataError, SettingError, did_you_mean
from gli.metrics.registry import EVALUATION_SETS
from gli.system.digest import digest
from gli.system.files import read_csv
from gli.system.lightning import current_epoch

Split = Literal["published", "identity", "stable", "given"]
Rehearsal = bool | Literal["reference"]
DEFAULT_PASSES = (Pass("retain", "forget"),)
#: Warn the user if an attack that always answers 'unseen' has a higher accuracy than this.
MAX_CONSTANT_ACCURACY = 0.55


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
        cache_dir: Folder of the pixel cache.
        augmentation: Augmentation of training batches.
        recipe: Training recipe of the original and retrained models of this data set.

    Raises:
        SettingError: If ``num_workers`` is negative, or a size is less than 1.
    """

    #: Short name of the data set in run folders and tables.
    label: ClassVar[str] = "faces"
    #: Name of the sets in messages, where they are no published split.
    named: ClassVar[str] = ""
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
        cache_dir: str = "data/cache",
        augmentation: Augmentation = NO_AUGMENTATION,
        recipe: Recipe = Recipe(),
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
        self.assignment, self.evaluate_retain = assignment, evaluate_retain
        self.held_out, self.erased = held_out, erased
        self.test_share, self.unseen_share, self.split_seed = test_share, unseen_share, split_seed
        self.deduplicate, self.cache_dir = deduplicate, Path(cache_dir)
        self.augmentation, self.recipe = augmentation, recipe
        if reference_share is not None and not 0 < reference_share < 1:
            raise SettingError(f"data.reference_share is {reference_share:g}; it must lie in (0, 1).")
        if rehearsal == "reference" and reference_share is None:
            raise SettingError(
                "data.rehearsal is reference, but no people are set aside. Set data.reference_share, such as 0.5: that "
                "share of the test people becomes the test and unseen people of the rehearsal."
            )
        self.reference_share, self.rehearsal = reference_share, rehearsal
        self.splits: dict[str, Rows] = {}
        self._faces: Faces | None = None
        self._digests: npt.NDArray[np.bytes_] | None = None
        self._pixels: PixelCache | None = None

    @abstractmethod
    def table(self) -> Faces:
        """Read and return the face table, without pixels.

        Raises:
            DataError: If a file does not exist or violates its format.
        """

    @property
    def faces(self) -> Faces:
        """The face table, read on first use."""
        if self._faces is None:
            self._faces = self.table()
        return self._faces

    @property
    def digests(self) -> npt.NDArray[np.bytes_]:
        """Content hash of each image, computed on first use."""
        if self._digests is None:
            self._digests = self.faces.images.digests(self.cache_dir)
        return self._digests

    @property
    def identities(self) -> npt.NDArray[np.str_]:
        """Identity of the person on each image, one per row."""
        return self.faces.identities

    @property
    def task(self) -> Task:
        """The classification task, which defines the meaning of the labels."""
        return self.faces.task

    @property
    def pixels(self) -> PixelCache:
        """The uint8 pixels of every row, decoded or drawn on first use."""
        if self._pixels is None:
            self._pixels = open_pixels(self.faces.images, self.digests, self.image_size, self.cache_dir)
        return self._pixels

    def prepare_data(self) -> None:
        """Check the table and the splits, and fill the pixel cache. The trainer calls this on one process only."""
        self.setup()
        _ = self.pixels

    def setup(self, stage: str | None = None) -> None:
        """Create and check the splits.

        If people or identical files are in two sets of a ``published`` split, this is a warning, not an error.

        Raises:
            SettingError: If a set is empty, or a person or an identical file is in two sets.
        """
        if self.splits:
            return
        splits = self._without_erased(self._split())
        splitting.check_not_empty(splits, self._hints())
        overlaps = splitting.check_disjoint(splits, self.identities, self.digests)
        if overlaps and self.split == "published":
            name = self.named or f"the published split of {self.label}"
            rank_zero_warn(f"{name} {'are' if self.named else 'is'} not disjoint: {'; '.join(overlaps)}")
        elif overlaps:
            raise SettingError(
                f"The same people or files are in two sets: {'; '.join(overlaps)}. Put each person in one set, or set "
                "data.split to 'identity' to draw a disjoint split."
            )
        splits = splitting.drop_duplicates(splits, self.digests) if self.deduplicate else splits
        splits = splits if self.reference_share is None else self._with_reference(splits, self.reference_share)
        self.splits = self._rehearsed(splits) if self.rehearsal else splits
        forget, unseen = len(self.splits["forget"]), len(self.splits["unseen"])
        constant_accuracy = unseen / (forget + unseen)
        if constant_accuracy > MAX_CONSTANT_ACCURACY:
            rank_zero_warn(
                f"there are {forget} forget images and {unseen} unseen ones: an attack that always answers 'unseen' is "
                f"right for {100 * constant_accuracy:.0f} % of them. Compare the MIA accuracy, the forgetting score "
                "and the final score with those of a retrained model, or lower data.unseen_share."
            )

    def _with_reference(self, splits: dict[str, Rows], share: float) -> dict[str, Rows]:
        """Return the splits with some of the test people in the set ``reference`` instead, whole groups at a time."""
        test = splits["test"]
        groups = splitting.identity_groups(self.faces.households, self.digests)[test]
        halves = splitting.identity_split(groups, {"reference": share}, "test", self.split_seed)
        result = {**splits, **{name: test[rows] for name, rows in halves.items()}}
        if not len(result["test"]):
            raise SettingError(
                f"data.reference_share {share:g} leaves nobody in the test set; lower it, or raise data.test_share."
            )
        return result

    def _rehearsed(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """Return the sets of the rehearsal, in which nobody of the forget, test and unseen people takes part."""
        groups = splitting.identity_groups(self.faces.households, self.digests)
        assign = rehearse_with_reference if self.rehearsal == "reference" else rehearse
        rehearsed = assign(splits, groups, self.split_seed)
        retained = "There are too few retained people for a rehearsal (data.rehearsal): add people to the table"
        reference = "There are too few reference people for a rehearsal: raise data.reference_share or data.test_share."
        hints = dict.fromkeys(splitting.SPLITS, f"{retained}, or lower the shares of the other sets.")
        hints |= dict.fromkeys(("test", "unseen"), reference) if self.rehearsal == "reference" else {}
        splitting.check_not_empty(rehearsed, hints)
        if self.reference_share is None or self.rehearsal == "reference":
            return rehearsed
        return self._with_reference(rehearsed, self.reference_share)

    def _hints(self) -> dict[str, str]:
        """Return what the user can do if a set is empty, by its name."""
        more = "add people to the table"
        if self.split == "stable" and self.assignment is None:
            more = f"choose another data.split_seed (now {self.split_seed}), or {more}"
        if self.held_out is not None:
            more = "declare more people in data.held_out"
        return {
            "forget": f"Name people in data.forget_identities or raise data.forget_share (now {self.forget_share:g}).",
            "retain": "The whole training set would be forgotten; keep some people, or train a new model instead.",
            "test": f"Raise data.test_share (now {self.test_share:g}), or {more}.",
            "unseen": f"Raise data.unseen_share (now {self.unseen_share:g}), or {more}.",
        }

    def _split(self) -> dict[str, Rows]:
        """Return the row numbers of the four sets, before all checks."""
        faces = self.faces
        if self.assignment is not None:
            return self._assigned_split(self.assignment)
        forget = None if self.forget_identities is None else self._rows_to_forget()
        if self.split in ("identity", "stable"):
            return self._split_by_household(forget)
        if faces.published is None:
            raise SettingError(f"data.split is {self.split!r}, but {self.label} comes with no split. Use 'identity'.")
        splits = {name: np.asarray(rows, dtype=np.int64) for name, rows in faces.published.items()}
        if forget is not None:
            train = np.union1d(splits["retain"], splits["forget"])
            outside = np.setdiff1d(forget, train)
            if len(outside):
                name, train_set = self._requested_name(outside[0]), f"the training images of split={self.split!r}"
                raise SettingError(
                    f"forget_identities names {name!r}, who is not (only) in {train_set}, or shares an identical file "
                    "with a person who is not. A model can only forget images that it was trained on. Remove the name."
                )
            splits |= {"retain": np.setdiff1d(train, forget), "forget": forget}
        return splits

    def _assigned_split(self, path: str) -> dict[str, Rows]:
        """Return the rows of the people that a file assigns to each set."""
        if self.forget_identities is not None:
            raise SettingError("data.assignment and data.forget_identities both say whom to forget. Give one of them.")
        sets: dict[str, str] = {}
        known = set(self.identities.tolist())
        for row in read_csv(Path(path), ("identity", "set"), exact=True):
            where, name = f"{path}, line {row.line}", row["identity"]
            if name not in known:
                raise DataError(f"{where}: nobody is called {name!r}.{did_you_mean(name, known)}")
            if row["set"] not in splitting.SPLITS:
                raise DataError(f"{where}: there is no set {row['set']!r}; the sets are {', '.join(splitting.SPLITS)}.")
            if name in sets:
                raise DataError(f"{where}: {name!r} is assigned twice. Name each person once.")
            sets[name] = row["set"]
        assigned = np.array([sets.get(name, "") for name in self.identities.tolist()])
        return {name: np.flatnonzero(assigned == name).astype(np.int64) for name in splitting.SPLITS}

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        """Names of the sets that an audit evaluates, in the order of the loaders."""
        return (*EVALUATION_SETS, "retain") if self.evaluate_retain else EVALUATION_SETS

    def _split_by_household(self, forget: Rows | None) -> dict[str, Rows]:
        """Assign whole households to the sets; people to forget are always in the training set."""
        train_share = 1 - self.test_share - self.unseen_share
        settings = {"test_share": self.test_share, "unseen_share": self.unseen_share, "forget_share": self.forget_share}
        for name, share in settings.items():
            if not 0 <= share < 1:
                raise SettingError(f"data.{name} is {share:g}; it must lie in [0, 1).")
        if train_share <= 0:
            raise SettingError(
                f"data.test_share {self.test_share:g} and data.unseen_share {self.unseen_share:g} leave no images for "
                "training; lower them."
            )
        held_out = None if self.held_out is None else self.is_held_out
        if held_out is not None and forget is not None and held_out[forget].any():
            name = self._requested_name(forget[held_out[forget]][0])
            raise SettingError(
                f"forget_identities names {name!r}, who is declared in data.held_out as never trained on, or shares an "
                "identical file with such a person. Remove the name from one of them."
            )
        faces, shares = self.faces, {name.removesuffix("_share"): share for name, share in settings.items()}
        if self.split == "stable":
            splits = stable_split(
                faces.households, self.digests, shares, self.split_seed, forget=forget, held_out=held_out
            )
        else:
            groups = splitting.identity_groups(faces.households, self.digests)
            splits = shuffled_split(groups, shares, self.split_seed, forget=forget, held_out=held_out)
        self._warn_of_people_left_out(splits)
        return splits

    def _warn_of_people_left_out(self, splits: dict[str, Rows]) -> None:
        """Warn of people who are in no set because their household, or an identical file, is in another one."""
        left_out = sorted(set(self.identities) - set(self.identities[np.concatenate(list(splits.values()))]))
        if left_out:
            rank_zero_warn(
                f"{len(left_out)} people are in no set, because others of their household, or identical files, are in "
                f"another one: {', '.join(left_out[:5])}{', ...' if len(left_out) > 5 else ''}"
            )

    @property
    def is_held_out(self) -> npt.NDArray[np.bool_]:
        """Whether each row shows a person whom ``held_out`` declares, of shape ``(n,)``.

        Raises:
            SettingError: If nobody is declared, or a name is not in the table.
            DataError: If the file of names cannot be read.
        """
        names = self._people("held_out")
        mask = np.zeros(len(self.faces), np.bool_)
        mask[splitting.rows_of_identities(names, self.identities, self.faces.households, "held_out")] = True
        return mask

    def _without_erased(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """Return the sets without the people in ``erased`` and without files identical to theirs.

        Names that are not in the table are allowed, because photographs of erased people are best removed from it.
        """
        if isinstance(self.erased, str) and is_store(self.erased):
            refuse_erased(Path(self.erased), self.identities, self.digests)
            return splits
        names = self._people("erased")
        if not names:
            return splits
        erased = np.isin(self.identities, names) | np.isin(self.faces.households, names)
        if self.forget_identities is not None:
            again = sorted(set(self._wanted()) & set(names))
            if again:
                raise SettingError(
                    f"forget_identities names {again[0]!r}, who was erased before (data.erased). Remove the name from "
                    "one of them."
                )
        unknown = sorted(set(names) - set(self.identities.tolist()) - set(self.faces.households.tolist()))
        if unknown:
            rank_zero_warn(
                f"data.erased names {len(unknown)} people who are not in the table: their photographs were removed, or "
                f"their names are mistyped: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
            )
        erased |= np.isin(self.digests, self.digests[erased])
        return {name: rows[~erased[rows]] for name, rows in splits.items()}

    def _people(self, setting: Literal["held_out", "erased"]) -> list[str]:
        """Return the names in a setting that is a list of people or the path of one."""
        value = getattr(self, setting)
        if value is None:
            return []
        known = {*self.identities.tolist(), *self.faces.households.tolist()}
        return read_people_list(setting, value, known, self.identity_column)

    def _wanted(self) -> list[str]:
        """Return the names in ``forget_identities``, read from its file if it is one."""
        if self.forget_identities is None:
            return []
        known = {*self.identities.tolist(), *self.faces.households.tolist()}
        return read_people_list("forget_identities", self.forget_identities, known)

    def _requested_name(self, row: int) -> str:
        """Return the name in ``forget_identities`` that selects a row, directly or through identical files."""
        groups = splitting.identity_groups(self.identities, self.digests)
        for name in self._wanted():
            rows = splitting.rows_of_identities([name], self.identities, self.faces.households)
            if groups[row] in groups[rows]:
                return name
        return str(self.identities[row])

    def _rows_to_forget(self) -> Rows:
        """Return the rows of the requested people and of all who share a file with them.

        If a copy of a file stayed in the retain set, the model would not forget it.
        """
        requested = splitting.rows_of_identities(self._wanted(), self.identities, self.faces.households)
        groups = splitting.identity_groups(self.identities, self.digests)
        rows = np.flatnonzero(np.isin(groups, groups[requested])).astype(np.int64)
        added = sorted(set(self.identities[rows]) - set(self.identities[requested]))
        if added:
            rank_zero_warn(
                "also forgotten, because they share identical files with people in forget_identities: "
                f"{', '.join(added)}"
            )
        return rows

    def rows(self, name: str) -> Rows:
        """Return the row numbers of a set; ``train`` is the union of retain and forget."""
        self.setup()
        if name == "train":
            return np.union1d(self.splits["retain"], self.splits["forget"])
        if name == "reference" and name not in self.splits:
            if self.rehearsal == "reference":
                raise SettingError(
                    "There are no reference people: they are the test and unseen people of this rehearsal. Set "
                    "data.rehearsal to true."
                )
            raise SettingError(
                "There are no reference people. Set some of the test people aside: data.reference_share."
            )
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
        labels = self.faces.labels[rows].reshape(len(rows), -1)
        # Sort by content first and label second, because identical files may have different labels.
        order = np.lexsort((*labels.T[::-1], self.digests[rows]))
        labels = np.ascontiguousarray(labels[order])
        sizes = f"{self.image_size} {self.batch_size} {self.augmentation!r} {self.task!r}"
        return digest(self.digests[rows][order].tobytes(), labels.tobytes(), sizes)

    def _rank_and_world(self) -> dict[str, int]:
        """Return the rank of this process and the number of processes, as arguments of the plans."""
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "world": self.trainer.world_size}

    def batches_of(self, name: str, rows: Rows | None = None) -> Iterator[Batch]:
        """Yield this process's evaluation batches of a set, or of some rows of it; uint8, in the order of the table."""
        wanted = self.rows(name) if rows is None else rows
        plan = EvaluationPlan(wanted, self.eval_batch_size, **self._rank_and_world())
        loader = BatchLoader(FaceDataset(self.pixels, self.faces.labels), plan)
        return (cast(Batch, batch) for batch in loader)

    def train_dataloader(self) -> BatchLoader:
        """Return a loader of the passes that the method trains on in this epoch; by default retain with forget."""
        method: Any = self.trainer and self.trainer.lightning_module
        epoch = current_epoch(self.trainer) if self.trainer else 0
        passes: Sequence[Pass] = method.passes_in(epoch) if hasattr(method, "passes_in") else DEFAULT_PASSES
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
