"""Who a model was trained on: content hashes of its training images, which travel in its checkpoint.

Without them, nobody can say whether the unseen people of an audit are really unseen by a model that came as a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gli.errors import CheckpointError
from gli.models.checkpoints import read_checkpoint
from gli.system.digest import DIGEST_BYTES
from gli.system.files import atomic_write

Digests = npt.NDArray[np.bytes_]
#: Key of a checkpoint: uint8 of shape ``(images, 16)``, one content hash a row.
TRAINING_IMAGES = "training_images"


def pack(digests: Digests) -> Tensor:
    """Return content hashes (hexadecimal) as a tensor for a checkpoint: sorted, each once."""
    text = b"".join(np.unique(digests).tolist()).decode()
    return torch.frombuffer(bytearray(bytes.fromhex(text)), dtype=torch.uint8).reshape(-1, DIGEST_BYTES)


def unpack(contents: Mapping[str, Any], path: str | Path) -> Digests | None:
    """Return the content hashes in a checkpoint, sorted; None if not recorded, CheckpointError if damaged."""
    packed = contents.get(TRAINING_IMAGES)
    if packed is None:
        return None
    plain = isinstance(packed, Tensor) and packed.layout is torch.strided and packed.dtype == torch.uint8
    if not plain or packed.ndim != 2 or packed.shape[1] != DIGEST_BYTES or not len(packed):
        raise CheckpointError(f"{path}: its record of training images is damaged. Ask its owner for another copy.")
    return np.unique(np.array([row.hex() for row in map(bytes, packed.numpy())], dtype=f"S{2 * DIGEST_BYTES}"))


def read_training_images(path: str | Path) -> Digests | None:
    """Return the hashes of the images that a checkpoint's model was trained on; see :func:`unpack`."""
    return unpack(read_checkpoint(path), path)


def drop_training_images(path: Path, digests: Digests) -> int:
    """Rewrite a checkpoint without some images in its record; return how many were in it.

    For models from which people were erased: no hash of their photographs may stay. The file does not change if it
    has none of them.

    Raises:
        CheckpointError: If the file cannot be read, or the record is damaged.
    """
    contents = read_checkpoint(path)
    recorded = unpack(contents, path)
    if recorded is None:
        return 0
    remaining = recorded[~np.isin(recorded, digests)]
    if len(remaining) == len(recorded):
        return 0
    contents[TRAINING_IMAGES] = pack(remaining)
    if not len(remaining):
        del contents[TRAINING_IMAGES]
    with atomic_write(path) as temporary:
        torch.save(contents, temporary)
    return len(recorded) - len(remaining)
