"""Batches of faces: plans (pure functions) of the rows in each batch, and loaders that follow a plan."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.cache import PixelCache
from gli.data.faces import Rows
from gli.errors import SettingError


@dataclass(frozen=True, init=False)
class Pass:
    """One pass of an epoch: the contents of its batches, and their number.

    With ``Pass("retain", "forget")``, every batch has a part of each set; the pass goes over retain once, and forget is
    cycled. With ``Pass("forget", over="retain")``, every batch has forget only, and there are as many batches as in one
    pass over retain. With ``Pass(retain="train")``, the part called retain comes from the set ``train``.

    Attributes:
        sets: Name of the set that each part of a batch comes from.
        over: Name of the set that the pass goes over once; by default the set of the first part.
        batch_size: Images of each part in a batch, per process; None for the data module's ``batch_size``.
        mixed: Shuffle all sets together and go over their union once. A batch then has ``batch_size`` images in total;
            each image is in the part of its set.
        shares: Share of each set to use, in (0, 1]. The subset is random and the same in all epochs; sets that are not
            named are used completely.

    Raises:
        SettingError: If a batch size or a share is out of range.
    """

    sets: Mapping[str, str]
    over: str
    batch_size: int | None = None
    mixed: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)

    def __init__(
        self,
        *parts: str,
        over: str | None = None,
        batch_size: int | None = None,
        mixed: bool = False,
        shares: Mapping[str, float] | None = None,
        **sets: str,
    ) -> None:
        sets = {part: part for part in parts} | sets
        if batch_size is not None and batch_size < 1:
            raise SettingError(f"A batch size is {batch_size}; it must be at least 1.")
        for name, share in (shares or {}).items():
            if not 0 < share <= 1:
                raise SettingError(f"The share of {name} that is used is {share:g}; it must lie in (0, 1].")
        values = {"sets": sets, "over": over or next(iter(sets.values())), "batch_size": batch_size, "mixed": mixed}
        for name, value in (values | {"shares": dict(shares or {})}).items():
            object.__setattr__(self, name, value)

    @property
    def names(self) -> set[str]:
        """Names of the sets that the pass needs."""
        return {*self.sets.values(), self.over}


class Batch(NamedTuple):
    """A batch, or one part of it.

    Attributes:
        images: Shape ``(batch, 3, size, size)``: uint8 from the loader, float in [0, 1] in the methods.
        labels: Shape ``(batch,)`` or ``(batch, labels)``.
        index: Row numbers of the images in the face table, shape ``(batch,)``.
        random_numbers: Random numbers of the augmentation, shape ``(batch, COLUMNS)``; None without augmentation.
    """

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # It hides a method of tuple, which batches do not use.
    random_numbers: Tensor | None = None


class Take(NamedTuple):
    """Selection of the images to load for a batch, or for one part of it."""

    rows: Rows  # Row numbers in the face table, shape ``(batch,)``.
    #: Random numbers of the augmentation, shape ``(batch, COLUMNS)``; None without augmentation.
    random_numbers: npt.NDArray[np.float32] | None = None


class FaceDataset(Dataset[Batch | dict[str, Batch]]):
    """Data set whose items are whole batches: one gather from the uint8 cache, no work per image."""

    def __init__(self, pixels: PixelCache, labels: npt.NDArray[np.int64]) -> None:
        self.pixels, self.labels = pixels, labels

    def __getitem__(self, selection: Take | Mapping[str, Take]) -> Batch | dict[str, Batch]:
        """Load a batch, or a dictionary of its parts."""
        if isinstance(selection, Take):
            return self._load(selection)
        return {part: self._load(take) for part, take in selection.items()}

    def _load(self, take: Take) -> Batch:
        images = torch.from_numpy(self.pixels[take.rows]).permute(0, 3, 1, 2)
        random_numbers = None if take.random_numbers is None else torch.from_numpy(take.random_numbers)
        return Batch(images, torch.from_numpy(self.labels[take.rows]), torch.from_numpy(take.rows), random_numbers)


class TableDataset(Dataset[tuple[Tensor, Tensor, str]]):
    """Ordinary data set of one image after the other: (image in [0, 1], label, identity)."""

    def __init__(
        self, pixels: PixelCache, labels: npt.NDArray[np.int64], identities: npt.NDArray[np.str_], rows: Rows
    ) -> None:
        self.pixels, self.labels, self.identities, self.rows = pixels, labels, identities, rows

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, str]:
        """Return an image of shape ``(3, size, size)``, its label and the person on it."""
        row = self.rows[number]
        image = torch.from_numpy(self.pixels[np.array([row])])[0].permute(2, 0, 1) / 255
        return image, torch.as_tensor(self.labels[row]), str(self.identities[row])


def shuffled_batches(rows: Rows, size: int, count: int, seed: Sequence[int]) -> Iterator[Rows]:
    """Yield ``count`` batches of ``size`` rows, in random order; shuffle again whenever all rows have been used."""
    generator = np.random.default_rng(list(seed))
    left = rows[:0]
    for _ in range(count):
        while len(left) < size:
            left = np.concatenate([left, generator.permutation(rows)])
        yield left[:size]
        left = left[size:]


class EpochPlan:
    """Plan of the batches of an epoch, for one of several processes.

    All batches of a pass have one size; a smaller last batch is dropped. A set that is cycled is shuffled again in each
    cycle. The plan is of global batches, of ``world`` times the batch size, and each process takes its slice of them:
    the global batches do not depend on how they are divided.

    Args:
        sets: Row numbers of each set.
        passes: The passes of the epoch, one after the other.
        batch_size: Images of each part per process, for passes without a batch size.
        seed: Seed of the order and of the augmentation.
        epoch: Number of the epoch; each epoch has its own order.
        rank: Rank of this process.
        world: Number of processes.
        augmentation: The augmentation to sample random numbers for.

    Raises:
        SettingError: If a pass has fewer images than there are processes.
    """

    def __init__(
        self,
        sets: Mapping[str, Rows],
        passes: Sequence[Pass],
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        augmentation: Augmentation = NO_AUGMENTATION,
    ) -> None:
        self.sets, self.passes, self.seed = dict(sets), list(passes), seed
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.augmentation = augmentation
        self.epoch = epoch
        self.start = 0
        for pass_ in self.passes:
            if not self._count(pass_):
                raise SettingError(
                    f"The {pass_.over} set has {self._length(pass_)} images, too few for {world} processes. Use fewer "
                    "processes (--trainer.devices), or more images."
                )

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch; the trainer calls this before each epoch."""
        self.epoch = epoch

    def _rows(self, pass_: Pass, name: str) -> Rows:
        rows, share = self.sets[name], pass_.shares.get(name, 1.0)
        if share == 1.0:
            return rows
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return np.sort(generator.permutation(rows)[: max(1, round(share * len(rows)))])

    def _length(self, pass_: Pass) -> int:
        """Return the number of images that a pass goes over once."""
        return sum(len(self._rows(pass_, name)) for name in (pass_.sets.values() if pass_.mixed else (pass_.over,)))

    def _size(self, pass_: Pass) -> int:
        """Return the number of rows of a global batch: as set, or fewer if there are not enough.

        BatchNorm needs two images: where there is one per process, it is in the batch twice.
        """
        size = pass_.batch_size or self.batch_size
        return max(min(2, size), min(size, self._length(pass_) // self.world)) * self.world

    def _count(self, pass_: Pass) -> int:
        """Return the number of batches of a pass: one where there are fewer images than in a batch."""
        length = self._length(pass_)
        return 0 if length < self.world else max(1, length // self._size(pass_))

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return sum(self._count(pass_) for pass_ in self.passes)

    def __iter__(self) -> Iterator[dict[str, Take]]:
        """Yield this process's slice of each batch of the epoch, from batch ``start`` on."""
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[dict[str, Take]]:
        for number, pass_ in enumerate(self.passes):
            yield from self._mixed(number, pass_) if pass_.mixed else self._side_by_side(number, pass_)

    def _stream(self, number: int, part: str, rows: Rows, pass_: Pass) -> Iterator[Take]:
        """Yield this process's slice of each batch of one part."""
        size, count = self._size(pass_), self._count(pass_)
        share = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
        seed = (self.seed, self.epoch, number, zlib.crc32(part.encode()))
        generator, augment = np.random.default_rng([*seed, 1]), self.augmentation
        for batch in shuffled_batches(rows, size, count, seed):
            yield Take(batch[share], augment.sample(generator, size)[share] if augment.enabled else None)

    def _side_by_side(self, number: int, pass_: Pass) -> Iterator[dict[str, Take]]:
        streams = [self._stream(number, part, self._rows(pass_, name), pass_) for part, name in pass_.sets.items()]
        for takes in zip(*streams, strict=True):
            yield dict(zip(pass_.sets, takes, strict=True))

    def _mixed(self, number: int, pass_: Pass) -> Iterator[dict[str, Take]]:
        sets = [self._rows(pass_, name) for name in pass_.sets.values()]
        rows, set_of_row = np.concatenate(sets), np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
        for take in self._stream(number, "+".join(pass_.sets), np.arange(len(rows)), pass_):
            batch = {}
            for place, part in enumerate(pass_.sets):
                mask = set_of_row[take.rows] == place
                random_numbers = None if take.random_numbers is None else take.random_numbers[mask]
                batch[part] = Take(rows[take.rows[mask]], random_numbers)
            yield batch


class EvaluationPlan:
    """Plan of the batches of an evaluation set, in the order of the table; each row is on one process only."""

    def __init__(self, rows: Rows, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.rows, self.batch_size = rows[rank::world], batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Take]:
        """Yield the batches of this process."""
        return (Take(self.rows[start : start + self.batch_size]) for start in range(0, len(self.rows), self.batch_size))


class BatchLoader:
    """Load the batches of a plan. It is not a ``DataLoader``, so that the trainer does not replace its sampler.

    Attributes:
        sampler: The plan, under the name that the trainer calls ``set_epoch`` of.
        batch_sampler: None; the trainer reads it.
        done: Number of batches loaded in this epoch.
    """

    batch_sampler = None

    def __init__(self, dataset: FaceDataset, plan: EpochPlan | EvaluationPlan, num_workers: int = 0) -> None:
        self.dataset, self.sampler, self.num_workers = dataset, plan, num_workers
        self.done = 0
        self._epoch: int | None = None

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch | dict[str, Batch]]:
        """Yield the batches of the plan, in its order for any number of workers."""
        plan = self.sampler
        if isinstance(plan, EpochPlan):
            # Resume an interrupted epoch at its next batch; every other epoch starts at batch 0.
            plan.start = self.done = self.done if self._epoch == plan.epoch else 0
            self._epoch = None
        for batch in self._loader():
            self.done += 1
            yield batch
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches that are done; the trainer saves it in checkpoints."""
        return {"done": self.done, "epoch": getattr(self.sampler, "epoch", 0)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume in the middle of an epoch."""
        self.done, self._epoch = state["done"], state.get("epoch")

    def _loader(self) -> DataLoader[Batch | dict[str, Batch]]:
        # A generator of its own: the loader draws a seed from it, which must not change the global generator's state.
        return DataLoader(
            self.dataset,
            batch_size=None,
            sampler=self.sampler,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )
