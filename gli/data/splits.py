"""Splits of a face table: pure functions on arrays that assign whole identity groups to sets, and so their images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gli.errors import SettingError, did_you_mean

Rows = npt.NDArray[np.int64]
SPLITS = ("retain", "forget", "test", "unseen")


def identity_groups(*columns: npt.NDArray[Any]) -> Rows:
    """Return the connected components of the rows, where two rows are connected if they share a value in any column.

    MUFAC lists many households under two family numbers, with identical files. Grouping by household and by content
    hash makes each such household one group.

    Args:
        columns: Arrays of shape ``(n,)``, for example identities and content hashes.

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
    return np.asarray(groups[: len(rows)], dtype=np.int64)


def identity_split(groups: Rows, shares: Mapping[str, float], rest: str, seed: int) -> dict[str, Rows]:
    """Assign whole identity groups to splits at random, so that each split has about its share of the images.

    Args:
        groups: Group number of each row.
        shares: Share of all rows of each split except one, in the order in which the splits are filled.
        rest: Name of the split that takes all remaining groups.
        seed: Seed of the assignment.

    Returns:
        Row numbers of each split, ascending. A split takes a group only if this brings its size nearer to its share.
        If its share is above zero and groups remain, it takes at least one.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    remaining = list(np.random.default_rng(seed).permutation(len(sizes)))
    splits = {}
    for name, share in shares.items():
        target, size = share * len(groups), 0
        taken: list[int] = []
        skipped: list[int] = []
        for group in remaining:
            if abs(size + sizes[group] - target) < abs(size - target):
                taken.append(group)
                size += int(sizes[group])
            else:
                skipped.append(group)
        if not taken and share > 0 and skipped:
            smallest = min(skipped, key=lambda group: int(sizes[group]))
            skipped.remove(smallest)
            taken = [smallest]
        splits[name] = np.flatnonzero(np.isin(numbers, taken)).astype(np.int64)
        remaining = skipped
    splits[rest] = np.flatnonzero(np.isin(numbers, remaining)).astype(np.int64)
    return splits


def rows_of_identities(
    names: Sequence[str],
    identities: npt.NDArray[np.str_],
    households: npt.NDArray[np.str_],
    setting: str = "forget_identities",
) -> Rows:
    """Return the rows of people, ascending.

    Args:
        names: Names of identities or of households.
        identities: Identity of each row.
        households: Household of each row.
        setting: Setting that names the people, for messages.

    Raises:
        SettingError: If there are no names, or a name is neither an identity nor a household.
    """
    if not names:
        raise SettingError(f"{setting} names nobody. List at least one person, or leave the setting out.")
    known = set(identities.tolist()) | set(households.tolist())
    for name in names:
        if name not in known:
            raise SettingError(
                f"{setting} names {str(name)!r}, who is not in the table.{did_you_mean(name, known)} "
                f"Identities look like {str(identities[0])!r}."
            )
    return np.flatnonzero(np.isin(identities, names) | np.isin(households, names)).astype(np.int64)


def drop_duplicates(splits: Mapping[str, Rows], digests: npt.NDArray[np.bytes_]) -> dict[str, Rows]:
    """Return the splits with only the first row of each file in each split; ``digests`` is one content hash per row."""
    kept = {}
    for name, rows in splits.items():
        _, first = np.unique(digests[rows], return_index=True)
        kept[name] = rows[np.sort(first)]
    return kept


def find_overlaps(splits: Mapping[str, Rows], keys: npt.NDArray[Any]) -> dict[tuple[str, str], list[Any]]:
    """Return, for each pair of splits that overlap, the sorted values of ``keys`` that occur in both.

    Args:
        splits: Row numbers of each split.
        keys: Identity or content hash of each row.
    """
    values = {name: set(keys[rows].tolist()) for name, rows in splits.items()}
    shared = {pair: sorted(values[pair[0]] & values[pair[1]]) for pair in combinations(splits, 2)}
    return {pair: overlap for pair, overlap in shared.items() if overlap}


def check_not_empty(splits: Mapping[str, Rows], hints: Mapping[str, str]) -> None:
    """Check that no split is empty.

    Args:
        splits: Row numbers of each split.
        hints: What the user can do if a split is empty, by its name.

    Raises:
        SettingError: If a split is empty. The message names the first one and gives its hint.
    """
    for name in SPLITS:
        if not len(splits[name]):
            raise SettingError(
                f"The {name} set is empty. {hints.get(name, 'The table has too few people for this split.')}"
            )


def check_disjoint(
    splits: Mapping[str, Rows], identities: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_]
) -> list[str]:
    """Return one line per pair of splits that share people, and one per pair that share identical files.

    A line gives the number of people or files, and the names of up to three people.

    Args:
        splits: Row numbers of each split.
        identities: Identity of each row.
        digests: Content hash of each row.
    """
    lines = []
    for kind, keys in (("people", identities), ("identical files", digests)):
        for (first, second), shared in find_overlaps(splits, keys).items():
            names = f" ({', '.join(map(str, shared[:3]))}{', ...' if len(shared) > 3 else ''})"
            lines.append(f"{first} and {second} share {len(shared)} {kind}{names if kind == 'people' else ''}")
    return lines


def parse_names(lines: Iterable[str], known: Collection[str] = ()) -> list[str]:
    """Return the names in the lines of a text: one per line, without blank lines and ``#`` comments.

    A ``#`` starts a comment only at the start of a line or after a space, and never in a line that is a ``known`` name:
    the part before the ``#`` could be the name of another person.
    """
    stripped = (line.strip() for line in lines)
    names = (line if line in known else re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in stripped)
    return [name for name in names if name]
