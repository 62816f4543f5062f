"""Who is in which set: :func:`split_plan`, a pure function from the columns of a face table and settings to rows.

People are assigned in this order:

1. by ``assignment``, by the split that comes with the table (``published``, ``given``), or by household: a shuffle
   (``identity``) or a keyed hash of the household's name (``stable``);
2. ``forget_identities`` replaces the forget set, ``held_out`` limits the test and unseen sets, ``erased`` people leave;
3. the sets are checked, and lose duplicates (``deduplicate``);
4. some test people become ``reference``, and a ``rehearsal`` assigns the retained people once more.

A shuffle of the table moves people between sets whenever a row is added or removed, so that people on whom a model was
trained would be test and unseen people of the next run. With the hash, the set of a household depends on its name, the
seed and the shares alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gli.errors import SettingError, did_you_mean
from gli.system.digest import folded_name

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Sets = dict[str, Rows]
Split = Literal["published", "identity", "stable", "given"]
Rehearsal = bool | Literal["reference"]
SPLITS = ("retain", "forget", "test", "unseen")
#: Sets of people who are reported; they take no part in a rehearsal.
REPORTED = ("forget", "test", "unseen")
#: Ranks of the stable split, the highest first: an image that a model is trained on is never a test or unseen image.
RANKS = ("forget", "retain", "test", "unseen")
#: Warn the user if an attack that always answers 'unseen' has a higher accuracy than this.
MAX_CONSTANT_ACCURACY = 0.55


@dataclass(frozen=True)
class SplitTable:
    """The columns of a face table that decide who is in which set."""

    identities: npt.NDArray[np.str_]  # Name of the person on each row.
    households: npt.NDArray[np.str_]  # Household of each row, which a random split does not divide.
    digests: npt.NDArray[np.bytes_]  # Content hash of each row.
    #: Row numbers of each set of the split that comes with the table; None without one.
    published: Mapping[str, Rows] | None = None
    name: str = "the published split"  # Name of that split in messages.

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of all people and households."""
        return frozenset((*self.identities.tolist(), *self.households.tolist()))

    @cached_property
    def groups(self) -> Rows:
        """Group of each row: households that share an identical file are one group."""
        return identity_groups(self.households, self.digests)


@dataclass(frozen=True)
class SplitSettings:
    """Settings of a split, as in :class:`~gli.data.datamodule.FaceDataModule`, with all files read."""

    split: Split = "identity"
    forget_identities: Sequence[str] | None = None
    assignment: Mapping[str, str] | None = None
    held_out: Sequence[str] | None = None
    erased: Sequence[str] = ()
    forget_share: float = 0.15
    test_share: float = 0.12
    unseen_share: float = 0.12
    reference_share: float | None = None
    rehearsal: Rehearsal = False
    split_seed: int = 0
    deduplicate: bool = False


