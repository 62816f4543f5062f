"""Batches: requests that are carried out together, and the tables that their runs read.

Runs see keyed pseudonyms instead of names: the only file of a batch with a name in it is its table, whose file names
may contain one. All of it is in ``work/``, which the purge removes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gli.erasure.cohorts import Cohort, assign, cohorts_in, known_as
from gli.erasure.requests import (
    NAME,
    NAME_HELD_OUT,
    Request,
    days_left,
    held_out_copies,
    look_again,
    photos_of,
    planned_in,
    read_copies,
    read_requests,
    step_of,
    write_requests,
)
from gli.erasure.store import (
    BATCHES,
    Photo,
    Policy,
    Route,
    Store,
    check_noted,
    manifest,
    names_text,
    note_departures,
    noted_in,
    table_text,
)
from gli.errors import DataError, SettingError
from gli.system.console import loading
from gli.system.digest import file_hash, folded_name, one_spelling, person_hash
from gli.system.ledger import (
    Lines,
    durable_write,
    read_canonical,
    rehearsal_hash,
    sha256_file,
    word_hash,
    write_canonical,
)

# -- batches -----------------------------------------------------------------------------------------------------------

BATCH, WORK, TABLE, ASSIGNMENT, HELD_OUT = "batch.json", "work", "table.csv", "assignment.csv", "held_out.txt"
OF_COHORTS = "cohorts.csv"


@dataclass(frozen=True)
class Sets:
    """The rows of a batch."""

    retain: list[Photo]  # Rows to remember: the table minus open requests, minus everybody erased before.
    forget: dict[str, list[Photo]]  # Rows to forget, those of this batch, by request.
    earlier: list[Photo]  # Rows of people erased before that are still in the table.
    test: list[Photo]  # Rows of held-out people that measure accuracy.
    unseen: list[Photo]  # Rows of held-out people that the forgotten ones are compared with.
    left_out: int  # Number of rows of open requests of other batches.
    #: Number of held-out people left out because a photograph of somebody who asked is among theirs.
    copied_people: int = 0

    @property
    def forget_rows(self) -> list[Photo]:
        """Rows to forget."""
        return [photo for rows in self.forget.values() for photo in rows]

    @property
    def manifests(self) -> dict[str, Any]:
        """Hash and number of the training images before and after."""
        before = [*self.retain, *self.forget_rows]
        return {
            "before": manifest(before),
            "after": manifest(self.retain),
            "images_before": len(before),
            "images_after": len(self.retain),
        }


def group(store: Store, now: datetime | None = None) -> dict[str, list[Request]]:
    """Assign open requests to batches by their due dates, and return the batches; call with the store locked.

    A batch that has not run takes in requests that are due within ``policy.batch_days`` of its first one.
    """
    lines, requests = store.ledger.read(), read_requests(store)
    batches: dict[str, list[Request]] = {}
    for each in requests:
        if each.batch:
            batches.setdefault(each.batch, []).append(each)
    window = store.settings.policy.batch_days
    names = {*planned_in(lines), *batches}
    for each in requests:
        if each.batch:
            continue
        fitting = (
            name
            for name, members in batches.items()
            if step_of(lines, name) == "planned" and abs(days_left(each.due, members[0].due)) <= window
        )
        name = next(fitting, "") or next(f"batch-{n}" for n in range(1, 10**6) if f"batch-{n}" not in names)
        names.add(name)
        batches.setdefault(name, []).append(replace(each, batch=name))
    for name, members in batches.items():
        pseudonyms = sorted(each.request for each in members)
        if not lines.of_kind("plan", batch=name, requests=pseudonyms) and step_of(lines, name) == "planned":
            store.ledger.append("plan", {"batch": name, "requests": pseudonyms}, now)
    write_requests(store, [each for members in batches.values() for each in members])
    return batches


def requests_of(store: Store, batch: str) -> list[Request]:
    """Return the open requests of a batch.

    Raises:
        SettingError: If there is no such batch.
    """
    requests = [each for each in read_requests(store) if each.batch == batch]
    if not requests:
        raise SettingError(f"There are no open requests in {batch!r}. Run gli erase plan; gli erase status lists them.")
    return requests


def choose(store: Store, name: str | None, states: Sequence[str]) -> str:
    """Return the name of a batch: the given one, or the first one in the first of some states that has any.

    Of batches that are released, it is the last one: only that has weights.

    Raises:
        SettingError: If no batch is in these states, or the given one does not exist.
    """
    lines = store.ledger.read()
    planned = planned_in(lines)
    if name is not None:
        store.batch(name)
        if name not in planned:
            raise SettingError(f"There is no batch {name!r}. Batches: {', '.join(planned) or 'none'}.")
        return name
    for state in states:
        matching = [each for each in planned if step_of(lines, each) == state]
        if matching:
            return matching[-1 if state == "released" else 0]
    earlier = {"planned": "plan" if "run" in states else "add", "run": "run", "purged": "purge"}
    first = f"gli erase {earlier[states[0]]} comes first; gli erase status shows where every request is"
    raise SettingError(f"No batch is {' or '.join(states)}: {first}.")


def check_alone(lines: Lines, name: str) -> None:
    """Refuse to start a batch while another one is on its way: both would start from the same weights.

    Raises:
        SettingError: Naming the other batch.
    """
    for other in planned_in(lines):
        if other != name and step_of(lines, other) in ("run", "purged"):
            raise SettingError(f"{other} has run and is not released. Purge and release it before {name} runs.")


def sets_of(store: Store, name: str) -> Sets:
    """Return the rows of a batch.

    Raises:
        DataError: If an erased person has returned, or there is nobody to remember or to compare with.
        SettingError: If a copy is undecided.
    """
    lines = store.ledger.read()
    earlier = [photo for rows in store.erased_rows(lines).values() for photo in rows]
    open_requests = read_requests(store)
    open_rows = photos_of(store, open_requests)
    own = {each.request for each in requests_of(store, name)}
    erased = {photo.file for photo in earlier}
    forget = {request: [each for each in rows if each.file not in erased] for request, rows in open_rows.items()}
    out = erased | {photo.file for rows in forget.values() for photo in rows}
    retain = [photo for photo in store.photos if photo.file not in out]
    forgotten = {request: rows for request, rows in forget.items() if request in own}
    left_out = sum(len(rows) for request, rows in forget.items() if request not in own)
    *halves, copied_people = held_out_halves(store, lines, open_requests)
    kept = kept_for_rehearsals(lines)
    test, unseen = (
        # Earlier versions hashed names as the table spells them.
        [
            each
            for each in half
            if not {rehearsal_hash(store.key, name) for name in (each.identity, each.spelling)} & kept
        ]
        for half in halves
    )
    if not test or not unseen:
        besides = f" besides {len(kept)} who took part in rehearsals" if kept else ""
        raise DataError(
            f"{store.settings.held_out}: has too few people{besides}. Name ten or more who were never trained on."
        )
    if not retain:
        raise DataError(f"{store.settings.table}: nobody is left to remember.")
    if not any(forgotten.values()):
        raise DataError(
            f"{store.settings.table}: all photographs of {', '.join(sorted(forgotten))} are gone, so that nothing can "
            "be unlearned or tested. Put rows and photographs back until the batch has run; the purge comes after it."
        )
    return Sets(retain, forgotten, earlier, test, unseen, left_out, copied_people)


def held_out_halves(
    store: Store, lines: Lines, open_requests: Sequence[Request]
) -> tuple[list[Photo], list[Photo], int]:
    """Return the held-out rows that measure accuracy, those to compare with, and how many people are in neither.

    The keyed hash of a person decides, or the smallest among people who share identical files, so that no file is in
    both. In neither are people with a photograph of somebody who asked among theirs.
    """
    import numpy as np

    from gli.data.split_plan import identity_groups

    copied = [*store.erased_held_out(lines).values(), *held_out_copies(store, open_requests).values()]
    people_out = {photo.identity for rows in copied for photo in rows}
    held_out = store.held_out
    groups = identity_groups(*(np.array([getattr(each, name) for each in held_out]) for name in ("identity", "digest")))
    deciding: dict[int, str] = {}
    for photo, each in zip(held_out, groups.tolist(), strict=True):
        hashed = person_hash(store.key, photo.identity)
        deciding[each] = min(hashed, deciding.get(each, hashed))
    halves: tuple[list[Photo], list[Photo]] = ([], [])
    for photo, each in zip(held_out, groups.tolist(), strict=True):
        if photo.identity not in people_out:
            halves[int(deciding[each][:8], 16) % 2].append(photo)
    return *halves, len(people_out)


def kept_for_rehearsals(lines: Lines) -> set[str]:
    """Return the keyed hashes of the held-out people who took part in a rehearsal, and so in no later verdict."""
    return {str(person) for entry in lines.of_kind("rehearse") for person in entry["held_out"]}


def prepare(store: Store, work: Path, sets: Sets) -> dict[str, Any]:
    """Write the tables of some sets into a folder, and return the settings of their data (``data`` of ``gli fit``)."""
    groups: Mapping[str, list[Photo]] = {
        "retain": [replace(photo, identity=known_as(store, photo)) for photo in sets.retain],
        "forget": [replace(photo, identity=request) for request, rows in sets.forget.items() for photo in rows],
        "test": [replace(photo, identity=known_as(store, photo)) for photo in sets.test],
        "unseen": [replace(photo, identity=known_as(store, photo)) for photo in sets.unseen],
    }
    people = {photo.identity: key for key, rows in groups.items() for photo in rows}
    work.mkdir(parents=True, exist_ok=True)
    rows = [photo for photos in groups.values() for photo in photos]
    settings, cohorts = store.settings, {}
    if settings.cohorts:
        # Networks of cohorts are found by their rows, whose order must depend on nobody else.
        rows.sort(key=lambda photo: (photo.identity, photo.digest, photo.file))
        numbers = assign(store, store.ledger.read(), sets.retain)
        durable_write(work / OF_COHORTS, names_text("cohort", numbers), 0o600)
        cohorts = {"cohorts": str((work / OF_COHORTS).absolute())}
    durable_write(work / TABLE, table_text(rows, settings), 0o600)
    durable_write(work / ASSIGNMENT, names_text("set", people), 0o600)
    held_out = sorted({photo.identity for key in ("test", "unseen") for photo in groups[key]})
    durable_write(work / HELD_OUT, "\n".join([*held_out, ""]).encode(), 0o600)
    return {
        **settings.policy.data_settings,
        "root": str(store.root.absolute()),
        "csv": str((work / TABLE).absolute()),
        "file": settings.file,
        "identity": settings.identity,
        "labels": list(settings.labels),
        "task": "multi_class" if settings.classes else "multi_label",
        **({"classes": list(settings.classes)} if settings.classes else {}),
        "assignment": str((work / ASSIGNMENT).absolute()),
        "held_out": str((work / HELD_OUT).absolute()),
        "image_size": settings.image_size,
        "cache_dir": str((work / "cache").absolute()),
        **({"recipe": dict(settings.policy.recipe)} if settings.policy.recipe else {}),
        **cohorts,
    }


def hashes_of(store: Store, name: str, sets: Sets) -> dict[str, dict[str, list[str]]]:
    """Return the keyed hashes by which erased people and files are recognised, by request."""
    requests = requests_of(store, name)
    subjects, copies = {each.request: each.subject for each in requests}, held_out_copies(store, requests)
    lines = store.ledger.read()
    return {
        request: {
            "people": sorted({person_hash(store.key, each) for name in names for each in (name, folded_name(name))}),
            "words": [word_hash(store.key, name) for name in names],
            "others": sorted(person_hash(store.key, name) for name in kept),
            "files": sorted(
                {file_hash(store.key, photo.digest) for photo in [*rows, *copies[request]]}
                | noted_in(lines, store.key, [request]).files
            ),
        }
        for request, rows in sets.forget.items()
        for names, kept in [doubles_of(store, request, one_spelling(subjects[request]))]
    }


def doubles_of(store: Store, request: str, subject: str) -> tuple[list[str], list[str]]:
    """Return the names of a person in the table, the subject's in front, and names that a decision keeps apart."""
    doubles = [copy for copy in read_copies(store) if copy.request == request and copy.kind in (NAME, NAME_HELD_OUT)]
    kept = {copy.identity for copy in doubles if copy.decision == "keep"}
    accepted = {copy.identity for copy in doubles if copy.decision == "accept" and copy.kind == NAME}
    return [subject, *sorted(accepted - kept)], sorted(kept)


