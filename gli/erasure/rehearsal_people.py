"""Who takes part in a rehearsal: people of the table who did not ask, and held-out people who are in no later verdict.

Keyed hashes choose them, so that the same store always chooses the same people and nobody can pick them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from gli.erasure.batches import Sets, held_out_halves, kept_for_rehearsals, known_as
from gli.erasure.copies import read_copies
from gli.erasure.keys import rehearsal_hash
from gli.erasure.ledger import Lines
from gli.erasure.requests import Request, photos_of, read_requests
from gli.erasure.settings import LEAST_PEOPLE
from gli.erasure.store import Store
from gli.erasure.table import Photo
from gli.erasure.words import counted
from gli.errors import DataError, SettingError

#: Number of people who play *forget* unless an open batch has more.
USUAL_PEOPLE = 10
#: Largest share of the people of the table who play *forget*.
MOST_OF_TABLE = 1 / 4
#: Share of the held-out people that a rehearsal keeps.
SHARE_HELD_OUT = 1 / 3


def hashes(store: Store, photos: Sequence[Photo]) -> list[str]:
    """Return the sorted keyed hashes of the people on some photographs, as in the ledger's lines on rehearsals."""
    return sorted({rehearsal_hash(store.key, photo.identity) for photo in photos})


def rehearsal_sets(store: Store, lines: Lines, people: int | None = None) -> Sets:
    """Return the rows of a rehearsal; ``forget`` has one entry per person, by the pseudonym that runs see.

    Args:
        store: The store.
        lines: Its ledger.
        people: Number of people who play *forget*; None for that of the largest open batch, but at least
            ``USUAL_PEOPLE``, as far as the table has enough.

    Raises:
        DataError: If the table or the held-out people are too few.
        SettingError: If there are too few people for the number wanted, or a copy is undecided.
    """
    requests = read_requests(store)
    open_rows = [photo for rows in photos_of(store, requests).values() for photo in rows]
    earlier = [photo for rows in store.erased_rows(lines).values() for photo in rows]
    able = _able(store, requests, [*open_rows, *earlier])
    chosen = set(able[: _number(store, requests, len(able), people)])
    out = {photo.file for photo in (*open_rows, *earlier)}
    forget: dict[str, list[Photo]] = {}
    for photo in store.photos:
        if photo.identity in chosen:
            forget.setdefault(known_as(store, photo), []).append(photo)
    retain = [photo for photo in store.photos if photo.file not in out and photo.identity not in chosen]
    test, unseen, _ = held_out_halves(store, lines, requests)
    kept = kept_for_rehearsals(lines)
    parts = [_part(store, half, kept) for half in (test, unseen)]
    return Sets(retain, forget, [], parts[0], parts[1], len(open_rows))


def _able(store: Store, requests: Sequence[Request], taken_rows: Sequence[Photo]) -> list[str]:
    """Return the people who can play *forget*, in the order of their keyed hashes.

    Left out are people who asked or were erased, people with a picture that is, or looks like, one of theirs, and
    people who share a file with somebody else: the rehearsed model would be trained on it.
    """
    taken = {photo.identity for photo in taken_rows} | {each.subject for each in requests}
    taken |= {copy.identity for copy in read_copies(store)}
    owners: dict[str, set[str]] = {}
    for photo in store.photos:
        owners.setdefault(photo.digest, set()).add(photo.identity)
    taken |= {name for names in owners.values() if len(names) > 1 for name in names}
    names = {photo.identity for photo in store.photos} - taken
    return sorted(names, key=lambda name: rehearsal_hash(store.key, name))


def _number(store: Store, requests: Sequence[Request], able: int, people: int | None) -> int:
    """Return the number of people who play *forget*."""
    most = int(able * MOST_OF_TABLE)
    if most < LEAST_PEOPLE:
        raise DataError(
            f"{store.settings.table}: {counted(able)} can take part in a rehearsal, which takes a quarter of them: "
            f"{math.ceil(LEAST_PEOPLE / MOST_OF_TABLE)} or more are needed. Retrain instead."
        )
    if people is None:
        largest = max(Counter(each.batch for each in requests).values(), default=0)
        return min(most, max(USUAL_PEOPLE, largest))
    if not LEAST_PEOPLE <= people <= most:
        raise SettingError(
            f"--people {people}: a rehearsal takes {LEAST_PEOPLE} to {most} of the {able} who can take part."
        )
    return people


def _part(store: Store, half: Sequence[Photo], kept: set[str]) -> list[Photo]:
    """Return the part of one half of the held-out people that rehearsals keep: those that they have, then others."""
    names = {photo.identity: rehearsal_hash(store.key, photo.identity) for photo in half}
    ordered = sorted(names, key=lambda name: (names[name] not in kept, names[name]))
    count = max(LEAST_PEOPLE, int(len(names) * SHARE_HELD_OUT), sum(each in kept for each in names.values()))
    if len(names) - count < LEAST_PEOPLE:
        raise DataError(
            f"{store.settings.held_out}: of {counted(len(names))} in one half, a rehearsal keeps {count} for good, and "
            f"verdicts need {LEAST_PEOPLE} others. Name more people who were never trained on (30 or more in all), or "
            "retrain instead."
        )
    taken = set(ordered[:count])
    return [photo for photo in half if photo.identity in taken]
