"""The face table (image, labels, identity: one row per image) and the images behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gli.data.tasks import Task
from gli.errors import DataError
from gli.system.digest import DIGEST_BYTES, digest
from gli.system.files import atomic_write, writable

Rows = npt.NDArray[np.int64]


class Images(ABC):
    """Where pixels come from: files, or a drawing program. Numbered like the rows of the table."""

    #: What the progress bar says while these are being turned into pixels.
    verb = "Decoding"

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """One content hash per image, equal exactly where two images are identical byte by byte."""

    @abstractmethod
    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """One image as uint8 RGB of shape ``(size, size, 3)``."""


@dataclass(frozen=True)
class ImageFiles(Images):
    """Image files below one folder.

    Attributes:
        root: The folder.
        paths: One path per image, relative to ``root``.
    """

    root: Path
    paths: Sequence[str]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Hashes of the files' bytes, remembered in ``cache_dir`` until a file's size or time of change differs.

        Raises:
            DataError: If a file that the table lists is absent.
        """
        states = []
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
            except OSError as error:
                raise DataError(
                    f"{self.root / path}: the table lists this image but it is not there ({error.strerror}). "
                    "Put the file back, or take its row out of the table."
                ) from error
            states.append(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}")
        remembered = cache_dir / f"digests-{digest(str(self.root.resolve()), *states)}.npy"
        if remembered.exists():
            return np.load(remembered, allow_pickle=False)
        found = [digest(self._bytes(path)) for path in self.paths]
        result = np.array(found, dtype=f"S{2 * DIGEST_BYTES}")
        with writable(cache_dir), atomic_write(remembered) as aside, aside.open("wb") as file:
            np.save(file, result, allow_pickle=False)
        return result

    def _bytes(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            path = str(self.root / path)
            why = f"cannot be read ({error.strerror})"
            raise DataError(f"{path}: this image {why}. Put a file there, or take its row out of the table.") from error

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Decode one file, resize its shorter side to ``size`` and cut the middle square.

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
                "or take its row out of the table."
            ) from error
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        return np.asarray(image)[top : top + size, left : left + size]


@dataclass(frozen=True)
class Faces:
    """A face table: everything a data set knows about its images but the pixels.

    Attributes:
        images: Where the pixels come from.
        labels: Class numbers of shape ``(n,)`` (multi-class) or 0/1 of shape ``(n, labels)`` (multi-label), int64.
        identities: Who is on the image, one string per row.
        task: What the labels mean.
        households: A coarser grouping that a split must not cut either (MUFAC's families); the identities themselves
            where there is none.
        published: Row numbers of ``retain``, ``forget``, ``test`` and ``unseen`` as the data set's authors (or the
            owner of the table) gave them; None where they gave none.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    identities: npt.NDArray[np.str_]
    task: Task
    households: npt.NDArray[np.str_] = None  # type: ignore[assignment]
    published: Mapping[str, Rows] | None = None

    def __post_init__(self) -> None:
        """Fill in the households and check that all columns are of one length."""
        if self.households is None:
            object.__setattr__(self, "households", self.identities)
        lengths = {len(self.images), len(self.labels), len(self.identities), len(self.households)}
        if len(lengths) != 1:
            raise ValueError(f"columns of a face table differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)
