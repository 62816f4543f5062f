"""Remove and replace files so that their contents are not left on the disk: overwrite, rename, unlink, sync.

On file systems that copy on write, and on flash memory, old blocks may survive all the same; so may backups.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from gli.erasure.canonical import CHUNK, durable_write, sync_folder

#: Prefix of files that are being removed; left behind by a kill only.
DOOMED = ".purge-"


def is_regular(path: Path) -> bool:
    """Return whether a path is a plain file itself, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def has_other_names(path: Path) -> bool:
    """Return whether a file is known by a second name (a hard link), perhaps outside of the folder."""
    return path.lstat().st_nlink > 1


def shred(path: Path) -> None:
    """Overwrite a file, rename it, and remove it; a file with other names is removed without being overwritten.

    Nothing is done where the file is gone. A link is removed itself, never followed.
    """
    with suppress(FileNotFoundError):
        if is_regular(path) and not has_other_names(path):
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "wb", closefd=True) as file:
                left = os.fstat(file.fileno()).st_size
                while left > 0:
                    left -= file.write(bytes(min(left, CHUNK)))
                file.flush()
                os.fsync(file.fileno())
        doomed = path if path.name.startswith(DOOMED) else path.with_name(DOOMED + secrets.token_hex(8))
        os.replace(path, doomed)
        sync_folder(path.parent)
        os.unlink(doomed)
        sync_folder(path.parent)


def remove_remains(folder: Path) -> None:
    """Shred what killed processes left half-written or half-removed; call only if no other process writes."""
    for pattern in (".*.part", f"{DOOMED}*"):
        for path in folder.rglob(pattern):
            shred(path)


def replace_contents(path: Path, data: bytes) -> None:
    """Replace the contents of a file, and shred the old ones; after a kill the file has either, never half."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    new = path.with_name(f".{path.name}.{os.getpid()}.part")
    durable_write(new, data, mode)
    doomed = path.with_name(DOOMED + secrets.token_hex(8))
    os.link(path, doomed, follow_symlinks=False)
    os.replace(new, path)
    sync_folder(path.parent)
    shred(doomed)


def shred_folder(folder: Path) -> None:
    """Shred everything below a folder, and remove the folder; links are removed, never followed."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            shred(Path(parent, name))
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
            else:
                path.rmdir()
    with suppress(FileNotFoundError):
        folder.rmdir()
        sync_folder(folder.parent)
