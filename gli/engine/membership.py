"""Judge whether the test and unseen people of a run are people on whom its original was never trained.

Unseen people on whom the model was trained are members: the membership inference attack then compares members with
members, and an accuracy near 0.5 means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gli.data import FaceDataModule
from gli.errors import SettingError
from gli.methods.base import Method
from gli.models.training_images import read_training_images
from gli.runs.membership import Membership

Digests = npt.NDArray[np.bytes_]
#: Sets of people on whom the original must not have been trained.
NEVER_TRAINED_ON = ("test", "unseen")


def judge_membership(method: Method, data: FaceDataModule) -> Membership:
    """Return how a run knows who its original was trained on; call before the original is found or trained.

    Raises:
        SettingError: If people are declared as never trained on, but the original's file records their images; or if
            the original was, or may have been, trained on test and unseen people of a rehearsal.
        CheckpointError: If the original's file cannot be read.
    """
    if not method.needs_original or method.original is None:
        return Membership("trained here", rehearsal=bool(data.rehearsal))
    recorded = read_training_images(method.original)
    data.setup()
    if data.rehearsal is True:
        require_rehearsal_original(recorded, data.splits, data.digests, method.original)
    held_out = None if data.held_out is None else data.is_held_out
    membership = compare_membership(
        recorded, held_out, data.splits, data.digests, data.identities, original=method.original
    )
    return replace(membership, rehearsal=bool(data.rehearsal))


def require_rehearsal_original(
    recorded: Digests | None, splits: Mapping[str, npt.NDArray[np.int64]], digests: Digests, original: str
) -> None:
    """Refuse a given original for a rehearsal whose test and unseen people are retained people of the ordinary split.

    Raises SettingError if it was trained on test or unseen people, or if that is not known: ``recorded`` are the
    content hashes of its training images, or None.
    """
    rows = np.concatenate([splits[name] for name in NEVER_TRAINED_ON])
    if recorded is None or np.isin(digests[rows], recorded).any():
        verb = "may have been" if recorded is None else "was"
        raise SettingError(
            f"{original} {verb} trained on people whom this rehearsal takes as test and unseen people. Set "
            "data.rehearsal to reference, and data.reference_share, so that they are people whom no model was trained "
            "on; or leave --model.original out, and an original is trained for the rehearsal."
        )


def compare_membership(
    recorded: Digests | None,
    held_out: npt.NDArray[np.bool_] | None,
    splits: Mapping[str, npt.NDArray[np.int64]],
    digests: Digests,
    identities: npt.NDArray[np.str_],
    original: str = "the original",
) -> Membership:
    """Return how it is known who a model was trained on, and what contradicts the sets of a run.

    ``recorded``, the content hashes of its training images, is None if they are not known; ``held_out``, whether each
    row shows a person declared as never trained on, is None if nobody is.

    Raises:
        SettingError: If a person is declared as never trained on, but the record has one of their images.
    """
    if recorded is None and held_out is None:
        reason = (
            f"it is not known on whom {original} was trained, because the file holds no record of its training images "
            "and data.held_out declares nobody as never trained on"
        )
        return Membership("unknown", (reason,))
    reasons = []
    if recorded is not None:
        trained = np.isin(digests, recorded)
        if held_out is not None and (trained & held_out).any():
            names = sorted(set(identities[trained & held_out].tolist()))
            raise SettingError(
                f"data.held_out declares {names[0]!r} as never trained on, but images of {len(names)} such people are "
                f"among the training images of {original}. Remove them from the declaration."
            )
        # Files in two sets of a published split have their own warning; every original of that split has them.
        in_training = np.isin(digests, digests[np.concatenate([splits["retain"], splits["forget"]])])
        for name in NEVER_TRAINED_ON:
            count = int((trained & ~in_training)[splits[name]].sum())
            if count:
                reasons.append(f"{count} {name} images are among the training images of {original}")
        forget = splits["forget"]
        strangers = set(identities[forget].tolist()) - set(identities[forget[trained[forget]]].tolist())
        if strangers:
            reasons.append(f"no image of {len(strangers)} forget people is among the training images of {original}")
    if held_out is not None:
        for name in NEVER_TRAINED_ON:
            undeclared = splits[name][~held_out[splits[name]]]
            if len(undeclared):
                people = len(set(identities[undeclared].tolist()))
                reasons.append(f"{people} {name} people are not declared in data.held_out")
    return Membership("recorded" if recorded is not None else "declared", tuple(reasons))
