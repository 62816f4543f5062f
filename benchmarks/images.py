"""Time image loading: augmented batches, filling the pixel cache, and opening a large cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.faces import jpeg_faces, jpeg_folder
from benchmarks.fit_timing import silence
from benchmarks.timing import Measurement, absolute_time, image_size, seconds, speedup, time_in_turn
from gli.data.augment import Augmentation
from gli.data.cache import cache_path, open_pixels
from gli.data.synthetic import DrawnFaces
from gli.system.digest import digest

#: Number of images of an augmented epoch.
COUNT = 1280
#: Number of images of MUCAC.
MUCAC = 30_000


def augmented_epoch(size: int, rounds: int = 9) -> Measurement:
    """Time an augmented epoch from the cache against PIL and torchvision per image, with one thread each."""
    folder = jpeg_folder()
    data = jpeg_faces(size, Augmentation())
    data.splits = {"retain": np.arange(COUNT // 2), "forget": np.arange(COUNT // 2, COUNT)}
    loader = data.train_dataloader()
    assert len(loader) * 2 * 64 == COUNT
    transform = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(0, shear=10, scale=(0.8, 1.2)),
            transforms.ColorJitter(0.2, 0.2, 0.2),
            transforms.ToTensor(),
        ]
    )

    def torchvision_epoch() -> None:
        for row in range(COUNT):
            with Image.open(folder / f"images/{row}.jpg") as file:
                transform(file.convert("RGB"))

    def gli_epoch() -> None:
        for batch in loader:
            data.on_after_batch_transfer(batch, 0)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = time_in_turn({"baseline": torchvision_epoch, "gli": gli_epoch}, rounds)
    finally:
        torch.set_num_threads(threads)
    work = f"{COUNT:,} augmented images, {image_size(size)}, from the cache, one core"
    return speedup(work, "PIL and torchvision per image", times["baseline"], times["gli"], 8)


def fill_cache(size: int, rounds: int = 7) -> Measurement:
    """Time filling the pixel cache on all cores against decoding one file after the other."""
    folder = jpeg_folder()
    resize = transforms.Resize(size)
    data = jpeg_faces(size)
    images, digests = data.faces.images, data.digests

    def decode_in_sequence() -> None:
        for row in range(len(images)):
            with Image.open(folder / f"images/{row}.jpg") as file:
                np.asarray(resize(file.convert("RGB")))

    def fill() -> None:
        with tempfile.TemporaryDirectory(dir="data/cache") as cache, silence():
            open_pixels(images, digests, size, Path(cache))

    times = time_in_turn({"baseline": decode_in_sequence, "gli": fill}, rounds)
    work = f"{len(images):,} JPEG files decoded into the cache, {image_size(size)}, all cores"
    return speedup(work, "PIL, one file after the other", times["baseline"], times["gli"], 1.5)


def open_cache(rounds: int = 7) -> Measurement:
    """Time opening a cache of MUCAC's size: a sparse file of 1.5 GB, since its pixels are not read."""
    digests = np.array([digest(number) for number in range(MUCAC)], dtype="S32")
    with tempfile.TemporaryDirectory() as folder:
        path = cache_path(np.unique(digests), 128, Path(folder))
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(MUCAC, 128, 128, 3))
        images = DrawnFaces([])  # The cache exists, so no image is decoded.
        times = [seconds(lambda: open_pixels(images, digests, 128, Path(folder))) for _ in range(rounds)]
    return absolute_time(f"opening a cache of {MUCAC:,} images, {image_size(128)}", times, 0.1)
