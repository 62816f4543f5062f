"""Batches of faces: which rows come when (a pure plan), and loaders that follow it."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
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

#: One pass of an epoch: which set plays which part. The epoch is one pass over the set of the first part; the sets of
#: the other parts are cycled alongside.
Pass = Mapping[str, str]
EVALUATION_SETS = ("test", "forget", "unseen")


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

    Every batch of a set is of one size; a smaller last one is dropped. A set that is cycled is shuffled anew each time
    round. With ``world`` processes a global batch of ``batch_size * world`` rows is planned and each takes its slice, so
    that the plan does not depend on how the work is divided.
    """

    def __init__(
        self,
        sets: Mapping[str, Rows],
        passes: Sequence[Pass],
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        augmentation: Augmentation = NO_AUGMENTATION,
    ) -> None:
        self.sets, self.passes, self.seed = dict(sets), list(passes), seed
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.augmentation = augmentation
        self.epoch = 0
        self.start = 0
        for one in self.passes:
            if not self._count(one):
                name = next(iter(one.values()))
                raise SettingError(
                    f"The {name} set has {len(self.sets[name])} images, too few for {world} processes. Use fewer "
                    "(--trainer.devices), or more images."
                )

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def _size(self, one: Pass) -> int:
        """Rows of a global batch: as asked, or the whole leading set where that is smaller."""
        leading = len(self.sets[next(iter(one.values()))])
        return max(1, min(self.batch_size, leading // self.world)) * self.world

    def _count(self, one: Pass) -> int:
        return len(self.sets[next(iter(one.values()))]) // self._size(one)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(self._count(one) for one in self.passes)

    def __iter__(self) -> Iterator[dict[str, Take]]:
        """The batches of the epoch from ``start`` on, this process's part of each."""
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[dict[str, Take]]:
        for number, one in enumerate(self.passes):
            size, count = self._size(one), self._count(one)
            mine = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
            seeds = {part: (self.seed, self.epoch, number, zlib.crc32(part.encode())) for part in one}
            streams = {part: shuffled_batches(self.sets[name], size, count, seeds[part]) for part, name in one.items()}
            draws = {part: np.random.default_rng([*seed, 1]) for part, seed in seeds.items()}
            for _ in range(count):
                batch = {}
                for part, stream in streams.items():
                    drawn = self.augmentation.draw(draws[part], size)[mine] if self.augmentation.enabled else None
                    batch[part] = Take(next(stream)[mine], drawn)
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

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch | dict[str, Batch]]:
        """Load the planned batches, in their order whatever the number of workers."""
        plan = self.sampler
        if isinstance(plan, EpochPlan):
            plan.start = self.done = self.done % len(plan)  # Where an interrupted epoch goes on; else its beginning.
        for batch in self._loader():
            self.done += 1
            yield batch
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch are done; the trainer puts it into checkpoints."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on in the middle of an epoch."""
        self.done = state["done"]

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