def facts_of(store: Store, name: str, sets: Sets, minutes: Mapping[str, float]) -> dict[str, Any]:
    """Return the contents of ``batch.json``.

    Args:
        store: The store.
        name: Name of the batch.
        sets: Its rows.
        minutes: Measured minutes of each route; empty where nothing was measured.
    """
    requests = requests_of(store, name)
    return {
        "batch": name,
        "requests": {each.request: {"received": str(each.received), "due": str(each.due)} for each in requests},
        "photographs": {request: len(rows) for request, rows in sets.forget.items()},
        "minutes": minutes,
        "hashes": hashes_of(store, name, sets),
    }


def write_batch(store: Store, name: str, contents: Mapping[str, Any]) -> str:
    """Write ``batch.json``; return its SHA-256."""
    return write_canonical(store.batch(name) / BATCH, contents)


def read_batch(store: Store, name: str, *, rerun: bool = False) -> dict[str, Any]:
    """Return ``batch.json``; empty where there is none.

    Args:
        store: The store.
        name: Name of the batch.
        rerun: Accept other facts than those of its last run, which a killed one may have written.

    Raises:
        DataError: If it was changed.
    """
    path = store.folder / BATCHES / name / BATCH
    if not path.exists():
        return {}
    contents, digest = read_canonical(path, "a batch")
    if not rerun:  # Earlier versions did not note them.
        check_noted(path, digest, store.ledger.read().last("run", batch=name).get("facts", digest), AGAIN)
    return contents


