"""Batches of faces: which rows come when (a pure plan), and loaders that follow it."""

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

EVALUATION_SETS = ("test", "forget", "unseen")


@dataclass(frozen=True, init=False)
class Pass:
    """One pass of an epoch: what its batches are made of, and how many there are.

    ``Pass("retain", "forget")`` has both sets in every batch and is one pass over the first; the other is cycled
    alongside. ``Pass("forget", over="retain")`` has forget alone, as often as one pass over retain takes.
    ``Pass(retain="train")`` has another set play the part.

    Attributes:
        sets: Which set plays which part of a batch.
        over: The set that the pass is one pass over; by default that of the first part.
        batch_size: Images of each part in a batch, on each process; None for the data module's.
        mixed: Shuffle the sets into one. A batch then has ``batch_size`` images in all, and each comes in the part of its
            set; the pass is one over all of them.
        shares: Shares of the sets that are used, drawn once for all epochs; a set that is not named is used whole.

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
        """The sets that it needs."""
        return {*self.sets.values(), self.over}


class Batch(NamedTuple):
    """Images with what belongs to them.

    Attributes:
        images: Shape ``(batch, 3, size, size)``: uint8 from the loader, float in [0, 1] wherever a method sees them.
        labels: Shape ``(batch,)`` or ``(batch, labels)``.
        index: The images' row numbers in the face table, shape ``(batch,)``.
        draws: Random numbers of the augmentation, or None where there is none.
    """

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]
    draws: Tensor | None = None


class Take(NamedTuple):
    """What to load for one part of a batch: rows of the table and the augmentation's random numbers."""

    rows: Rows
    draws: npt.NDArray[np.float32] | None = None


class FaceDataset(Dataset[Batch]):
    """Whole batches by their rows: one gather from the uint8 cache, no per-image work."""

    def __init__(self, pixels: PixelCache, labels: npt.NDArray[np.int64]) -> None:
        self.pixels, self.labels = pixels, labels

    def __getitem__(self, what: Take | Mapping[str, Take]) -> Batch | dict[str, Batch]:  # type: ignore[override]
        """Load one batch, or one for each part."""
        if not isinstance(what, Take):
            return {part: self[take] for part, take in what.items()}  # type: ignore[misc]
        images = torch.from_numpy(self.pixels[what.rows]).permute(0, 3, 1, 2)
        draws = None if what.draws is None else torch.from_numpy(what.draws)
        return Batch(images, torch.from_numpy(self.labels[what.rows]), torch.from_numpy(what.rows), draws)


def shuffled_batches(rows: Rows, size: int, count: int, seed: Sequence[int]) -> Iterator[Rows]:
    """``count`` batches of ``size`` rows; whenever all rows have been used they are shuffled anew."""
    generator = np.random.default_rng(list(seed))
    left = rows[:0]
    for _ in range(count):
        while len(left) < size:
            left = np.concatenate([left, generator.permutation(rows)])
        yield left[:size]
        left = left[size:]


