"""The rows of the user's table and of the held-out people, with content hashes; read without PyTorch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gli.erasure.canonical import sha256
from gli.erasure.settings import Settings
from gli.errors import DataError
from gli.system.digest import digest
from gli.system.files import inside, read_csv


@dataclass(frozen=True)
class Photo:
    """One row of a table.

    Attributes:
        file: Name of the file, relative to the root.
        identity: The person.
        labels: Values of the label columns.
        digest: Content hash of the file.
        line: Line of the table.
    """

    file: str
    identity: str
    labels: tuple[str, ...]
    digest: str = ""
    line: int = 0


def read_photos(path: Path, settings: Settings) -> list[Photo]:
    """Return the rows of a table, without content hashes.

    Raises:
        DataError: If the table cannot be read, or a row is not complete.
    """
    rows = read_csv(path, [settings.file, settings.identity, *settings.labels])
    photos = []
    for row in rows:
        where = f"{path}, line {row.line}"
        name, identity = inside(Path(settings.root), row[settings.file], where), row[settings.identity]
        if not identity:
            raise DataError(f"{where}: the identity is empty. Name the person on the image.")
        photos.append(Photo(name, identity, tuple(row[label] for label in settings.labels), "", row.line))
    return photos


def with_digests(photos: Iterable[Photo], root: Path) -> list[Photo]:
    """Return rows with the content hashes of their files, which are kept in memory only.

    Raises:
        DataError: If a file cannot be read.
    """
    hashed = []
    for photo in photos:
        try:
            hashed.append(replace(photo, digest=digest((root / photo.file).read_bytes())))
        except OSError as error:
            raise DataError(
                f"{root / photo.file}: the table lists this image but it cannot be read ({error.strerror}). Restore "
                "the file, or remove its row from the table."
            ) from error
    return hashed


def manifest(photos: Sequence[Photo]) -> str:
    """Return a hash of the images and labels that a model is trained on, independent of their order and names."""
    lines = sorted("\0".join((photo.digest, *photo.labels)) for photo in photos)
    return sha256("\n".join(lines).encode())


def table_text(photos: Sequence[Photo], settings: Settings) -> bytes:
    """Return a table as a CSV file."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([settings.file, settings.identity, *settings.labels])
    writer.writerows([photo.file, photo.identity, *photo.labels] for photo in photos)
    return file.getvalue().encode()


def assignment_text(sets: dict[str, str]) -> bytes:
    """Return a file that assigns people to sets (``data.assignment``)."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["identity", "set"])
    writer.writerows(sorted(sets.items()))
    return file.getvalue().encode()
