"""Find the method and its settings on rehearsal people, who are neither those who ask nor those compared with.

Every candidate is a run from the current weights, as ``gli erase run`` would make it, judged by the same audit. Its
folder holds caches, weights and losses of people who may ask one day: it is shredded at the end, and by every purge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gli.engine.job import Job
from gli.erasure.batches import Sets, prepare, read_batch
from gli.erasure.candidates import Outcome, choice_sentence, choose_candidate, contents_of, found_words
from gli.erasure.canonical import canonical, durable_write, sha256, sha256_file
from gli.erasure.keys import rehearsal_hash
from gli.erasure.ledger import Entry, Lines
from gli.erasure.models import checkpoint_of, model_job, reference_jobs, train
from gli.erasure.plan import route_of
from gli.erasure.rehearsal_people import hashes, rehearsal_sets
from gli.erasure.requests import read_requests
from gli.erasure.settings import SETTINGS, Candidate, settings_text
from gli.erasure.shred import shred_folder
from gli.erasure.status import step_of
from gli.erasure.store import REHEARSAL, Store, note_departures
from gli.erasure.table import Photo
from gli.errors import DataError, SettingError
from gli.runs.cost import read_cost
from gli.study.space import grid

#: A value of ``--try`` as it is written.
EXAMPLE = "lr=0.003,0.01"


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal.

    Attributes:
        begun: The ledger's line of its beginning: candidates and keyed hashes of the people.
        outcomes: What was measured of each candidate.
        chosen: The best of them that keeps the accuracy; None where none does.
        sentence: Which one is chosen and why.
        unseen: Number of people whom the attack compared with.
        repeated: Whether it had ended before, so that nothing was done.
    """

    begun: Entry
    outcomes: list[Outcome]
    chosen: Outcome | None
    sentence: str
    unseen: int
    repeated: bool = False


def candidates_of(store: Store, tries: Sequence[str], methods: Sequence[str] | None = None) -> list[Candidate]:
    """Return each method with each combination of values, all of them checked.

    Args:
        store: The store. Its policy's settings hold for the policy's method, apart from those that are tried.
        tries: Settings as ``name=value,value``.
        methods: Class names of the methods; None for the policy's.

    Raises:
        SettingError: If there is no such method, setting or value, or a method cannot be rehearsed.
    """
    from gli.erasure.methods import make_method, method_named, settings_with
    from gli.erasure.models import arguments_of

    declared, combinations = store.settings.policy.declared, grid(tries, EXAMPLE)
    candidates = []
    for name in dict.fromkeys(methods or [declared.method]):
        base = declared.settings if name == declared.method else {}
        if not method_named(name, "--method").needs_original:
            raise SettingError(f"--method {name}: does not change the classifier, so it has nothing to rehearse.")
        for values in combinations:
            candidate = Candidate(name, settings_with(name, base, values))
            if make_method(name, arguments_of(store, candidate), "--try").needs_reference:
                raise SettingError(f"--method {name}: compares with further people, whom a store does not have.")
            candidates.append(candidate)
    return candidates


def route_note(store: Store) -> str:
    """Return why the settings will not matter as long as the policy retrains; an empty string if they may matter."""
    policy, lines = store.settings.policy, store.ledger.read()
    names = {each.batch for each in read_requests(store) if each.batch}
    minutes = [read_batch(store, name).get("minutes") for name in sorted(names) if step_of(lines, name) == "planned"]
    routes = {route_of(policy, each)[0] for each in minutes if each}
    if policy.route == "retrain" or (policy.route == "auto" and routes == {"retrain"}):
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
        people: Number of people who play *forget*; see :func:`~gli.erasure.rehearsal_people.rehearsal_sets`.
        now: The present; None for the clock's.

    Raises:
        SettingError: If a candidate or the number of people cannot be rehearsed, or a copy is undecided.
        DataError: If there are too few people, an erased person has returned, or a model could not be trained.
    """
    candidates = candidates_of(store, tries, methods)
    lines = note_departures(store, now)
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
    return sha256(canonical([list(tries), names, people, policy, sha256_file(store.weights)]))


def _finished(store: Store, lines: Lines, asked: str, candidates: Sequence[Candidate]) -> Rehearsal | None:
    """Return the result of the same rehearsal; None where there is none, or somebody who took part has asked since.

    Once it has changed the policy, the candidates may have other settings besides those that were tried.
    """
    wanted, current = [contents_of(each) for each in candidates], sha256(settings_text(store.settings))
    asking = {rehearsal_hash(store.key, each.subject) for each in read_requests(store)}
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


def judge(store: Store, sets: Sets, jobs: Mapping[Job, Candidate], references: Sequence[Job]) -> list[Outcome]:
    """Return what the audit of a batch finds about each candidate.

    Args:
        store: The store.
        sets: The rows of the rehearsal.
        jobs: The finished jobs of the candidates.
        references: Those of the reference models.
    """
    from gli.erasure.evaluate import Outputs, evaluate, pixels_of, task_of
    from gli.erasure.evidence import Audit, Models

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
        audit = Audit(
            models["forget"],
            None,
            models["unseen"],
            models["test"],
            policy.margin,
            policy.utility_margin,
            False,
            task_of(settings).names,
        )
        found = {finding.name: finding for finding in audit.findings()}
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
