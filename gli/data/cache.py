"""Pixels decoded once: a uint8 array on disk, named by content and size, that processes share by memory-mapping it."""

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
from gli.system.console import progress
from gli.system.digest import digest
from gli.system.files import atomic_write, file_lock, remove_leftovers, writable
from gli.system.process import end_with_parent, usable_cores

#: Part of the file name; increment it whenever decoding or resizing changes its result.
VERSION = 1
#: Largest number of images that a process decodes before it writes them.
CHUNK = 256


@dataclass(frozen=True)
class PixelCache:
    """All pixels of a table; identical images are stored once."""

    pixels: npt.NDArray[np.uint8]  # Memory-mapped uint8 RGB of shape ``(distinct images, size, size, 3)``.
    slots: npt.NDArray[np.int64]  # Index into ``pixels`` of each row of the table.

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return a copy of the pixels of these rows, of shape ``(rows, size, size, 3)``."""
        return np.asarray(self.pixels[self.slots[rows]])


@dataclass(frozen=True)
class _ChunkWriter:
    """Decode images and write their pixels into the cache file, which has its header and its full length."""

    path: Path  # The file, with its header and its full length.
    images: Images  # The images.
    size: int  # Side in pixels.
    start: int  # Length of the header in bytes.

    def __call__(self, rows: list[int], slot: int) -> int:
        """Write the pixels of ``rows`` from slot ``slot`` on, and return the number of rows."""
        chunk = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for place, row in enumerate(rows):
            chunk[place] = self.images.pixels(row, self.size)
        with self.path.open("r+b") as file:  # One write; through a memory map, each page would cause a page fault.
            file.seek(self.start + slot * chunk[0].nbytes)
            file.write(chunk.data)
        return len(rows)


_writer: _ChunkWriter | None = None


def _initialise_worker(writer: _ChunkWriter) -> None:
    """Prepare a worker process: it exits with its parent, and ignores Ctrl-C, which the parent handles."""
    global _writer
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _writer = writer


def _write_chunk(rows: list[int], slot: int) -> int:
    assert _writer is not None
    return _writer(rows, slot)


def _write_chunks(writer: _ChunkWriter, rows: npt.NDArray[np.int64], advance: Callable[[int], None]) -> None:
    """Write the pixels of ``rows``, in order; call ``advance`` with the number of rows of each finished chunk."""
    cores = usable_cores()
    length = min(CHUNK, max(16, len(rows) // (8 * cores)))
    chunks = [(rows[slot : slot + length].tolist(), slot) for slot in range(0, len(rows), length)]
    num_workers = min(len(chunks), cores)
    if num_workers == 1:
        for chunk in chunks:
            advance(writer(*chunk))
        return
    # Processes rather than threads: a decoder acquires and releases Python's lock many times per small image.
    context = get_context("fork" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(
        num_workers, mp_context=context, initializer=_initialise_worker, initargs=(writer,)
    ) as workers:
        try:
            for future in as_completed([workers.submit(_write_chunk, *chunk) for chunk in chunks]):
                advance(future.result())
        except BrokenProcessPool as error:
            raise DataError(
                f"{writer.images.verb} the images was interrupted: one of its processes was killed, perhaps because "
                "memory ran out. Close other programs, or lower --data.image_size, and run again."
            ) from error
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _write_cache(path: Path, images: Images, rows: npt.NDArray[np.int64], size: int) -> None:
    """Write the pixels of ``rows`` into a temporary file, and rename it to ``path`` when it is complete."""
    with atomic_write(path) as temporary, temporary.open("w+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start, length = file.tell(), len(rows) * size * size * 3
        # Reserve the space now, so that a full disk is an error before the work and not after it.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, start + length)
        with progress(f"{images.verb} {len(rows):,} images", len(rows)) as advance:
            _write_chunks(_ChunkWriter(temporary, images, size, start), rows, advance)
        os.fsync(file.fileno())


def cache_path(distinct: npt.NDArray[np.bytes_], size: int, cache_dir: Path) -> Path:
    """Return the path of the cache file of images by their content hashes, sorted and without duplicates."""
    return cache_dir / f"pixels-{size}-{digest(VERSION, size, distinct.tobytes())}.npy"


def open_pixels(images: Images, digests: npt.NDArray[np.bytes_], size: int, cache_dir: Path) -> PixelCache:
    """Open the cache of some images at a size; decode the images first if there is no such cache yet.

    If two processes start at once, one of them decodes and the other waits for it. Raises DataError if an image cannot
    be read, or the cache cannot be written.
    """
    distinct, first_rows, slots = np.unique(digests, return_index=True, return_inverse=True)
    path = cache_path(distinct, size, cache_dir)
    if not path.exists():
        with writable(cache_dir, len(first_rows) * size * size * 3 / 1e6):
            cache_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock"), "filling the pixel cache"):
                remove_leftovers(cache_dir, path.name)
                if not path.exists():
                    _write_cache(path, images, first_rows, size)
    pixels: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return PixelCache(pixels, slots.ravel().astype(np.int64))
