"""From files to what a method sees, against PIL and torchvision image by image; and opening a large cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.beside import silence
from benchmarks.faces import files, table
from benchmarks.timing import Finding, faster, in_turn, seconds, under
from gli.data.augment import Augmentation
from gli.data.cache import cache_path, open_pixels
from gli.data.synthetic import DrawnFaces
from gli.system.digest import digest

COUNT = 1280
MUCAC = 30_000


def cached(size: int) -> Finding:
    """An augmented epoch out of the cache against PIL and torchvision, one thread each."""
    folder = files()
    data = table(size, Augmentation())
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

    def plain() -> None:
        for row in range(COUNT):
            with Image.open(folder / f"images/{row}.jpg") as file:
                transform(file.convert("RGB"))

    def ours() -> None:
        for batch in loader:
            data.on_after_batch_transfer(batch, 0)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = in_turn({"plain": plain, "ours": ours}, 9)
    torch.set_num_threads(threads)
    return faster(
        f"{COUNT:,} augmented images, {size} x {size}, out of the cache, one core",
        "PIL and torchvision per image", times["plain"], times["ours"], 8,
    )  # fmt: skip


def first_decode(size: int) -> Finding:
    """Filling the cache, all cores, against decoding one image after the other."""
    folder = files()
    resize = transforms.Resize(size)
    data = table(size)
    images, digests = data.faces.images, data.digests

    def plain() -> None:
        for row in range(len(images)):
            with Image.open(folder / f"images/{row}.jpg") as file:
                np.asarray(resize(file.convert("RGB")))

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir="data/cache") as cache, silence():
            open_pixels(images, digests, size, Path(cache))

    times = in_turn({"plain": plain, "ours": ours}, 7)
    what = f"{len(images):,} JPEG files decoded into the cache, {size} x {size}, all cores"
    return faster(what, "PIL, one after the other", times["plain"], times["ours"], 1.5)


def opening() -> Finding:
    """Opening a cache of MUCAC's size. What is in it does not matter: the file is a hole of 1.5 GB."""
    digests = np.array([digest(number) for number in range(MUCAC)], dtype="S32")
    with tempfile.TemporaryDirectory() as folder:
        path = cache_path(np.unique(digests), 128, Path(folder))
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(MUCAC, 128, 128, 3))
        images = DrawnFaces([])  # Never asked for pixels.
        times = [seconds(lambda: open_pixels(images, digests, 128, Path(folder))) for _ in range(7)]
    return under(f"opening a cache of {MUCAC:,} x 128 x 128 x 3", times, 0.1)