def split_plan(table: SplitTable, settings: SplitSettings) -> tuple[Sets, list[str]]:
    """Assign people to sets.

    Args:
        table: The columns of the face table.
        settings: The settings.

    Returns:
        Row numbers of ``retain``, ``forget``, ``test``, ``unseen`` and, if people are set aside, ``reference``, each
        ascending; and warnings for the user.

    Raises:
        SettingError: If a setting is out of range or names unknown people, a set is empty, or people or identical files
            are in two sets of a split that is not ``published``.
    """
    warnings: list[str] = []
    if settings.assignment is not None:
        assigned = np.array([settings.assignment.get(name, "") for name in table.identities.tolist()])
        sets = {name: np.flatnonzero(assigned == name).astype(np.int64) for name in SPLITS}
    else:
        forget = None if settings.forget_identities is None else _rows_to_forget(table, settings, warnings)
        by_household = settings.split in ("identity", "stable")
        assign = _split_by_household if by_household else _published_split
        sets = assign(table, settings, forget, warnings)
    sets = _without_erased(sets, table, settings, warnings)
    _check_not_empty(sets, _hints(settings))
    overlaps = describe_overlaps(sets, table.identities, table.digests)
    if overlaps and settings.split != "published":
        raise SettingError(
            f"The same people or files are in two sets: {'; '.join(overlaps)}. Put each person in one set, or set "
            "data.split to 'identity' to draw a disjoint split."
        )
    if overlaps:
        warnings.append(f"{table.name} is not disjoint: {'; '.join(overlaps)}")
    if settings.deduplicate:
        sets = {name: _first_of_each_file(rows, table.digests) for name, rows in sets.items()}
    if settings.reference_share is not None:
        sets = _with_reference(sets, table, settings.reference_share, settings.split_seed)
    if settings.rehearsal:
        sets = _rehearsal(sets, table, settings)
    counts = {name: len(sets[name]) for name in ("forget", "unseen")}
    constant_accuracy = counts["unseen"] / sum(counts.values())
    if constant_accuracy > MAX_CONSTANT_ACCURACY:
        warnings.append(
            f"there are {counts['forget']} forget images and {counts['unseen']} unseen ones: an attack that always "
            f"answers 'unseen' is right for {100 * constant_accuracy:.0f} % of them. Compare the MIA accuracy, the "
            "forgetting score and the final score with those of a retrained model, or lower data.unseen_share."
        )
    return sets, warnings


# -- groups and shares -------------------------------------------------------------------------------------------------


