"""Refuse a table in which people are who were erased by a store of erasure requests (``gli erase``)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gli.errors import DataError
from gli.system.digest import file_hash, person_hash
from gli.system.files import read_text

LEDGER, KEY = "ledger.jsonl", "key"


def is_store(folder: str) -> bool:
    """Return whether a path is the folder of a store of erasure requests."""
    # Unlike Path.is_file, it is False for a path that is too long or holds a NUL character.
    return all(os.path.isfile(os.path.join(folder, name)) for name in (LEDGER, KEY))


def refuse_erased(store: Path, identities: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_]) -> None:
    """Refuse rows of people, or of files, whose keyed hash is in the ledger of a store.

    Args:
        store: Folder of the store.
        identities: Name of the person of each row.
        digests: Content hash of each row.

    Raises:
        DataError: With the request that erased the first of them, and the row; or if the store cannot be read.
    """
    try:
        key = bytes.fromhex(read_text(store / KEY).strip())
        entries = [json.loads(line) for line in read_text(store / LEDGER).splitlines() if line.endswith("}")]
        erased = [entry for entry in entries if entry["kind"] == "erased"]
        requests = {each: entry["request"] for entry in erased for each in (*entry["people"], *entry["files"])}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{store}: its key or its ledger is damaged ({error}). Restore them from a backup.") from error
    people = {str(name): person_hash(key, str(name)) for name in np.unique(identities)}
    for row, (name, digest) in enumerate(zip(identities.tolist(), digests.tolist(), strict=True)):
        request = requests.get(people[name]) or requests.get(file_hash(key, digest.decode()))
        if request is not None:
            raise DataError(
                f"Row {row + 1} of the table shows somebody who was erased by request {request} ({store}). Remove the "
                "row and its photograph."
            )
