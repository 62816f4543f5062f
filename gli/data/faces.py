"""The face table (one row per image: image, labels, identity) and the sources of its pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from gli.errors import DataError
from gli.system.digest import DIGEST_BYTES, digest
from gli.system.files import atomic_write, writable

if TYPE_CHECKING:
    from gli.data.tasks import Task

Rows = npt.NDArray[np.int64]


class Images(ABC):
    """Base class for sources of pixels: image files, or a drawing program. Image numbers are rows of the table."""

    #: Verb of the progress bar while the pixels are being made.
    verb = "Decoding"

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Return one content hash per image; two are equal if and only if the images are identical byte by byte."""

    @abstractmethod
    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Return one image as uint8 RGB of shape ``(size, size, 3)``."""


@dataclass(frozen=True)
class ImageFiles(Images):
    """Image files in one folder and its subfolders."""

    root: Path  # The folder.
    paths: Sequence[str]  # One path per image, relative to ``root``.

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Return hashes of the files' bytes, stored in ``cache_dir`` until a file's size or modification time changes.

        Raises:
            DataError: If a file that the table lists does not exist or cannot be read.
        """
        states = []
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
            except OSError as error:
                raise DataError(
                    f"{self.root / path}: the table lists this image but it is not there ({error.strerror}). "
                    "Restore the file, or remove its row from the table."
                ) from error
            states.append(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}")
        stored = cache_dir / f"digests-{digest(str(self.root.resolve()), *states)}.npy"
        if stored.exists():
            digests: npt.NDArray[np.bytes_] = np.load(stored, allow_pickle=False)
            return digests
        digests = np.array([digest(self._bytes(path)) for path in self.paths], dtype=f"S{2 * DIGEST_BYTES}")
        with writable(cache_dir), atomic_write(stored) as temporary, temporary.open("wb") as file:
            np.save(file, digests, allow_pickle=False)
        return digests

    def _bytes(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.root / path}: this image cannot be read ({error.strerror}). Replace it by a readable file, or "
                "remove its row from the table."
            ) from error

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Decode one file, resize its shorter side to ``size`` and return the square in the middle.

        Raises:
            DataError: If the file is not a readable image.
        """
        path = self.root / self.paths[row]
        try:
            with Image.open(path) as file:
                file.load()
                image: Image.Image = file if file.mode == "RGB" else file.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{path}: this image cannot be read ({error}). It may be truncated: copy it again, "
                "or remove its row from the table."
            ) from error
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        return np.asarray(image)[top : top + size, left : left + size]


@dataclass(frozen=True)
class Faces:
    """A face table: all that is known of the images of a data set, except their pixels.

    Raises:
        ValueError: If the columns differ in length.
    """

    images: Images  # Source of the pixels.
    #: int64 class numbers of shape ``(n,)`` (multi-class), or 0 and 1 of shape ``(n, labels)`` (multi-label).
    labels: npt.NDArray[np.int64]
    identities: npt.NDArray[np.str_]  # Identity of the person on each image, strings of shape ``(n,)``.
    task: Task  # The classification task, which defines the meaning of the labels.
    #: Larger groups of people that a split must not divide either, such as MUFAC's families, of shape ``(n,)``; the
    #: identities if omitted.
    households: npt.NDArray[np.str_] = None  # type: ignore[assignment]  # __post_init__ replaces None.
    #: Row numbers of ``retain``, ``forget``, ``test`` and ``unseen`` as published by the authors of the data set or
    #: given by the owner of the table; None if there is no such split.
    published: Mapping[str, Rows] | None = None

    def __post_init__(self) -> None:
        """Fill in the households and check that all columns have one length."""
        if self.households is None:
            object.__setattr__(self, "households", self.identities)
        lengths = {len(self.images), len(self.labels), len(self.identities), len(self.households)}
        if len(lengths) != 1:
            raise ValueError(f"columns of a face table differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def content_hash(digests: npt.NDArray[np.bytes_], labels: npt.NDArray[np.int64], settings: str) -> str:
    """Return a hash of labelled images in any order, and of settings."""
    columns = labels.reshape(len(labels), -1)
    # Sort by content first and label second, because identical files may have different labels.
    order = np.lexsort((*columns.T[::-1], digests))
    return digest(digests[order].tobytes(), np.ascontiguousarray(columns[order]).tobytes(), settings)