def identity_groups(*columns: npt.NDArray[Any]) -> Rows:
    """Return the connected components of the rows, where two rows are connected if they share a value in any column.

    Columns, such as identities and content hashes, and group numbers have shape ``(n,)``. MUFAC lists many households
    under two family numbers, with identical files. Grouping by household and by content hash makes each such household
    one group.
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


def assign_groups(groups: Rows, shares: Mapping[str, float], rest: str, seed: int, rows: Rows | None = None) -> Sets:
    """Assign whole groups to sets at random, so that each set has about its share of the images; return ascending rows.

    The sets are filled in the order of ``shares``, and ``rest`` takes all remaining groups. A set takes a group only if
    this brings its size nearer to its share of ``rows`` (all by default). If its share is above zero and groups remain,
    it takes at least one.
    """
    rows = np.arange(len(groups), dtype=np.int64) if rows is None else rows
    _, numbers, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
    remaining = list(np.random.default_rng(seed).permutation(len(sizes)))
    sets = {}
    for name, share in shares.items():
        target, size = share * len(rows), 0
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
        sets[name] = rows[np.isin(numbers, taken)]
        remaining = skipped
    return sets | {rest: rows[np.isin(numbers, remaining)]}


# -- the ordinary sets -------------------------------------------------------------------------------------------------


def _published_split(table: SplitTable, settings: SplitSettings, forget: Rows | None, warnings: list[str]) -> Sets:
    """Return the sets of the split that comes with the table; people to forget must be in its training set."""
    if table.published is None:
        raise SettingError(f"data.split is {settings.split!r}, but the data set comes with no split. Use 'identity'.")
    sets = {name: np.asarray(rows, dtype=np.int64) for name, rows in table.published.items()}
    if forget is None:
        return sets
    train = np.union1d(sets["retain"], sets["forget"])
    outside = np.setdiff1d(forget, train)
    if len(outside):
        name = _requested_name(table, settings, outside[0])
        raise SettingError(
            f"forget_identities names {name!r}, who is not (only) in the training images of split={settings.split!r}, "
            "or shares an identical file with a person who is not. A model can only forget images that it was trained "
            "on. Remove the name."
        )
    return sets | {"retain": np.setdiff1d(train, forget), "forget": forget}


def _split_by_household(table: SplitTable, settings: SplitSettings, forget: Rows | None, warnings: list[str]) -> Sets:
    """Assign whole households to the sets; people to forget are always in the training set."""
    shares = {name: float(getattr(settings, f"{name}_share")) for name in ("test", "unseen", "forget")}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise SettingError(f"data.{name}_share is {share:g}; it must lie in [0, 1).")
    if 1 - shares["test"] - shares["unseen"] <= 0:
        raise SettingError(
            f"data.test_share {shares['test']:g} and data.unseen_share {shares['unseen']:g} leave no images for "
            "training; lower them."
        )
    held_out = None if settings.held_out is None else held_out_mask(table, settings.held_out)
    if held_out is not None and forget is not None and held_out[forget].any():
        name = _requested_name(table, settings, forget[held_out[forget]][0])
        raise SettingError(
            f"forget_identities names {name!r}, who is declared in data.held_out as never trained on, or shares an "
            "identical file with such a person. Remove the name from one of them."
        )
    if settings.split == "stable":
        sets = _hashed_split(table, shares, settings.split_seed, forget, held_out)
    else:
        sets = _shuffled_split(table.groups, shares, settings.split_seed, forget, held_out)
    left_out = sorted(set(table.identities) - set(table.identities[np.concatenate(list(sets.values()))]))
    if left_out:
        warnings.append(
            f"{len(left_out)} people are in no set, because others of their household, or identical files, are in "
            f"another one: {_first_names(left_out)}"
        )
    return sets


def _shuffled_split(
    groups: Rows, shares: Mapping[str, float], seed: int, forget: Rows | None, held_out: Mask | None
) -> Sets:
    """Fill the sets with shuffled groups up to their shares of all rows, and ``forget`` to that of the training rows.

    ``forget`` has the rows to forget, and the other training rows are retained; None to choose them at random.
    ``held_out`` says whether each row shows a person on whom the model was never trained: these rows alone are assigned
    to ``test`` and ``unseen``, except those in a group with others, which are in no set. None if nobody is declared.
    """
    test, unseen = shares["test"], shares["unseen"]
    if held_out is not None:
        train = np.flatnonzero(~held_out)
        free = np.flatnonzero(held_out & ~np.isin(groups, groups[train]))
        share = unseen / (test + unseen) if test + unseen else 0.0
        sets = assign_groups(groups, {"unseen": share}, "test", seed, free)
        if forget is not None:
            return {**sets, "retain": np.setdiff1d(train, forget), "forget": forget}
        return sets | assign_groups(groups, {"forget": shares["forget"]}, "retain", seed, train)
    if forget is None:
        forget_share = shares["forget"] * (1 - test - unseen)
        return assign_groups(groups, {"unseen": unseen, "test": test, "forget": forget_share}, "retain", seed)
    # The household of a person to forget is in the training set; only other households can be test or unseen.
    trained = np.isin(groups, groups[forget])
    free = np.flatnonzero(~trained)
    scale = len(groups) / max(1, len(free))
    scaled = {"unseen": min(1.0, unseen * scale), "test": min(1.0, test * scale)}
    sets = assign_groups(groups, scaled, "retain", seed, free)
    retain = np.setdiff1d(np.union1d(sets["retain"], np.flatnonzero(trained)), forget)
    return {**sets, "retain": retain, "forget": forget}


def _hash_position(name: str, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on a name, a seed and a purpose alone: a keyed BLAKE2b hash."""
    state = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode(), person=purpose.encode()
    )
    return (int.from_bytes(state.digest(), "big") >> 11) / 2**53


def _household_set(name: str, shares: Mapping[str, float], seed: int, held_out: bool | None) -> str:
    """Return the set of a household. A larger share of a set adds households to it and takes none away.

    Shares of ``test`` and ``unseen`` are of all households, that of ``forget`` is of the training households.
    ``held_out`` says whether the household is declared as never trained on; None if nobody is declared.
    """
    position = _hash_position(name, seed, "gli split")
    if held_out:
        return "unseen" if position * (shares["test"] + shares["unseen"]) < shares["unseen"] else "test"
    if held_out is None and position < shares["unseen"]:
        return "unseen"
    if held_out is None and position >= 1 - shares["test"]:
        return "test"
    return "forget" if _hash_position(name, seed, "gli forget") < shares["forget"] else "retain"


