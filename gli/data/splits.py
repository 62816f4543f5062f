"""Who goes where: splits are sets of identity groups first and of images second. Pure functions on arrays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gli.errors import SettingError, did_you_mean

Rows = npt.NDArray[np.int64]
SPLITS = ("retain", "forget", "test", "unseen")


def identity_groups(*columns: npt.NDArray) -> Rows:
    """Group numbers such that rows that share a value in any column are in one group, also by way of third rows.

    MUFAC lists many a household under two family numbers, with the very same files: joining over the identity and the
    content hash of the image makes such a household one group.

    Args:
        columns: Arrays of one length ``n``, for example identities and content hashes.

    Returns:
        Group numbers of shape ``(n,)``.
    """
    rows = np.arange(len(columns[0]))
    links = []
    nodes = len(rows)
    for column in columns:
        _, values = np.unique(column, return_inverse=True)
        links.append(np.stack([rows, nodes + values.ravel()]))
        nodes += int(values.max(initial=-1)) + 1
    ends = np.concatenate(links, axis=1)
    graph = coo_matrix((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(nodes, nodes))
    _, groups = connected_components(graph, directed=False)
    return groups[: len(rows)].astype(np.int64)


def identity_split(groups: Rows, shares: Mapping[str, float], rest: str, seed: int) -> dict[str, Rows]:
    """Deal whole identity groups out at random until every split has about its share of the images.

    Args:
        groups: Group number of each row.
        shares: Share of all rows for each split but one, in the order in which they are filled.
        rest: Name of the split that takes all remaining groups.
        seed: Seed of the dealing.

    Returns:
        Row numbers of each split, ascending. A split takes a group only if that brings it nearer to its share, and at
        least one group where its share is above zero and enough groups are left.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    left = list(np.random.default_rng(seed).permutation(len(sizes)))
    result = {}
    for name, share in shares.items():
        target, filled = share * len(groups), 0
        taken: list[int] = []
        passed: list[int] = []
        for group in left:
            if abs(filled + sizes[group] - target) < abs(filled - target):
                taken.append(group)
                filled += int(sizes[group])
            else:
                passed.append(group)
        if not taken and share > 0 and passed:
            smallest = min(passed, key=lambda group: int(sizes[group]))
            passed.remove(smallest)
            taken = [smallest]
        result[name] = np.flatnonzero(np.isin(numbers, taken)).astype(np.int64)
        left = passed
    result[rest] = np.flatnonzero(np.isin(numbers, left)).astype(np.int64)
    return result


def rows_of_identities(
    wanted: Sequence[str], identities: npt.NDArray[np.str_], households: npt.NDArray[np.str_]
) -> Rows:
    """Rows of the people named, by identity or by household.

    Raises:
        SettingError: If nobody is named, or a name is nobody's.
    """
    if not wanted:
        raise SettingError("forget_identities names nobody. List at least one person, or leave the setting out.")
    known = set(identities.tolist()) | set(households.tolist())
    for name in wanted:
        if name not in known:
            raise SettingError(
                f"forget_identities names {str(name)!r}, who is not in the table.{did_you_mean(name, known)} "
                f"Identities look like {str(identities[0])!r}."
            )
    return np.flatnonzero(np.isin(identities, wanted) | np.isin(households, wanted)).astype(np.int64)


def without_repeats(splits: Mapping[str, Rows], digests: npt.NDArray) -> dict[str, Rows]:
    """The splits with every file that is repeated inside a split kept once, the first time it comes."""
    result = {}
    for name, rows in splits.items():
        _, first = np.unique(digests[rows], return_index=True)
        result[name] = rows[np.sort(first)]
    return result


def crossings(splits: Mapping[str, Rows], keys: npt.NDArray) -> dict[tuple[str, str], list]:
    """Values of ``keys`` (identities or content hashes) that occur in two splits, for each pair of splits that shares any."""
    found = {name: set(keys[rows].tolist()) for name, rows in splits.items()}
    shared = {pair: sorted(found[pair[0]] & found[pair[1]]) for pair in combinations(splits, 2)}
    return {pair: values for pair, values in shared.items() if values}


def check_filled(splits: Mapping[str, Rows], hints: Mapping[str, str]) -> None:
    """Refuse splits with an empty set.

    Raises:
        SettingError: Naming the first empty set and what to do about it.
    """
    for name in SPLITS:
        if not len(splits[name]):
            raise SettingError(
                f"The {name} set is empty. {hints.get(name, 'The table has too few people for this split.')}"
            )


def check_disjoint(splits: Mapping[str, Rows], identities: npt.NDArray[np.str_], digests: npt.NDArray) -> list[str]:
    """One line for each pair of splits that share a person or an identical file, with how many and, for people, who."""
    lines = []
    for what, keys in (("people", identities), ("identical files", digests)):
        for (one, other), shared in crossings(splits, keys).items():
            who = (
                f" ({', '.join(map(str, shared[:3]))}{', ...' if len(shared) > 3 else ''})" if what == "people" else ""
            )
            lines.append(f"{one} and {other} share {len(shared)} {what}{who}")
    return lines


def named(text: Iterable[str], known: Collection[str] = ()) -> list[str]:
    """Names from the lines of a text: one a line, blank lines and ``#`` comments left out.

    A ``#`` that follows another character than a space, or that a ``known`` name has, is part of the name: cut off there,
    it might be somebody else's.
    """
    whole = (line.strip() for line in text)
    lines = (line if line in known else re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in whole)
    return [line for line in lines if line]
