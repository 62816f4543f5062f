"""The data module that a configuration or the folder of a run describes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from gli.data import FaceDataModule
from gli.errors import DataError


def build_data(section: Path | Mapping[str, Any], settings: Sequence[str] = ()) -> FaceDataModule:
    """Return a data module.

    Args:
        section: Settings of the data, or the file that holds them.
        settings: Further settings as arguments, such as ``--data.seed=1``.

    Raises:
        DataError: If they describe no data module.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FaceDataModule, "data")
    text = str(section) if isinstance(section, Path) else json.dumps(section)
    try:
        arguments = parser.parse_args([f"--data={text}", *settings])
    except Exception as error:  # jsonargparse raises errors of several kinds.
        raise DataError(f"The settings describe no data: {error}") from error
    data: FaceDataModule = parser.instantiate(arguments).data
    return data