def _hashed_split(
    table: SplitTable, shares: Mapping[str, float], seed: int, forget: Rows | None, held_out: Mask | None
) -> Sets:
    """Assign households by a keyed hash, so that nobody changes sets when rows are added or removed.

    Households that share an identical file are probably the same people under two names. Where their sets differ, those
    with the set of lower rank are left out: in no set, rather than moved. The arguments are those of
    :func:`_shuffled_split`.
    """
    if forget is not None:
        shares = {**shares, "forget": 0.0}
    names, household = np.unique(table.households, return_inverse=True)

    def ranks_if(declared: bool | None) -> Rows:
        sets = (_household_set(str(name), shares, seed, declared) for name in names)
        return np.array([RANKS.index(name) for name in sets], dtype=np.int64)[household.ravel()]

    ranks = ranks_if(None) if held_out is None else np.where(held_out, ranks_if(True), ranks_if(False))
    if forget is not None:
        ranks[forget] = RANKS.index("forget")
    groups = table.groups
    highest = np.full(groups.max(initial=-1) + 1, len(RANKS), dtype=np.int64)
    np.minimum.at(highest, groups, ranks)
    assigned = ranks == highest[groups]
    if forget is not None:
        # Those who are retained beside a forgotten member of their household, or an identical file, stay trained on.
        assigned |= (ranks == RANKS.index("retain")) & (highest[groups] == RANKS.index("forget"))
    return {name: np.flatnonzero(assigned & (ranks == rank)).astype(np.int64) for rank, name in enumerate(RANKS)}


def cohorts_of(households: npt.NDArray[np.str_], count: int | Mapping[str, int], seed: int) -> Rows:
    """Return the cohort of each row, from 0 to ``count`` - 1, by a keyed hash of the household's name alone.

    Nobody changes cohorts when others join, leave or send other photographs. A mapping gives the cohorts of households
    instead; those that it does not name are in none (-1).
    """
    names, household = np.unique(households, return_inverse=True)
    if isinstance(count, int):
        cohorts = [int(count * _hash_position(str(name), seed, "gli cohort")) for name in names]
    else:
        cohorts = [count.get(str(name), -1) for name in names]
    return np.array(cohorts, dtype=np.int64)[household.ravel()]


def rows_of_cohort(
    rows: Rows, households: npt.NDArray[np.str_], count: int | Mapping[str, int], seed: int, cohort: str
) -> Rows:
    """Return those of some rows that are in a cohort (``2``), or in all others (``-2``); see :func:`cohorts_of`."""
    members: Mask = cohorts_of(households, count, seed)[rows] == int(cohort.removeprefix("-"))
    chosen: Rows = rows[~members if cohort.startswith("-") else members]
    return chosen


# -- people in settings ------------------------------------------------------------------------------------------------


def held_out_mask(table: SplitTable, names: Sequence[str]) -> Mask:
    """Return whether each row shows a person in ``held_out``; SettingError if nobody is named, or one is unknown."""
    mask = np.zeros(len(table.identities), np.bool_)
    mask[_rows_of_people(table, names, "held_out")] = True
    return mask


def _rows_of_people(table: SplitTable, names: Sequence[str], setting: str) -> Rows:
    """Return the rows of identities or households, ascending."""
    if not names:
        raise SettingError(f"{setting} names nobody. List at least one person, or leave the setting out.")
    for name in names:
        if name not in table.names:
            raise SettingError(
                f"{setting} names {str(name)!r}, who is not in the table.{did_you_mean(name, table.names)} "
                f"Identities look like {str(table.identities[0])!r}."
            )
    return np.flatnonzero(np.isin(table.identities, names) | np.isin(table.households, names)).astype(np.int64)


def _rows_to_forget(table: SplitTable, settings: SplitSettings, warnings: list[str]) -> Rows:
    """Return the rows of the requested people and of all who share a file with them.

    If a copy of a file stayed in the retain set, the model would not forget it.
    """
    requested = _rows_of_people(table, settings.forget_identities or (), "forget_identities")
    groups = identity_groups(table.identities, table.digests)
    rows = np.flatnonzero(np.isin(groups, groups[requested])).astype(np.int64)
    added = sorted(set(table.identities[rows]) - set(table.identities[requested]))
    if added:
        warnings.append(
            f"also forgotten, because they share identical files with people in forget_identities: {', '.join(added)}"
        )
    return rows


