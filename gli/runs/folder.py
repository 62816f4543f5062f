"""Names and folders of runs."""

from __future__ import annotations

import re
from pathlib import Path

from gli.errors import DataError

#: Folder of all runs, and of the original models in it.
LOGS, ORIGINALS = "lightning_logs", "originals"


def snake_case(name: str) -> str:
    """Return ``fine_tune`` for ``FineTune``, as in the names of configurations and run folders."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def new_version(parent: Path) -> int:
    """Create the next free folder ``version_<n>`` below ``parent`` and return its number.

    Creating it reserves the number: two runs that start at once get two folders. DataError if it cannot be created.
    """
    number = 0
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            (parent / f"version_{number}").mkdir()
        except FileExistsError:
            number += 1
            if not parent.is_dir():
                raise DataError(
                    f"{parent}: is a file, but the folder of this run belongs there. Move the file."
                ) from None
        except OSError as error:
            raise DataError(
                f"{parent}: the folder of this run cannot be created ({error.strerror}). Point "
                "--trainer.default_root_dir to a folder that you may write to."
            ) from error
        else:
            return number
