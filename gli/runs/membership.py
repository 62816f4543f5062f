"""What a run knew of the people whom its original model was trained on, in ``membership.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gli.errors import DataError
from gli.system.files import write_json

MEMBERSHIP = "membership.json"


@dataclass(frozen=True)
class Membership:
    """How a run knows who was trained on, and why its privacy scores mean nothing, if so."""

    #: ``trained here`` (gli trained the original on the training set of this run), ``recorded`` (the original's file
    #: holds the hashes of its training images), ``declared`` (``data.held_out``), or ``unknown``.
    known: str
    reasons: tuple[str, ...] = ()  # Why the privacy scores mean nothing; empty if they can be used.
    #: Whether the run is a rehearsal (``data.rehearsal``), in which nobody takes part who is reported.
    rehearsal: bool = False

    @property
    def warning(self) -> str:
        """One line that the privacy scores mean nothing, and why; empty if they can be used."""
        if not self.reasons:
            return ""
        return f"The privacy scores of this run mean nothing: {'; '.join(self.reasons)}."


def write_membership(folder: Path, membership: Membership) -> None:
    """Write the file into the folder of a run."""
    write_json(folder / MEMBERSHIP, asdict(membership))


def read_membership(folder: Path) -> Membership | None:
    """Return what a run knew; None for a run of an earlier version, which has no such file.

    Raises:
        DataError: If the file is damaged.
    """
    path = folder / MEMBERSHIP
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        known, reasons, rehearsal = contents["known"], contents["reasons"], contents.get("rehearsal", False)
        if (
            not isinstance(known, str)
            or not isinstance(rehearsal, bool)
            or not all(isinstance(reason, str) for reason in reasons)
        ):
            raise ValueError("a value of an unexpected type")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Repeat the run to write it again.") from error
    return Membership(known, tuple(reasons), rehearsal)


def require_meaningful(folder: Path) -> None:
    """Refuse a run whose privacy scores mean nothing, by a DataError with the reason."""
    membership = read_membership(folder)
    if membership is not None and membership.reasons:
        raise DataError(
            f"{folder}: cannot be audited, because its privacy scores mean nothing: {'; '.join(membership.reasons)}."
        )