def _requested_name(table: SplitTable, settings: SplitSettings, row: int) -> str:
    """Return the name in ``forget_identities`` that selects a row, directly or through identical files."""
    groups = identity_groups(table.identities, table.digests)
    for name in settings.forget_identities or ():
        if groups[row] in groups[_rows_of_people(table, [name], "forget_identities")]:
            return name
    return str(table.identities[row])


def _without_erased(sets: Sets, table: SplitTable, settings: SplitSettings, warnings: list[str]) -> Sets:
    """Return the sets without the people in ``erased``, in any spelling, and without files identical to theirs.

    Names that are not in the table are allowed, because photographs of erased people are best removed from it.
    """
    if not settings.erased:
        return sets
    folded = set(map(folded_name, settings.erased))
    names = sorted(name for name in table.names if folded_name(name) in folded)
    both = sorted(name for name in settings.forget_identities or () if folded_name(name) in folded)
    if both:
        raise SettingError(
            f"forget_identities names {both[0]!r}, who was erased before (data.erased). Remove the name from one of "
            "them."
        )
    respelt = sorted(set(names) - set(settings.erased))
    if respelt:
        warnings.append(
            f"data.erased leaves out {len(respelt)} names that differ in case or spelling only: {_first_names(respelt)}"
        )
    in_table = set(map(folded_name, names))
    unknown = sorted(name for name in settings.erased if folded_name(name) not in in_table)
    if unknown:
        warnings.append(
            f"data.erased names {len(unknown)} people who are not in the table: their photographs were removed, or "
            f"their names are mistyped: {_first_names(unknown)}"
        )
    erased = np.isin(table.identities, names) | np.isin(table.households, names)
    erased |= np.isin(table.digests, table.digests[erased])
    return {name: rows[~erased[rows]] for name, rows in sets.items()}


def _first_names(names: Sequence[str], count: int = 5) -> str:
    return f"{', '.join(map(str, names[:count]))}{', ...' if len(names) > count else ''}"


# -- duplicates, reference people and rehearsals -----------------------------------------------------------------------


def _first_of_each_file(rows: Rows, digests: npt.NDArray[np.bytes_]) -> Rows:
    _, first = np.unique(digests[rows], return_index=True)
    return rows[np.sort(first)]


def check_reference_share(share: float | None, rehearsal: Rehearsal) -> None:
    """Raise SettingError if the share of reference people is out of range, or missing where a rehearsal needs it."""
    if share is not None and not 0 < share < 1:
        raise SettingError(f"data.reference_share is {share:g}; it must lie in (0, 1).")
    if rehearsal == "reference" and share is None:
        raise SettingError(
            "data.rehearsal is reference, but no people are set aside. Set data.reference_share, such as 0.5: that "
            "share of the test people becomes the test and unseen people of the rehearsal."
        )


def no_reference(rehearsal: Rehearsal) -> str:
    """Return a message that there are no reference people, and what to do."""
    if rehearsal == "reference":
        people = "they are the test and unseen people of this rehearsal. Set data.rehearsal to true."
        return f"There are no reference people: {people}"
    return "There are no reference people. Set some of the test people aside: data.reference_share."


def _with_reference(sets: Sets, table: SplitTable, share: float, seed: int) -> Sets:
    """Return the sets with some of the test people in the set ``reference`` instead, whole groups at a time."""
    result = sets | assign_groups(table.groups, {"reference": share}, "test", seed, sets["test"])
    if not len(result["test"]):
        raise SettingError(
            f"data.reference_share {share:g} leaves nobody in the test set; lower it, or raise data.test_share."
        )
    return result