class EpochPlan:
    """Which rows every batch of an epoch holds, for one process of several.

    Every batch of a pass is of one size; a smaller last one is dropped. A set that is cycled is shuffled anew each time
    round. With ``world`` processes a global batch of ``world`` times the size is planned and each takes its slice, so
    that the plan does not depend on how the work is divided.
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
        for one in self.passes:
            if not self._count(one):
                raise SettingError(
                    f"The {one.over} set has {self._length(one)} images, too few for {world} processes. Use fewer "
                    "(--trainer.devices), or more images."
                )

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def _rows(self, one: Pass, name: str) -> Rows:
        """The rows of a set that a pass uses."""
        rows, share = self.sets[name], one.shares.get(name, 1.0)
        if share == 1.0:
            return rows
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return np.sort(generator.permutation(rows)[: max(1, round(share * len(rows)))])

    def _length(self, one: Pass) -> int:
        """Images that a pass is one pass over."""
        return sum(len(self._rows(one, name)) for name in (one.sets.values() if one.mixed else (one.over,)))

    def _size(self, one: Pass) -> int:
        """Rows of a global batch: as asked, or as many as there are where that is fewer."""
        return max(1, min(one.batch_size or self.batch_size, self._length(one) // self.world)) * self.world

    def _count(self, one: Pass) -> int:
        return self._length(one) // self._size(one)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(self._count(one) for one in self.passes)

    def __iter__(self) -> Iterator[dict[str, Take]]:
        """The batches of the epoch from ``start`` on, this process's part of each."""
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[dict[str, Take]]:
        for number, one in enumerate(self.passes):
            yield from self._mixed(number, one) if one.mixed else self._side_by_side(number, one)

    def _stream(self, number: int, part: str, rows: Rows, one: Pass) -> Iterator[Take]:
        """This process's slices of the batches of one part."""
        size, count = self._size(one), self._count(one)
        mine = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
        seed = (self.seed, self.epoch, number, zlib.crc32(part.encode()))
        draws = np.random.default_rng([*seed, 1])
        for batch in shuffled_batches(rows, size, count, seed):
            drawn = self.augmentation.draw(draws, size)[mine] if self.augmentation.enabled else None
            yield Take(batch[mine], drawn)

    def _side_by_side(self, number: int, one: Pass) -> Iterator[dict[str, Take]]:
        streams = [self._stream(number, part, self._rows(one, name), one) for part, name in one.sets.items()]
        for takes in zip(*streams, strict=True):
            yield dict(zip(one.sets, takes, strict=True))

    def _mixed(self, number: int, one: Pass) -> Iterator[dict[str, Take]]:
        sets = [self._rows(one, name) for name in one.sets.values()]
        rows, owner = np.concatenate(sets), np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
        for take in self._stream(number, "+".join(one.sets), np.arange(len(rows)), one):
            batch = {}
            for place, part in enumerate(one.sets):
                theirs = owner[take.rows] == place
                batch[part] = Take(rows[take.rows[theirs]], None if take.draws is None else take.draws[theirs])
            yield batch


class EvaluationPlan:
    """A set in the order of the table, in batches, each row on one process only."""

    def __init__(self, rows: Rows, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.rows, self.batch_size = rows[rank::world], batch_size

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Take]:
        """The batches."""
        return (Take(self.rows[at : at + self.batch_size]) for at in range(0, len(self.rows), self.batch_size))


class BatchLoader:
    """Follows a plan. Not a ``DataLoader`` itself, so that the trainer leaves the plan's order and division alone.

    Attributes:
        sampler: The plan, where the trainer looks for ``set_epoch``.
        batch_sampler: None; the trainer asks for it.
    """

    batch_sampler = None

    def __init__(self, dataset: FaceDataset, plan: EpochPlan | EvaluationPlan, num_workers: int = 0) -> None:
        self.dataset, self.sampler, self.num_workers = dataset, plan, num_workers
        self.done = 0
        self._epoch: int | None = None

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch | dict[str, Batch]]:
        """Load the planned batches, in their order whatever the number of workers."""
        plan = self.sampler
        if isinstance(plan, EpochPlan):
            # An interrupted epoch goes on where it was left, be it after its last batch; others begin at their beginning.
            plan.start = self.done = self.done if self._epoch == plan.epoch else 0
            self._epoch = None
        for batch in self._loader():
            self.done += 1
            yield batch
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """How many batches of which epoch are done; the trainer puts it into checkpoints."""
        return {"done": self.done, "epoch": getattr(self.sampler, "epoch", 0)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on in the middle of an epoch."""
        self.done, self._epoch = state["done"], state.get("epoch")

    def _loader(self) -> DataLoader:
        # The loader draws a base seed from torch's generator when it is started: give it one of its own, so that
        # loading does not move the generator that models are initialised and perturbed from.
        return DataLoader(
            self.dataset,
            batch_size=None,
            sampler=self.sampler,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )
