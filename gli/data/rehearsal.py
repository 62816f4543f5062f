"""A rehearsal: the retained people alone are assigned to all sets again, so that settings are chosen on other people.

Settings that were chosen on the people who are reported later make the report too favourable. In a rehearsal the
forget, test and unseen people of the ordinary split take no part at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gli.data.splits import Rows, identity_split

#: Sets of people who are reported.
REPORTED = ("forget", "test", "unseen")


def _without_groups(rows: Rows, groups: Rows, others: list[Rows]) -> Rows:
    """Return the rows that share no group with any of the others.

    A published split may divide a household, or have identical files in several sets.
    """
    return rows[~np.isin(groups[rows], groups[np.concatenate(others)])]


def _forget_share(splits: Mapping[str, Rows]) -> float:
    return len(splits["forget"]) / (len(splits["forget"]) + len(splits["retain"]))


def rehearse(splits: Mapping[str, Rows], groups: Rows, seed: int) -> dict[str, Rows]:
    """Assign the retained people to all four sets, with the shares of the ordinary split.

    The original of such a rehearsal is trained on its own retain and forget people.

    Args:
        splits: Row numbers of the four sets of the ordinary split, and of ``reference`` if people were set aside.
        groups: Group number of each row of the table.
        seed: Seed of the assignment.

    Returns:
        Row numbers of the four sets, ascending, whole groups in one set. Reference people are not taken out of ``test``
        yet, but counted to it.
    """
    everybody = sum(len(rows) for rows in splits.values())
    unseen = len(splits["unseen"]) / everybody
    test = (len(splits["test"]) + len(splits.get("reference", ()))) / everybody
    shares = {"unseen": unseen, "test": test, "forget": _forget_share(splits) * (1 - test - unseen)}
    people = _without_groups(splits["retain"], groups, [rows for name, rows in splits.items() if name != "retain"])
    return {name: people[rows] for name, rows in identity_split(groups[people], shares, "retain", seed).items()}


def rehearse_with_reference(splits: Mapping[str, Rows], groups: Rows, seed: int) -> dict[str, Rows]:
    """Assign retained people to ``forget`` and ``retain``, and reference people to ``test`` and ``unseen``.

    Reference people were never trained on, so this is the rehearsal for an original that was trained on all retained
    people.

    Args:
        splits: Row numbers of the four sets of the ordinary split, and of ``reference``.
        groups: Group number of each row of the table.
        seed: Seed of the assignment.

    Returns:
        Row numbers of the four sets, ascending, whole groups in one set.
    """
    reported = [splits[name] for name in REPORTED]
    trained = _without_groups(splits["retain"], groups, [*reported, splits["reference"]])
    never = _without_groups(splits["reference"], groups, reported)
    test, unseen = len(splits["test"]), len(splits["unseen"])
    forget = identity_split(groups[trained], {"forget": _forget_share(splits)}, "retain", seed)
    never_sets = identity_split(groups[never], {"unseen": unseen / (test + unseen)}, "test", seed)
    return {
        **{name: trained[rows] for name, rows in forget.items()},
        **{name: never[rows] for name, rows in never_sets.items()},
    }
