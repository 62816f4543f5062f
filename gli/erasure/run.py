"""Run a batch: make the new model, audit it against reference models, and judge."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gli.erasure.batches import (
    CANNOT_TELL,
    EVIDENCE,
    EXACT,
    EXACT_ROUTES,
    MODEL,
    PASS,
    WORK,
    Sets,
    check_alone,
    choose,
    facts_of,
    held_out_halves,
    prepare,
    read_batch,
    read_evidence,
    route_of,
    sets_of,
    write_batch,
)
from gli.erasure.cohorts import BY_COHORTS, SERVED, check_route, cohorts_in, keep, known_as, provide
from gli.erasure.evidence import Finding, Models, evaluate, gather_evidence, task_of
from gli.erasure.models import (
    candidate_of,
    checkpoint_of,
    measured_minutes,
    model_job,
    reference_jobs,
    train,
    trainer_of,
)
from gli.erasure.rehearse import declared_hashes, how_found
from gli.erasure.requests import look_again, step_of
from gli.erasure.store import (
    COHORTS,
    Photo,
    Route,
    Store,
    manifest,
    note_departures,
    noted_in,
    pixels_of,
    settings_text,
)
from gli.errors import DataError, SettingError
from gli.models.checkpoints import classifier_state
from gli.system.digest import file_hash
from gli.system.ledger import (
    Lines,
    counted,
    durable_write,
    erased_in,
    sha256,
    sha256_file,
    shred_folder,
    write_canonical,
)

#: Form of the keys of runs in the ledger; entries of earlier versions name none.
FORM = 2
#: Whether the test of single people could have shown that a person is remembered.
POWERED, NOT_POWERED, NOT_TESTED = "powered", "not powered", "not tested"
#: Exit status of ``gli erase run`` for each verdict.
STATUS = {PASS: 0, EXACT: 0, "cannot tell": 3, "fail": 4}


@dataclass(frozen=True)
class Result:
    """The result of a batch."""

    batch: str  # Name of the batch.
    answer: str  # ``pass``, ``exact by construction``, ``cannot tell`` or ``fail``.
    evidence: dict[str, Any]  # The contents of ``evidence.json``: every finding, the settings, the hashes.
    repeated: bool = False  # Whether the batch had run before, so that nothing was done.

    @property
    def status(self) -> int:
        """Exit status: 0 for pass and exact by construction, 3 for cannot tell, 4 for fail."""
        return STATUS[self.answer]


def run(store: Store, name: str | None = None, route: Route | None = None, now: datetime | None = None) -> Result:
    """Run a batch, or return the result that it has; call with the store locked.

    After a kill, the same call continues: finished models are kept, and an interrupted one continues after its last
    epoch.

    Args:
        store: The store.
        name: Name of the batch; None for the first one that has not run.
        route: ``cohorts``, ``drop``, ``retrain`` or ``unlearn``; None for the policy's.
        now: The present; None for the clock's.

    Raises:
        SettingError: If there is no such batch, another one is on its way, or a copy is undecided.
        DataError: If an erased person has returned, or a model could not be trained.
    """
    lines = note_departures(store, now)
    name = choose(store, name, ("planned", "run"))
    if step_of(lines, name) in ("purged", "released"):
        evidence = read_evidence(store, name)
        return Result(name, evidence["answer"], evidence, True)
    check_alone(lines, name)
    look_again(store, now)
    sets = sets_of(store, name)
    work = store.batch(name) / WORK
    minutes = read_batch(store, name, rerun=True).get("minutes") or {}
    policy, cohorts = store.settings.policy, cohorts_in(store, lines, sets.retain)
    if not minutes and route is None and policy.route == "auto":
        minutes = measured_minutes(store, prepare(store, work, sets), cohorts)
    chosen, reason = route_of(policy, minutes, route, len(cohorts) > 1)
    check_route(store, chosen, cohorts)
    facts = write_batch(store, name, facts_of(store, name, sets, minutes))
    candidate, exact = candidate_of(store, chosen, cohorts), chosen in EXACT_ROUTES
    data = prepare(store, work, stand_in(store, sets) if exact else sets)
    job = model_job(store, work, data, chosen, policy.seed, candidate)
    done = lines.of_kind("run", batch=name)
    same = done and done[-1].get("key") == job.key and done[-1].get("facts", facts) == facts
    if same and (store.batch(name) / EVIDENCE).exists():
        evidence = read_evidence(store, name)
        return Result(name, evidence["answer"], evidence, True)
    count = policy.retrain_references if exact else policy.references
    references = reference_jobs(store, work, data, count)
    if chosen in BY_COHORTS:
        provide(store, cohorts, job.folder)
    train([job, *references], policy.jobs)
    parents = keep(store, name, checkpoint_of(job), job.folder, cohorts, now) if chosen in BY_COHORTS else []
    evidence = _judge(store, name, sets, checkpoint_of(job), [checkpoint_of(each) for each in references], exact)
    attempts = attempts_of([*done, {"key": job.key, "form": FORM}])
    found, rehearsed = "", 0
    if chosen == "unlearn":
        found, rehearsed = how_found(store, lines, [*sets.forget_rows, *sets.earlier])
    evidence |= {
        "batch": name,
        "route": chosen,
        "reason": reason,
        "limits": limits_of(attempts, declared_settings(store), rehearsed),
        "manifest": sets.manifests,
        "policy": sha256(settings_text(store.settings)),
        "left_out": sets.left_out,
        "method": {
            "name": candidate.method,
            "settings": dict(candidate.settings),
            "trainer": {} if chosen == "retrain" else trainer_of(store, candidate),
            "recipe": dict(policy.recipe),
            "backbone": store.settings.backbone,
            "image_size": store.settings.image_size,
            "seed": policy.seed,
            "references": count,
            **({"found": found} if found else {}),
            **({"code": store.code} if store.code else {}),
        },
    }
    digest = write_canonical(store.batch(name) / EVIDENCE, evidence)
    fields = {"batch": name, "evidence": digest, "facts": facts, "key": job.key, "form": FORM}
    fields |= {"answer": evidence["answer"], "route": chosen}
    fields |= {"manifest": sets.manifests["after"], "images": sets.manifests["images_after"]}
    fields |= {f"weights_{end}": evidence["weights"][end] for end in ("before", "after")}
    fields |= {"from": parents} if parents else {}
    store.ledger.append("run", fields, now)
    return Result(name, evidence["answer"], evidence)


def stand_in(store: Store, sets: Sets) -> Sets:
    """Return the sets of a run whose model must depend on nobody who leaves: it does not read their photographs.

    A run audits itself on a forget set. Here held-out people stand in for it; nobody reads these scores.

    Raises:
        DataError: If there are too few held-out people.
    """
    rows: dict[str, list[Photo]] = {}
    for photo in sets.test:
        rows.setdefault(known_as(store, photo), []).append(photo)
    test = rows.pop(min(rows), []) if rows else []
    if not rows or not sets.unseen:
        raise DataError(f"{store.settings.held_out}: has too few people. Name ten or more who were never trained on.")
    return replace(sets, forget=rows, test=test)


def teach_first(store: Store, now: datetime | None = None) -> str:
    """Train the networks of a new store's cohorts, and have them teach its classifier; call with the store locked.

    After a kill, the same call continues.

    Returns:
        What was trained, in a sentence.

    Raises:
        SettingError: If there are too few people for the cohorts.
        DataError: If a model could not be trained.
    """
    lines, settings, work = store.ledger.read(), store.settings, store.folder / COHORTS / WORK
    if not lines.of_kind(SERVED):
        cohorts = cohorts_in(store, lines, store.photos)
        check_route(store, "cohorts", cohorts)
        if len(cohorts) < settings.cohorts:
            raise SettingError(
                f"--cohorts {settings.cohorts}: only {len(cohorts)} have policy.cohort_images "
                f"({settings.policy.cohort_images}) photographs or more. Delete {store.folder}, then choose fewer "
                "or a smaller number."
            )
        test, unseen, _ = held_out_halves(store, lines, [])
        data = prepare(store, work, stand_in(store, Sets(store.photos, {}, [], test, unseen, 0)))
        candidate = candidate_of(store, "cohorts", cohorts)
        job = model_job(store, work, data, "served", settings.policy.seed, candidate)
        train([job], settings.policy.jobs)
        parents = keep(store, "", checkpoint_of(job), job.folder, cohorts, now)
        save_weights(checkpoint_of(job), store.current)
        fields = {"weights": sha256_file(store.current), "from": parents, "manifest": manifest(store.photos)}
        store.ledger.append(SERVED, {**fields, "images": len(store.photos)}, now)
    shred_folder(work)
    files = list((store.folder / COHORTS).iterdir())
    size = sum(path.stat().st_size for path in files) / 2**20
    return f"{len(files)} networks of cohorts ({size:.1f} MiB) taught the classifier; keep {store.folder / COHORTS}."


def attempts_of(entries: Sequence[Mapping[str, Any]]) -> int:
    """Return the least number of different settings that the audits of a batch in the ledger can have had.

    Earlier versions wrote keys of another form, which differ from the present ones for the same settings as well.
    """
    keys: dict[Any, set[str]] = {}
    for entry in entries:
        keys.setdefault(entry.get("form"), set()).add(str(entry.get("key")))
    return max(len(each) for each in keys.values())


def declared_settings(store: Store) -> bool:
    """Return whether the settings of a store were declared at its creation, or found by a rehearsal since."""
    return sha256(settings_text(store.settings)) in declared_hashes(store.ledger.read())


def limits_of(attempts: int, declared: bool, rehearsed: int = 0) -> list[str]:
    """Return what makes the verdict on a batch weaker than it looks, one sentence each.

    Args:
        attempts: Number of different models of this batch that were audited.
        declared: Whether the settings are those that the store was created with, or that a rehearsal found since.
        rehearsed: Number of people erased on whom the settings were found.
    """
    limits = []
    if attempts > 1:
        limits.append(f"These people were audited with {attempts} different settings: the verdict is too favourable.")
    if not declared:
        limits.append(
            "The settings of the store were changed after it was created: margins and method were not all declared "
            "before the first request."
        )
    if rehearsed:
        limits.append(
            f"The settings were found on {counted(rehearsed)} of those erased, who asked after the rehearsal: the "
            "verdict is too favourable."
        )
    return limits


def _judge(
    store: Store, name: str, sets: Sets, checkpoint: Path, references: Sequence[Path], exact: bool
) -> dict[str, Any]:
    """Write the new weights, audit them, and return the findings."""
    settings, policy = store.settings, store.settings.policy
    model = store.batch(name) / MODEL
    save_weights(checkpoint, model)

    def outputs(photos: Sequence[Photo]) -> Models:
        pixels = pixels_of(photos, settings)
        before, after, *others = (
            evaluate(path, photos, pixels, settings) for path in (store.weights, model, *references)
        )
        return Models(before, after, others)

    # A copy under another name is a photograph of the person who asked.
    forget = [replace(photo, identity=request) for request, rows in sets.forget.items() for photo in rows]
    evidence = gather_evidence(
        outputs(forget),
        outputs(sets.earlier) if sets.earlier else None,
        outputs(sets.unseen),
        outputs(sets.test),
        policy.margin,
        policy.utility_margin,
        exact,
        task_of(settings).names,
    )
    lines = store.ledger.read()
    absent, not_tested = deleted_before(store, lines, sets, exact)
    evidence = replace(evidence, findings=[*evidence.findings, *absent])
    gone = len(erased_in(lines).gone)
    if gone:
        not_tested.append(
            f"{counted(gone)} erased before: the photographs are gone, so the new model cannot be tested on them. "
            "None of their photographs was used since."
        )
    if sets.copied_people:
        not_tested.append(
            f"{counted(sets.copied_people)} among the held-out people took no part in the comparison: a photograph of "
            "somebody who asked, on which the classifier was trained, is under that name."
        )
    return {
        "answer": evidence.answer,
        "attack": evidence.attack,
        "findings": [finding.contents() for finding in evidence.findings],
        "people": {
            request: POWERED if rows and evidence.powered else NOT_POWERED if rows else NOT_TESTED
            for request, rows in sets.forget.items()
        },
        "not_tested": not_tested,
        "weights": {"before": sha256_file(store.weights), "after": sha256_file(model)},
    }


def deleted_before(store: Store, lines: Lines, sets: Sets, exact: bool) -> tuple[list[Finding], list[str]]:
    """Return a finding about requests whose photographs were deleted before the run, and what was not tested.

    Args:
        store: The store.
        lines: Its ledger.
        sets: The rows of the batch.
        exact: Whether the new model was retrained.
    """
    present = {file_hash(store.key, photo.digest) for photo in store.photos}
    not_tested = []
    for request in sorted(sets.forget):
        noted = noted_in(lines, store.key, [request]).files
        if deleted := len(noted - present):
            photographs = counted(len(noted), "photograph", "photographs")
            not_tested.append(f"{request}: {deleted} of {photographs} had been deleted before the run.")
    untested = sorted(request for request, rows in sets.forget.items() if not rows)
    if not untested:
        return [], not_tested
    sentence = f"All photographs of {', '.join(untested)} were deleted before the run: nothing was tested on them. " + (
        "The model was trained without them." if exact else "Nothing was unlearned of them either."
    )
    answer = EXACT if exact else CANNOT_TELL
    return [Finding("people whose photographs were deleted", answer, sentence, True, people=len(untested))], not_tested


def save_weights(checkpoint: Path, target: Path) -> None:
    """Write the weights of a checkpoint as a plain state dict, durably; the same weights give the same file."""
    import torch

    state = {key: value.detach().cpu().contiguous() for key, value in sorted(classifier_state(checkpoint).items())}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    durable_write(target, buffer.getvalue())