def _rehearsal(sets: Sets, table: SplitTable, settings: SplitSettings) -> Sets:
    """Assign retained people to all sets once more, with the shares of the ordinary split.

    Settings that were chosen on the people who are reported later make the report too favourable. In a rehearsal the
    forget, test and unseen people of the ordinary split take no part at all. With ``reference``, the test and unseen
    people come from the reference people, for an original that was trained on all retained people.
    """
    groups, seed = table.groups, settings.split_seed

    def without_groups_of(rows: Rows, names: Sequence[str]) -> Rows:
        """Return rows whose group is in none of some sets: a published split may divide a household or repeat files."""
        return rows[~np.isin(groups[rows], groups[np.concatenate([sets[name] for name in names])])]

    count = {name: len(rows) for name, rows in sets.items()}
    forget_share = count["forget"] / (count["forget"] + count["retain"])
    retained = without_groups_of(sets["retain"], [name for name in sets if name != "retain"])
    retained_hint = "There are too few retained people for a rehearsal (data.rehearsal): add people to the table"
    hints = dict.fromkeys(SPLITS, f"{retained_hint}, or lower the shares of the other sets.")
    if settings.rehearsal == "reference":
        reference = without_groups_of(sets["reference"], REPORTED)
        unseen_share = count["unseen"] / (count["test"] + count["unseen"])
        result = assign_groups(groups, {"forget": forget_share}, "retain", seed, retained)
        result |= assign_groups(groups, {"unseen": unseen_share}, "test", seed, reference)
        hint = "There are too few reference people for a rehearsal: raise data.reference_share or data.test_share."
        hints |= dict.fromkeys(("test", "unseen"), hint)
    else:
        unseen, test = (
            sum(count.get(name, 0) for name in names) / sum(count.values())
            for names in (("unseen",), ("test", "reference"))
        )
        shares = {"unseen": unseen, "test": test, "forget": forget_share * (1 - test - unseen)}
        result = assign_groups(groups, shares, "retain", seed, retained)
    _check_not_empty(result, hints)
    if settings.reference_share is None or settings.rehearsal == "reference":
        return result
    return _with_reference(result, table, settings.reference_share, seed)


# -- checks ------------------------------------------------------------------------------------------------------------


def _hints(settings: SplitSettings) -> dict[str, str]:
    """Return what the user can do if a set is empty, by its name."""
    more = "add people to the table"
    if settings.split == "stable" and settings.assignment is None:
        more = f"choose another data.split_seed (now {settings.split_seed}), or {more}"
    if settings.held_out is not None:
        more = "declare more people in data.held_out"
    return {
        "forget": f"Name people in data.forget_identities or raise data.forget_share (now {settings.forget_share:g}).",
        "retain": "The whole training set would be forgotten; keep some people, or train a new model instead.",
        "test": f"Raise data.test_share (now {settings.test_share:g}), or {more}.",
        "unseen": f"Raise data.unseen_share (now {settings.unseen_share:g}), or {more}.",
    }


def _check_not_empty(sets: Sets, hints: Mapping[str, str]) -> None:
    for name in SPLITS:
        if not len(sets[name]):
            raise SettingError(f"The {name} set is empty. {hints[name]}")


def find_overlaps(sets: Mapping[str, Rows], keys: npt.NDArray[Any]) -> dict[tuple[str, str], list[Any]]:
    """Return, for each pair of sets that overlap, the sorted identities or hashes (``keys``) that occur in both."""
    values = {name: set(keys[rows].tolist()) for name, rows in sets.items()}
    shared = {pair: sorted(values[pair[0]] & values[pair[1]]) for pair in combinations(sets, 2)}
    return {pair: overlap for pair, overlap in shared.items() if overlap}


def describe_overlaps(
    sets: Mapping[str, Rows], identities: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_]
) -> list[str]:
    """Return one line per pair of sets that share people, and one per pair that share identical files.

    A line gives the number of people or files, and the names of up to three people.
    """
    lines = []
    for kind, keys in (("people", identities), ("identical files", digests)):
        for (first, second), shared in find_overlaps(sets, keys).items():
            names = f" ({_first_names(shared, 3)})" if kind == "people" else ""
            lines.append(f"{first} and {second} share {len(shared)} {kind}{names}")
    return lines