EVIDENCE, MODEL = "evidence.json", "model.pt"
#: Remedy for a file that a run writes.
AGAIN = "Restore it, or run the batch again."
#: Verdicts with which a batch is purged and released without a risk that somebody accepts.
PASS, EXACT = "pass", "exact by construction"
#: The others.
FAIL, CANNOT_TELL = "fail", "cannot tell"
#: Attack of batches that were audited before their evidence named it.
EARLIER_ATTACK = "RMIA, not relative to reference models"


def read_evidence(store: Store, name: str) -> dict[str, Any]:
    """Return the evidence of a batch that has run.

    Raises:
        DataError: If it is missing, or is not what the ledger says.
    """
    path = store.batch(name) / EVIDENCE
    evidence, digest = read_canonical(path, "the evidence of a batch")
    check_noted(path, digest, store.ledger.read().last("run", batch=name).get("evidence"), AGAIN)
    return {"limits": [], "attack": EARLIER_ATTACK, "people": {}, **evidence}


def new_weights(store: Store, name: str) -> Path:
    """Return the weights that a batch has made, which must be those that were audited.

    Raises:
        DataError: If they were changed, or cannot be read.
    """
    path = store.batch(name) / MODEL
    check_noted(path, sha256_file(path), read_evidence(store, name)["weights"]["after"])
    return path


