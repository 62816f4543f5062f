"""A split in which everybody keeps their set when other people come and go: a keyed hash of the household decides.

A shuffle of the table moves people between sets whenever a row is added or removed, so that people on whom a model was
trained would be test and unseen people of the next run. Here the set of a household depends on its name, the seed and
the shares alone.

Households that share an identical file are probably the same people under two names. Where their sets differ, those
with the set of lower rank are left out: in no set, rather than moved. The ranks are forget, retain, test, unseen.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from gli.data.splits import identity_groups

Rows = npt.NDArray[np.int64]
#: Sets from the highest rank to the lowest: an image that a model is trained on is never a test or unseen image.
RANKS = ("forget", "retain", "test", "unseen")


def hash_position(name: str, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on a name, a seed and a purpose alone: a keyed BLAKE2b hash.

    Args:
        name: Name of a household.
        seed: The key.
        purpose: Positions for different purposes are independent; at most 16 bytes.
    """
    state = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode(), person=purpose.encode()
    )
    return (int.from_bytes(state.digest(), "big") >> 11) / 2**53


def household_set(
    name: str, shares: dict[str, float], seed: int, *, held_out: bool = False, declared: bool = False
) -> str:
    """Return the set of a household: ``retain``, ``forget``, ``test`` or ``unseen``.

    A larger share of a set adds households to it and takes none away.

    Args:
        name: Name of the household.
        shares: Shares of ``test`` and ``unseen`` of all households, and of ``forget`` of the training households.
        seed: Seed of the split.
        held_out: Whether the household is declared as never trained on.
        declared: Whether such households are declared at all; then all others are training households.
    """
    position = hash_position(name, seed, "gli split")
    if declared:
        test_or_unseen = shares["test"] + shares["unseen"]
        if held_out:
            return "unseen" if position * test_or_unseen < shares["unseen"] else "test"
    elif position < shares["unseen"]:
        return "unseen"
    elif position >= 1 - shares["test"]:
        return "test"
    return "forget" if hash_position(name, seed, "gli forget") < shares["forget"] else "retain"


def stable_split(
    households: npt.NDArray[np.str_],
    digests: npt.NDArray[np.bytes_],
    shares: dict[str, float],
    seed: int,
    *,
    forget: Rows | None = None,
    held_out: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Rows]:
    """Assign households to sets by a keyed hash, so that nobody changes sets when rows are added or removed.

    Args:
        households: Household of each row.
        digests: Content hash of each row.
        shares: See :func:`household_set`.
        seed: Seed of the split.
        forget: Rows to forget; the other training rows are retained. None to choose them by hash.
        held_out: Whether each row shows a person on whom the model was never trained; these rows alone are assigned
            to ``test`` and ``unseen``. None if nobody is declared.

    Returns:
        Row numbers of each set, ascending. Rows of households that are left out are in none.
    """
    if forget is not None:
        shares = {**shares, "forget": 0.0}
    names, inverse = np.unique(households, return_inverse=True)

    def ranks_if(held: bool) -> Rows:
        """Return the rank of each household, where its people are declared as held out or not."""
        declared = held_out is not None
        sets = (household_set(str(name), shares, seed, held_out=held, declared=declared) for name in names)
        return np.array([RANKS.index(name) for name in sets], dtype=np.int64)[inverse.ravel()]

    ranks = ranks_if(held=False) if held_out is None else np.where(held_out, ranks_if(held=True), ranks_if(held=False))
    if forget is not None:
        ranks[forget] = RANKS.index("forget")
    groups = identity_groups(households, digests)
    highest = np.full(groups.max(initial=-1) + 1, len(RANKS), dtype=np.int64)
    np.minimum.at(highest, groups, ranks)
    kept = ranks == highest[groups]
    if forget is not None:
        # Those who are retained beside a forgotten member of their household, or an identical file, stay trained on.
        kept |= (ranks == RANKS.index("retain")) & (highest[groups] == RANKS.index("forget"))
    return {name: np.flatnonzero(kept & (ranks == rank)).astype(np.int64) for rank, name in enumerate(RANKS)}
