"""Find the method and its settings on rehearsal people, who are neither those who ask nor those compared with.

Every candidate is a run from the current weights, as ``gli erase run`` would make it, judged by the same audit. Its
folder holds caches, weights and losses of people who may ask one day: it is shredded at the end, and by every purge.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gli.erasure.batches import (
    EXACT_ROUTES,
    Sets,
    held_out_halves,
    kept_for_rehearsals,
    prepare,
    read_batch,
    route_of,
)
from gli.erasure.cohorts import known_as
from gli.erasure.evidence import Models, Outputs, evaluate, gather_evidence, task_of
from gli.erasure.models import (
    arguments_of,
    checkpoint_of,
    make_method,
    method_named,
    model_job,
    reference_jobs,
    settings_with,
    train,
)
from gli.erasure.requests import Request, look_again, photos_of, read_copies, read_requests, step_of
from gli.erasure.store import (
    LEAST_PEOPLE,
    REHEARSAL,
    SETTINGS,
    Candidate,
    Photo,
    Store,
    note_departures,
    pixels_of,
    settings_text,
)
from gli.errors import DataError, SettingError
from gli.runs.cost import read_cost
from gli.runs.spec import RunSpec
from gli.study.space import grid
from gli.system.digest import one_spelling
from gli.system.ledger import (
    Entry,
    Lines,
    canonical_before,
    counted,
    durable_write,
    rehearsal_hash,
    sha256,
    sha256_file,
    shred_folder,
)

# -- people ------------------------------------------------------------------------------------------------------------

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

    Leave out people who asked or were erased, people with a copy or near-copy of a picture of such a person, and people
    who share a file with somebody else: the rehearsed model would be trained on it.
    """
    taken = {photo.identity for photo in taken_rows} | {one_spelling(each.subject) for each in requests}
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


# -- candidates --------------------------------------------------------------------------------------------------------

CHANCE = 0.5
HEADINGS = ("method", "settings", "AUC (95 % interval)", "|AUC - 0.5|", "loss of accuracy", "minutes")


@dataclass(frozen=True)
class Outcome:
    """Measurements of a candidate in a rehearsal."""

    candidate: Candidate  # The candidate.
    #: AUC of the attack on the people who play *forget*, with the limits of its 95 % interval; None for a candidate
    #: without a model, whose losses were not finite.
    auc: tuple[float, float, float] | None = None
    loss: float | None = None  # Loss of accuracy on the held-out people of the rehearsal, as a share; None likewise.
    minutes: float | None = None  # Minutes of training; None where they are not known.

    @property
    def distance(self) -> float:
        """Distance of the AUC from chance; 0.5 without a model."""
        return abs(self.auc[0] - CHANCE) if self.auc is not None else CHANCE

    def contents(self) -> dict[str, Any]:
        """Return the outcome as plain values, numbers rounded to six digits."""
        return {
            **contents_of(self.candidate),
            "auc": None if self.auc is None else [round(each, 6) for each in self.auc],
            "loss": None if self.loss is None else round(self.loss, 6),
            "minutes": None if self.minutes is None else round(self.minutes, 2),
        }

    @classmethod
    def read(cls, contents: Mapping[str, Any]) -> Outcome:
        """Return the outcome that :meth:`contents` wrote into the ledger."""
        auc = contents["auc"]
        candidate = Candidate(contents["method"], contents["settings"])
        return cls(candidate, None if auc is None else (auc[0], auc[1], auc[2]), contents["loss"], contents["minutes"])