# -- the plan ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The plan of a batch."""

    batch: str  # Name of the batch.
    requests: list[Request]  # Its requests.
    #: Number of photographs of each request, copies included; empty while copies are undecided.
    photographs: dict[str, int]
    #: Number of copies of each request, by the name that they are under and the decision.
    copies: dict[str, Counter[tuple[str, str]]]
    #: Minutes of each route, without and with its reference models, and passes; empty if not measured.
    minutes: dict[str, float]
    route: Route  # The route that the policy takes.
    reason: str  # Why, in a sentence.


#: What each route is called, and what it earns.
EARNED: Mapping[str, tuple[str, str]] = {
    "cohorts": (
        "training cohorts again",
        "exact by design: every network that saw these photographs is trained again without them, and networks that "
        "never saw them teach a new classifier.",
    ),
    "drop": (
        "dropping cohorts",
        "exact by design: every network that saw these photographs is left out, and the others teach a new classifier.",
    ),
    "retrain": ("retraining", "exact by retraining: a new classifier is trained from scratch without them."),
    "unlearn": (
        "unlearning",
        "tested approximation: the classifier is changed, and an attack looks for traces; of few people it can find "
        "none, so that the claim is weaker.",
    ),
}
#: Routes whose new classifier depends on nobody who was erased.
EXACT_ROUTES = ("cohorts", "drop", "retrain")


