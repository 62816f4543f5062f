"""The random split by identity: households are shuffled by a seed, and fill the sets up to their shares.

Published numbers and the drawn faces use it. The sets of all people depend on the whole table: see
:mod:`gli.data.stable_split` for tables whose rows come and go.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gli.data.splits import Rows, identity_split


def shuffled_split(
    groups: Rows,
    shares: Mapping[str, float],
    seed: int,
    *,
    forget: Rows | None = None,
    held_out: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Rows]:
    """Assign whole identity groups to sets at random.

    Args:
        groups: Group number of each row.
        shares: Shares of ``test`` and ``unseen`` of all rows, and of ``forget`` of the training rows.
        seed: Seed of the shuffle.
        forget: Rows to forget; the other training rows are retained. None to choose them at random.
        held_out: Whether each row shows a person on whom the model was never trained; these rows alone are assigned
            to ``test`` and ``unseen``, except those in a group with others, which are in no set. None if nobody is
            declared.

    Returns:
        Row numbers of each set, ascending.
    """
    test, unseen = shares["test"], shares["unseen"]
    if held_out is None:
        of_all = {"unseen": unseen, "test": test, "forget": shares["forget"] * (1 - test - unseen)}
        if forget is None:
            return identity_split(groups, of_all, "retain", seed)
        # The household of a person to forget is in the training set; only other households can be test or unseen.
        trained = np.isin(groups, groups[forget])
        others = np.flatnonzero(~trained)
        scale = len(groups) / max(1, len(others))
        scaled = {name: min(1.0, share * scale) for name, share in of_all.items() if name != "forget"}
        positions = identity_split(groups[others], scaled, "retain", seed)
        splits = {name: others[rows] for name, rows in positions.items()}
        retain = np.setdiff1d(np.union1d(splits["retain"], np.flatnonzero(trained)), forget)
        return {**splits, "retain": retain, "forget": forget}
    train = np.flatnonzero(~held_out)
    free = np.flatnonzero(held_out & ~np.isin(groups, groups[train]))
    share = unseen / (test + unseen) if test + unseen else 0.0
    positions = identity_split(groups[free], {"unseen": share}, "test", seed)
    splits = {name: free[rows] for name, rows in positions.items()}
    if forget is not None:
        return {**splits, "retain": np.setdiff1d(train, forget), "forget": forget}
    positions = identity_split(groups[train], {"forget": shares["forget"]}, "retain", seed)
    return splits | {name: train[rows] for name, rows in positions.items()}
