"""Cohorts of a store that is planned for erasure: who is in which, and the networks that the ledger knows.

A network learns each cohort alone, and the classifier is taught about each person by the networks that never saw them
(:class:`~gli.methods.out_of_fold.Served`). Networks are in ``cohorts/``; for each, the ledger has its SHA-256, the
keyed hashes of the people in its training, and the hash of their photographs and labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from gli.erasure.store import COHORTS, Photo, Route, Store, check_noted, manifest
from gli.errors import DataError, SettingError
from gli.runs.folder import ORIGINALS
from gli.system.digest import file_hash, person_hash
from gli.system.ledger import Entry, Erased, Lines, durable_copy, erased_in, sha256_file

#: Kinds of lines in the ledger: a network of a cohort, and the first classifier that such networks taught.
NETWORK, SERVED = "network", "served"
#: What to do about a network that is not as it should be.
TRAINED_AGAIN = "Remove it: it is trained again when it is needed."
#: Routes by networks of cohorts.
BY_COHORTS = ("cohorts", "drop")


def known_as(store: Store, photo: Photo) -> str:
    """Return the pseudonym of a person in the tables of runs."""
    return f"p-{person_hash(store.key, photo.identity)[:16]}"


# -- who is in which cohort --------------------------------------------------------------------------------------------


def assign(store: Store, lines: Lines, photos: Sequence[Photo]) -> dict[str, int]:
    """Return the cohort of each person on some photographs, by pseudonym: a function of these photographs alone.

    The keyed hash of a person decides, or the smallest among people who share identical files. Those who came after the
    store was created are in cohorts of their own, one for each time that some came. A cohort of fewer photographs than
    ``policy.cohort_images`` is merged with the next one.
    """
    from gli.data.split_plan import cohorts_of, identity_groups  # Imports PyTorch.

    names = np.array([known_as(store, photo) for photo in photos])
    joined = _joined(lines)
    newest = 1 + max(joined.values(), default=0)
    begun = bool(lines.of_kind(SERVED))
    groups = identity_groups(names, np.array([photo.digest for photo in photos])).tolist()
    first: dict[int, str] = {}
    for name, each in zip(names.tolist(), groups, strict=True):
        first[each] = min(name, first.get(each, name))
    cohorts = cohorts_of(np.array([first[each] for each in groups]), store.settings.cohorts, 0)
    for row, photo in enumerate(photos):
        late = joined.get(person_hash(store.key, photo.identity), newest) if begun else 0
        if late:
            cohorts[row] = store.settings.cohorts - 1 + late
    while True:
        numbers, sizes = np.unique(cohorts, return_counts=True)
        small = np.flatnonzero(sizes < store.settings.policy.cohort_images)
        if not len(small) or len(numbers) == 1:
            return dict(zip(names.tolist(), cohorts.tolist(), strict=True))
        cohorts[cohorts == numbers[small[0]]] = numbers[(small[0] + 1) % len(numbers)]


def _joined(lines: Lines) -> dict[str, int]:
    """Return when each person came, by keyed hash: 0 with the store, then 1, 2, ... for each batch with new people."""
    joined: dict[str, int] = {}
    batch, number = "", 0
    for entry in lines.of_kind(NETWORK):
        new = [str(each) for each in entry["people"] if each not in joined]
        if new and entry["batch"] != batch:
            batch, number = str(entry["batch"]), number + 1
        joined |= dict.fromkeys(new, number)
    return joined


# -- the networks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cohort:
    """A cohort of the people to be trained on."""

    photos: list[Photo]  # Their photographs.
    network: Entry | None  # The ledger's line of the network that learnt just these; None where it must be trained.


def cohorts_in(store: Store, lines: Lines, photos: Sequence[Photo]) -> dict[int, Cohort]:
    """Return the cohorts of some photographs by their numbers, each with its network where the store has it."""
    if not store.settings.cohorts:
        return {}
    assigned, networks = assign(store, lines, photos), lines.of_kind(NETWORK)
    rows: dict[int, list[Photo]] = {}
    for photo in photos:
        rows.setdefault(assigned[known_as(store, photo)], []).append(photo)
    current = {entry["manifest"]: entry for entry in networks if network_path(store, entry).exists()}
    return {number: Cohort(rows[number], current.get(manifest(rows[number]))) for number in sorted(rows)}


def left_out(route: Route, cohorts: Mapping[int, Cohort]) -> list[int]:
    """Return the numbers of the cohorts whose networks a route leaves out: with ``drop``, those to be trained."""
    return [number for number, each in cohorts.items() if route == "drop" and each.network is None]


def check_route(store: Store, route: Route, cohorts: Mapping[int, Cohort]) -> None:
    """Refuse a route by networks of cohorts where there would be fewer than two, or the store has none.

    Raises:
        SettingError: If so.
    """
    if route not in BY_COHORTS:
        return
    if not store.settings.cohorts:
        raise SettingError(
            f"--route {route}: this store was not planned for erasure, so that it has no networks of cohorts. Retrain "
            "(--route retrain), or start a new store: gli erase init --cohorts 4, without --weights."
        )
    if len(cohorts) - len(left_out(route, cohorts)) < 2:
        raise SettingError(
            f"{store.settings.table}: fewer than two networks are left, or people for two cohorts of policy."
            f"cohort_images ({store.settings.policy.cohort_images}) photographs each; none answers for its own people. "
            "Choose another route (--route cohorts or retrain), fewer cohorts, or a smaller number."
        )


def network_path(store: Store, entry: Entry) -> Path:
    """Return the path of a network of the ledger."""
    return store.folder / COHORTS / f"{entry['weights'][:16]}.ckpt"


def provide(store: Store, cohorts: Mapping[int, Cohort], folder: Path) -> None:
    """Copy the networks of cohorts that nobody left into the folder of a run, which finds them among its originals.

    Raises:
        DataError: If one is not the file that the ledger names.
    """
    for each in cohorts.values():
        if each.network is not None:
            path = network_path(store, each.network)
            check_noted(path, sha256_file(path), each.network["weights"], TRAINED_AGAIN)
            (folder / ORIGINALS).mkdir(parents=True, exist_ok=True)
            if not (target := folder / ORIGINALS / Path(str(each.network["file"])).name).exists():
                durable_copy(path, target)


def keep(
    store: Store,
    batch: str,
    checkpoint: Path,
    folder: Path,
    cohorts: Mapping[int, Cohort],
    now: datetime | None = None,
) -> list[str]:
    """Check the networks that taught a classifier, keep new ones with a line in the ledger, and return their SHA-256.

    Args:
        store: The store.
        batch: Name of the batch; empty at the creation of the store.
        checkpoint: Checkpoint of the classifier.
        folder: Folder of its run, with the networks among its originals.
        cohorts: The cohorts that they must have learnt.
        now: The present; None for the clock's.

    Raises:
        DataError: If the classifier or a network was trained on photographs of others, or a network is unknown.
    """
    from gli.methods.module import LINEAGE
    from gli.models.checkpoints import read_checkpoint
    from gli.models.training_images import unpack

    def learnt(path: Path, contents: Mapping[str, Any]) -> set[str]:
        recorded = unpack(contents, path)
        return set() if recorded is None else {each.decode() for each in recorded.tolist()}

    contents = read_checkpoint(checkpoint)
    files = {sha256_file(path): path for path in (folder / ORIGINALS).glob("*.ckpt")}
    known = {entry["weights"] for entry in store.ledger.read().of_kind(NETWORK)}
    parents = []
    for role, digest in sorted(contents.get(LINEAGE, {}).items()):
        of, _, number = role.partition("/")
        path, cohort = files.get(digest), cohorts.get(int(number) if number.isdecimal() else -1)
        own = set() if cohort is None else {photo.digest for photo in cohort.photos}
        if path is None or cohort is None or learnt(path, read_checkpoint(path)) != own:
            raise DataError(
                f"{checkpoint}: descends from {of}/{number}, which was not trained on the people of its cohort alone, "
                "so that it is not exact. Nothing was written; run it again without changes to gli or to the folder."
            )
        parents.append(digest)
        fields = {"batch": batch, "file": path.name, "weights": digest, "manifest": manifest(cohort.photos)}
        if digest not in known:
            people = sorted({person_hash(store.key, photo.identity) for photo in cohort.photos})
            store.ledger.append(NETWORK, {**fields, "images": len(cohort.photos), "people": people}, now)
        durable_copy(path, network_path(store, fields))
    everybody = {photo.digest for each in cohorts.values() for photo in each.photos}
    if len(parents) < 2 or not learnt(checkpoint, contents) <= everybody:
        raise DataError(f"{checkpoint}: was trained on photographs of others, or has no lineage: it is not exact.")
    return parents


def erased_among(erased: Erased, people: Sequence[str]) -> str | None:
    """Return the request that erased one of some people, by their keyed hashes; None for nobody."""
    requests = ((each, request) for each in people for request in erased.people.get(each, ()))
    return next((request for each, request in requests if request not in erased.others.get(each, ())), None)


def that_saw(store: Store, hashes: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Entry]:
    """Return the ledger's lines of the networks in the store that saw people of some requests, or their photographs.

    Args:
        store: The store.
        hashes: Keyed hashes of ``people``, ``others`` and ``files``, by request.
    """
    lines = [{"kind": "erased", "request": request, **each} for request, each in hashes.items()]
    erased = erased_in(Lines(lines, 0))
    present = [entry for entry in store.ledger.read().of_kind(NETWORK) if network_path(store, entry).exists()]
    return [each for each in present if erased_among(erased, each["people"]) or holds_file(store, each, erased)]


def holds_file(store: Store, network: Entry, erased: Erased) -> bool:
    """Return whether a network of the store records a photograph of an erased person among its training images."""
    from gli.models.training_images import read_training_images

    recorded = read_training_images(network_path(store, network))
    hashes = {file_hash(store.key, each.decode()) for each in (() if recorded is None else recorded.tolist())}
    return not hashes.isdisjoint(erased.files)
