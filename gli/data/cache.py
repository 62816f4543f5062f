"""Pixels decoded once: a uint8 array on disk, keyed by content and size, shared by processes through the page cache."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.data.faces import Images
from gli.errors import DataError
from gli.system.children import end_with_parent
from gli.system.console import progress
from gli.system.digest import digest
from gli.system.files import atomic_write, file_lock, remove_leftovers, writable

#: Part of the key: raised whenever decoding or resizing changes its result.
VERSION = 1
#: Most images that a process makes before it writes them.
CHUNK = 256


@dataclass(frozen=True)
class PixelCache:
    """All pixels of a table; identical files are stored once.

    Attributes:
        pixels: Memory-mapped uint8 RGB of shape ``(distinct images, size, size, 3)``.
        slots: For each row of the table its place in ``pixels``.
    """

    pixels: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int64]

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images of these rows, copied, shape ``(rows, size, size, 3)``."""
        return np.asarray(self.pixels[self.slots[rows]])


@dataclass(frozen=True)
class _Filling:
    """What a process needs to fill its part of the file."""

    path: Path
    images: Images
    size: int
    start: int

    def __call__(self, rows: list[int], at: int) -> int:
        """Make the pixels of some rows and write them to where they belong; how many there were."""
        block = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for place, row in enumerate(rows):
            block[place] = self.images.pixels(row, self.size)
        with self.path.open("r+b") as file:  # One write: through a memory map each page would be a fault of its own.
            file.seek(self.start + at * block[0].nbytes)
            file.write(block.data)
        return len(rows)


_filling: _Filling | None = None


def _begin(filling: _Filling) -> None:
    """Make a process ready: it ends with its parent, and leaves Ctrl-C to it."""
    global _filling
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _filling = filling


def _fill(rows: list[int], at: int) -> int:
    assert _filling is not None
    return _filling(rows, at)


def _fill_all(filling: _Filling, firsts: npt.NDArray[np.int64], advance: Callable[[int], None]) -> None:
    cores = os.cpu_count() or 1
    length = min(CHUNK, max(16, len(firsts) // (8 * cores)))
    chunks = [(firsts[at : at + length].tolist(), at) for at in range(0, len(firsts), length)]
    count = min(len(chunks), cores)
    if count == 1:
        for chunk in chunks:
            advance(filling(*chunk))
        return
    # Processes rather than threads: a decoder gives Python's lock away and back many times for each small image.
    context = get_context("fork" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(filling,)) as workers:
        try:
            for future in as_completed([workers.submit(_fill, *chunk) for chunk in chunks]):
                advance(future.result())
        except BrokenProcessPool as error:
            raise DataError(
                f"{filling.images.verb} the images was cut off: one of its processes was killed, perhaps for want of memory. "
                "Close other programs, or lower --data.image_size, and run again."
            ) from error
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _write(path: Path, images: Images, firsts: npt.NDArray[np.int64], size: int) -> None:
    """Fill the file aside and put it in place once it is whole."""
    with atomic_write(path) as aside, aside.open("w+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(firsts), size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start, length = file.tell(), len(firsts) * size * size * 3
        # Take the room now: a full disk should be known before the work is done.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, start + length)
        with progress(f"{images.verb} {len(firsts):,} images", len(firsts)) as advance:
            _fill_all(_Filling(aside, images, size, start), firsts, advance)
        os.fsync(file.fileno())


def cache_path(distinct: npt.NDArray[np.bytes_], size: int, cache_dir: Path) -> Path:
    """Where the pixels of images lie at a size; their hashes are sorted, each there once."""
    return cache_dir / f"pixels-{size}-{digest(VERSION, size, distinct.tobytes())}.npy"


def open_pixels(images: Images, digests: npt.NDArray[np.bytes_], size: int, cache_dir: Path) -> PixelCache:
    """Open the cache of these images at this size, filling it first where it is not there.

    Two processes that start at once fill it once: the second waits for the first.

    Args:
        images: Where the pixels come from.
        digests: Content hash of each image.
        size: Side in pixels.
        cache_dir: Folder of the cache.

    Raises:
        DataError: If an image cannot be read, or the cache cannot be written.
    """
    distinct, firsts, slots = np.unique(digests, return_index=True, return_inverse=True)
    path = cache_path(distinct, size, cache_dir)
    if not path.exists():
        with writable(cache_dir, len(firsts) * size * size * 3 / 1e6):
            cache_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock"), "filling the pixel cache"):
                remove_leftovers(cache_dir, path.name)
                if not path.exists():
                    _write(path, images, firsts, size)
    return PixelCache(np.load(path, mmap_mode="r", allow_pickle=False), slots.ravel().astype(np.int64))
