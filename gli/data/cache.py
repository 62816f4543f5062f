"""Pixels decoded once: a uint8 array on disk, keyed by content and size, shared by processes through the page cache."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.data.faces import Images, digest
from gli.data.files import one_at_a_time, remove_leftovers, replacing, writable
from gli.processes import end_with_parent
from gli.progress import progress

#: Part of the key: raised whenever decoding or resizing changes its result.
VERSION = 1
CHUNK = 64


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


def _chunk(images: Images, size: int, rows: list[int]) -> npt.NDArray[np.uint8]:
    return np.stack([images.pixels(row, size) for row in rows])


def _workers(images: Images) -> Executor:
    """Threads where decoding leaves Python's lock (Pillow does), processes where it is Python itself that draws."""
    count = os.cpu_count() or 1
    if images.releases_lock:
        return ThreadPoolExecutor(count)
    return ProcessPoolExecutor(
        count, mp_context=get_context("fork" if os.name == "posix" else "spawn"), initializer=end_with_parent
    )


def _write(path: Path, images: Images, firsts: npt.NDArray[np.int64], size: int) -> None:
    """Fill the file aside and put it in place once it is whole."""
    with replacing(path) as aside:
        pixels = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(firsts), size, size, 3))
        with aside.open("r+b") as file:
            # Take the room now: a full disk under a memory map would kill the process instead of raising an error.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, aside.stat().st_size)
        with _workers(images) as workers, progress(f"{images.verb} {len(firsts):,} images", len(firsts)) as advance:
            starts = range(0, len(firsts), CHUNK)
            work = partial(_chunk, images, size)
            futures = {workers.submit(work, firsts[at : at + CHUNK].tolist()): at for at in starts}
            try:
                for future in as_completed(list(futures)):
                    block, at = future.result(), futures.pop(future)
                    pixels[at : at + len(block)] = block
                    advance(len(block))
            except BaseException:
                workers.shutdown(cancel_futures=True)
                raise
        pixels.flush()
        del pixels


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
    path = cache_dir / f"pixels-{size}-{digest(VERSION, size, distinct.tobytes())}.npy"
    if not path.exists():
        with writable(cache_dir, len(firsts) * size * size * 3 / 1e6):
            cache_dir.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(path.with_suffix(".lock"), "filling the pixel cache"):
                remove_leftovers(cache_dir, path.name)
                if not path.exists():
                    _write(path, images, firsts, size)
    return PixelCache(np.load(path, mmap_mode="r", allow_pickle=False), slots.ravel().astype(np.int64))