def route_of(
    policy: Policy, minutes: dict[str, float], wanted: Route | None = None, planned: bool = False
) -> tuple[Route, str]:
    """Return the route of a batch and the reason.

    Args:
        policy: The policy.
        minutes: Measured minutes; empty if they were not measured.
        wanted: Route that was asked for; None for the policy's.
        planned: Whether there are networks of cohorts.
    """
    chosen = wanted or policy.route
    if chosen != "auto":
        return chosen, f"{'You' if wanted else 'The policy'} chose to {chosen}."
    routes: tuple[Route, ...] = ("cohorts", "drop", "retrain") if planned else ("retrain",)
    if not minutes:
        return routes[0], f"Nothing was measured; {EARNED[routes[0]][0]} is exact."
    for route in routes:
        if minutes.get(route, math.inf) <= policy.retrain_minutes:
            why = "exact, and simplest to defend" if route == "retrain" else "exact by design"
            return route, (
                f"{EARNED[route][0].capitalize()} takes about {minutes[route]:.1f} minutes, which the policy allows "
                f"({policy.retrain_minutes:g}): it is {why}."
            )
    return "unlearn", (
        f"Retraining takes about {minutes['retrain']:.0f} minutes; the policy allows {policy.retrain_minutes:g}."
    )


def plan(store: Store, name: str | None = None, measure: bool = True, now: datetime | None = None) -> Plan:
    """Plan the next batch; call with the store locked. Measured minutes are kept and not measured again.

    Args:
        store: The store.
        name: Name of a batch; None for the first one that has not run.
        measure: Measure the cost over a few steps.
        now: The present; None for the clock's.

    Raises:
        SettingError: If there is no such batch, or no open request.
        DataError: If an erased person has returned.
    """
    note_departures(store, now)
    group(store, now)
    name = choose(store, name, ("planned",))
    requests = requests_of(store, name)
    look_again(store, now)
    copies: dict[str, Counter[tuple[str, str]]] = {each.request: Counter() for each in requests}
    for copy in read_copies(store):
        if copy.request in copies:
            copies[copy.request][copy.identity, copy.decision] += 1
    undecided = any(decision == "undecided" for counter in copies.values() for _, decision in counter)
    photographs: dict[str, int] = {}
    contents = read_batch(store, name)
    minutes: dict[str, float] = {}
    cohorts: dict[int, Cohort] = {}
    if not undecided:
        sets = sets_of(store, name)
        photographs = {request: len(rows) for request, rows in sets.forget.items()}
        known = contents.get("minutes") if contents.get("photographs") == photographs else None
        minutes = known or {}
        cohorts = cohorts_in(store, store.ledger.read(), sets.retain)
        if measure and not minutes:
            with loading():
                from gli.erasure.models import measured_minutes
            minutes = measured_minutes(store, prepare(store, store.batch(name) / WORK, sets), cohorts)
    route, reason = route_of(store.settings.policy, minutes, planned=len(cohorts) > 1)
    if not undecided:
        facts = facts_of(store, name, sets, minutes)
        if facts != contents:
            write_batch(store, name, facts)
    return Plan(name, requests, photographs, copies, minutes, route, reason)