def contents_of(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as plain values."""
    return {"method": candidate.method, "settings": dict(candidate.settings)}


def choose_candidate(outcomes: Sequence[Outcome], utility_margin: float) -> Outcome | None:
    """Return the outcome whose AUC is nearest to 0.5 among those that keep the accuracy; None where none does.

    Of equally near ones it is the one that loses less accuracy, then the one that was named first.

    Args:
        outcomes: The outcomes.
        utility_margin: Largest loss of accuracy that does not matter, as a share.
    """
    keep = within(outcomes, utility_margin)
    return min(keep, key=lambda each: (each.distance, each.loss), default=None)


def within(outcomes: Sequence[Outcome], utility_margin: float) -> list[Outcome]:
    """Return the outcomes whose loss of accuracy does not matter."""
    return [each for each in outcomes if each.loss is not None and each.loss <= utility_margin]


def choice_sentence(outcomes: Sequence[Outcome], utility_margin: float) -> str:
    """Return which candidate is chosen and why, or that none is."""
    chosen, keep = choose_candidate(outcomes, utility_margin), within(outcomes, utility_margin)
    margin = f"at most {100 * utility_margin:g} points of accuracy"
    tried = counted(len(outcomes), "candidate", "candidates")
    if chosen is None:
        return f"None of {tried} loses {margin}. Retrain instead: it is exact."
    name = f"{chosen.candidate.method} {chosen.candidate.words}".strip()
    if len(keep) == 1:
        return f"{name}: the only one of {tried} that loses {margin}."
    among = "all" if len(keep) == len(outcomes) else f"the {len(keep)} of"
    return f"{name}: the AUC nearest to 0.5 among {among} {len(outcomes)} candidates that lose {margin}."


def table_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the outcomes as the lines of a table with headings."""
    rows = [HEADINGS, *map(_cells, outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    texts = 2  # Method and settings are left-aligned, numbers right-aligned.
    return [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cells(outcome: Outcome) -> tuple[str, ...]:
    candidate, minutes = outcome.candidate, outcome.minutes
    first = (candidate.method, candidate.words, *(("no model: losses not finite",) if outcome.auc is None else ()))
    if outcome.auc is None or outcome.loss is None:
        return (*first, "", "", "")
    value, low, high = outcome.auc
    return (
        *first,
        f"{value:.2f} ({low:.2f} to {high:.2f})",
        f"{outcome.distance:.2f}",
        f"{100 * outcome.loss:.1f} points",
        "" if minutes is None else f"{minutes:.2f}",
    )


def found_words(candidates: int, people: int, shared: int) -> str:
    """Return how the settings of a method were found.

    Args:
        candidates: Number of candidates.
        people: Number of rehearsal people who played *forget*.
        shared: Number of them who are among the people that a batch erases or audits again.
    """
    tried = counted(candidates, "candidate", "candidates")
    who = counted(people, "rehearsal person", "rehearsal people")
    if shared:
        among = f"{shared} of whom {'is' if shared == 1 else 'are'} among the people erased"
        return f"chosen among {tried} on {who}, {among}"
    return f"chosen among {tried} on {who}, who are neither the people erased nor those compared with"


# -- the rehearsal -----------------------------------------------------------------------------------------------------

#: A value of ``--try`` as it is written.
EXAMPLE = "lr=0.003,0.01"


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal."""

    begun: Entry  # The ledger's line of its beginning: candidates and keyed hashes of the people.
    outcomes: list[Outcome]  # What was measured of each candidate.
    chosen: Outcome | None  # The best of them that keeps the accuracy; None where none does.
    sentence: str  # Which one is chosen and why.
    unseen: int  # Number of people whom the attack compared with.
    repeated: bool = False  # Whether it had ended before, so that nothing was done.


def candidates_of(store: Store, tries: Sequence[str], methods: Sequence[str] | None = None) -> list[Candidate]:
    """Return each method with each combination of values, all of them checked.

    Args:
        store: The store. Its policy's settings hold for the policy's method, apart from those that are tried.
        tries: Settings as ``name=value,value``.
        methods: Class names of the methods; None for the policy's.

    Raises:
        SettingError: If there is no such method, setting or value, or a method cannot be rehearsed.
    """
    declared, space = store.settings.policy.declared, grid(tries, EXAMPLE)
    candidates = []
    for name in dict.fromkeys(methods or [declared.method]):
        base = declared.settings if name == declared.method else {}
        if not method_named(name, "--method").needs_original:
            raise SettingError(f"--method {name}: does not change the classifier, so it has nothing to rehearse.")
        for values in space.combinations():
            candidate = Candidate(name, settings_with(name, base, space.settings(values)))
            if make_method(name, arguments_of(store, candidate), "--try").needs_reference:
                raise SettingError(f"--method {name}: compares with further people, whom a store does not have.")
            candidates.append(candidate)
    return candidates


def route_note(store: Store) -> str:
    """Return why the settings will not matter as long as the policy retrains; an empty string if they may matter."""
    policy, lines = store.settings.policy, store.ledger.read()
    names = {each.batch for each in read_requests(store) if each.batch}
    minutes = [read_batch(store, name).get("minutes") for name in sorted(names) if step_of(lines, name) == "planned"]
    routes = {route_of(policy, each, None, "cohorts" in each)[0] for each in minutes if each}
    if policy.route in EXACT_ROUTES or (policy.route == "auto" and routes and routes <= {*EXACT_ROUTES}):
        return (
            "The policy retrains, which is exact and needs no settings: those of a method count only in a batch that "
            "is unlearned (gli erase run --route unlearn)."
        )
    return ""


def rehearse(
    store: Store,
    tries: Sequence[str],
    methods: Sequence[str] | None = None,
    people: int | None = None,
    now: datetime | None = None,
) -> Rehearsal:
    """Rehearse candidates, or return the result that they have; call with the store locked.

    After a kill, the same call continues: finished runs are kept.

    Args:
        store: The store.
        tries: Settings as ``name=value,value``.
        methods: Class names of the methods; None for the policy's.
        people: Number of people who play *forget*; see :func:`~gli.erasure.rehearse.rehearsal_sets`.
        now: The present; None for the clock's.

    Raises:
        SettingError: If a candidate or the number of people cannot be rehearsed, or a copy is undecided.
        DataError: If there are too few people, an erased person has returned, or a model could not be trained.
    """
    candidates = candidates_of(store, tries, methods)
    note_departures(store, now)
    look_again(store, now)
    lines = store.ledger.read()
    asked = _asked(store, tries, methods, people)
    folder, done = store.folder / REHEARSAL, _finished(store, lines, asked, candidates)
    if done is not None:
        if lines.of_kind("rehearse")[-1] == done.begun:  # The folder of a later rehearsal that was killed stays.
            shred_folder(folder)
        return done
    sets = rehearsal_sets(store, lines, people)
    begun = _begin(store, lines, asked, candidates, sets, now)
    data = prepare(store, folder, sets)
    policy = store.settings.policy
    jobs = [model_job(store, folder, data, "candidate", policy.seed, each) for each in candidates]
    jobs = [replace(job, row=f"{each.method} {each.words}") for job, each in zip(jobs, candidates, strict=True)]
    references = reference_jobs(store, folder, data, policy.references)
    train([*references, *jobs], policy.jobs)
    outcomes = judge(store, sets, dict(zip(jobs, candidates, strict=True)), references)
    fields = {"begun": begun["hash"], "outcomes": [each.contents() for each in outcomes]}
    chosen = choose_candidate(outcomes, policy.utility_margin)
    unseen = len({photo.identity for photo in sets.unseen})
    more = {"chosen": None if chosen is None else outcomes.index(chosen), "unseen": unseen}
    entry = store.ledger.append("rehearsed", {**fields, **more}, now)
    shred_folder(folder)
    return _result(store, begun, entry, repeated=False)


def _asked(store: Store, tries: Sequence[str], methods: Sequence[str] | None, people: int | None) -> str:
    """Return a hash of what was asked for, and of all that the result depends on besides people and candidates."""
    policy = dataclasses.asdict(store.settings.policy)
    del policy["method"], policy["method_settings"]
    names = list(methods or [store.settings.policy.method])
    return sha256(canonical_before([list(tries), names, people, policy, sha256_file(store.weights)]))


def _finished(store: Store, lines: Lines, asked: str, candidates: Sequence[Candidate]) -> Rehearsal | None:
    """Return the result of the same rehearsal; None where there is none, or somebody who took part has asked since.

    Once it has changed the policy, the candidates may have other settings besides those that were tried.
    """
    wanted, current = [contents_of(each) for each in candidates], sha256(settings_text(store.settings))
    asking = {rehearsal_hash(store.key, one_spelling(each.subject)) for each in read_requests(store)}
    for begun in reversed(lines.of_kind("rehearse", asked=asked)):
        written = lines.of_kind("policy", rehearsal=begun["hash"], after=current)
        ended = lines.of_kind("rehearsed", begun=begun["hash"])
        if ended and (begun["candidates"] == wanted or written) and not asking & set(begun["people"]):
            return _result(store, begun, ended[-1], repeated=True)
    return None


def _result(store: Store, begun: Entry, ended: Entry, *, repeated: bool) -> Rehearsal:
    outcomes = [Outcome.read(each) for each in ended["outcomes"]]
    margin = store.settings.policy.utility_margin
    chosen, sentence = choose_candidate(outcomes, margin), choice_sentence(outcomes, margin)
    return Rehearsal(begun, outcomes, chosen, sentence, ended["unseen"], repeated)


def _begin(
    store: Store, lines: Lines, asked: str, candidates: Sequence[Candidate], sets: Sets, now: datetime | None
) -> Entry:
    """Note who takes part before anything is trained, unless the last rehearsal is this one, interrupted."""
    fields = {
        "asked": asked,
        "candidates": [contents_of(each) for each in candidates],
        "people": hashes(store, sets.forget_rows),
        "held_out": hashes(store, [*sets.test, *sets.unseen]),
    }
    same = lines.of_kind("rehearse", **fields)
    if same and not lines.of_kind("rehearsed", begun=same[-1]["hash"]):
        return same[-1]
    return store.ledger.append("rehearse", fields, now)


def judge(store: Store, sets: Sets, jobs: Mapping[RunSpec, Candidate], references: Sequence[RunSpec]) -> list[Outcome]:
    """Return what the audit of a batch finds about each candidate.

    Args:
        store: The store.
        sets: The rows of the rehearsal.
        jobs: The finished jobs of the candidates.
        references: Those of the reference models.
    """
    settings, policy = store.settings, store.settings.policy
    groups = {"forget": sets.forget_rows, "unseen": sets.unseen, "test": sets.test}
    pixels = {name: pixels_of(photos, settings) for name, photos in groups.items()}

    def outputs(weights: Path) -> dict[str, Outputs]:
        return {name: evaluate(weights, photos, pixels[name], settings) for name, photos in groups.items()}

    before, others = outputs(store.weights), [outputs(checkpoint_of(each)) for each in references]
    outcomes = []
    for job, candidate in jobs.items():
        try:
            after = outputs(checkpoint_of(job))
        except DataError:  # No checkpoint is kept of a run that diverges at once.
            outcomes.append(Outcome(candidate))
            continue
        models = {name: Models(before[name], after[name], [each[name] for each in others]) for name in groups}
        evidence = gather_evidence(
            models["forget"],
            None,
            models["unseen"],
            models["test"],
            policy.margin,
            policy.utility_margin,
            False,
            task_of(settings).names,
        )
        found = {finding.name: finding for finding in evidence.findings}
        attack, loss = found["this batch"], found["utility"].value
        assert job.run is not None
        interval = (attack.value or 0.0, attack.low or 0.0, attack.high or 0.0)
        seconds = read_cost(job.run).get("training_seconds")
        minutes = None if seconds is None else seconds / 60
        outcomes.append(Outcome(candidate, interval, loss, minutes))
    return outcomes


# -- the policy --------------------------------------------------------------------------------------------------------
def write_policy(store: Store, rehearsal: Rehearsal, now: datetime | None = None) -> None:
    """Put the chosen method and its settings into the policy; call with the store locked.

    The ledger notes the settings before and after: they count as declared only if those before do.

    Raises:
        SettingError: If no candidate was chosen.
    """
    if rehearsal.chosen is None:
        raise SettingError(rehearsal.sentence)
    chosen = rehearsal.chosen.candidate
    settings = store.settings
    policy = replace(settings.policy, method=chosen.method, method_settings=dict(chosen.settings))
    new = replace(settings, policy=policy)
    before, text = sha256(settings_text(settings)), settings_text(new)
    fields = {"rehearsal": rehearsal.begun["hash"], "after": sha256(text)}
    # In the ledger first: after a kill, the settings before are still declared, and the same command writes the new.
    known = store.ledger.read().of_kind("policy", **fields)
    if not known or before not in {fields["after"], *(each["before"] for each in known)}:
        store.ledger.append("policy", {**fields, "before": before}, now)
    if new != settings:
        durable_write(store.folder / SETTINGS, text)
        store.settings = new


def declared_hashes(lines: Lines) -> set[str]:
    """Return the hashes of the settings that count as declared: those at the creation, and those found from them."""
    declared = {str(lines.of_kind("init")[0]["policy"])}
    for entry in lines.of_kind("policy"):
        if entry["before"] in declared:
            declared.add(str(entry["after"]))
    return declared


def how_found(store: Store, lines: Lines, photos: Sequence[Photo]) -> tuple[str, int]:
    """Return how a rehearsal found the settings of the policy, and how many of its people are on some photographs.

    Args:
        store: The store.
        lines: Its ledger.
        photos: Photographs of the people whom a batch erases or audits again.

    Returns:
        An empty text and 0 where the settings were not found in a rehearsal.
    """
    written = lines.of_kind("policy", after=sha256(settings_text(store.settings)))
    begun = lines.of_kind("rehearse", hash=written[-1]["rehearsal"]) if written else []
    if not begun:
        return "", 0
    people = set(begun[0]["people"])
    shared = len(people & set(hashes(store, photos)))
    return found_words(len(begun[0]["candidates"]), len(people), shared), shared
