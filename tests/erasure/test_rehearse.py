"""Rehearsals: settings found on people who neither ask nor are compared with, and nothing of them left on the disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from gli.commands.main import main
from gli.erasure import models
from gli.erasure import rehearse as rehearsing
from gli.erasure.batch_purge import purge_batch
from gli.erasure.batches import held_out_halves, kept_for_rehearsals, plan, sets_of
from gli.erasure.certificate import release, verify
from gli.erasure.evidence import baseline
from gli.erasure.purge import digests_of
from gli.erasure.rehearse import (
    Outcome,
    choice_sentence,
    choose_candidate,
    hashes,
    rehearsal_sets,
    rehearse,
    table_lines,
    write_policy,
)
from gli.erasure.requests import Request, write_requests
from gli.erasure.run import declared_settings, run
from gli.erasure.store import Candidate, Policy, Store, create, pixels_of, settings_text
from gli.errors import DataError, SettingError
from gli.runs.spec import RunSpec
from gli.system.ledger import Ledger, durable_write, pseudonym, rehearsal_hash
from tests.helpers.erasure import (
    NOW,
    InProcess,
    amended,
    ask,
    fake_run,
    files_below,
    make_store,
    save_classifier,
    settings_in,
    write_pictures,
)

TABLE = tuple(f"person{number:02d}x" for number in range(24))
STRANGERS = tuple(f"stranger{number:02d}x" for number in range(32))
#: With this key both halves of the held-out people have enough for a rehearsal.
KEY = bytes(32)
POLICY = Policy(
    method_settings={"msteps": 1},
    route="unlearn",
    references=3,
    utility_margin=0.9,
    recipe={"epochs": 1, "lr": 0.01},
    trainer_settings={"accelerator": "cpu"},
)
TRY = ["lr=0.003,0.01"]


class Faked(InProcess):
    """Executor whose jobs write what a run leaves, without training; those of some kinds are really run.

    Args:
        real: Kinds of jobs that are run.
        stop_after: Number of jobs after which the process is interrupted.
        without: Whether the run of a method leaves no checkpoint.
    """

    def __init__(self, real: tuple[str, ...] = (), stop_after: int = 1000, without=lambda method: False) -> None:
        self.real, self.stop_after, self.without = real, stop_after, without
        self.done: list[str] = []

    def submit(self, arguments, *, log):
        if len(self.done) >= self.stop_after:
            raise KeyboardInterrupt
        folder = Path(arguments[-1])
        self.done.append(folder.name)
        if folder.name.startswith(self.real):
            return super().submit(arguments, log=log)
        run = folder / "lightning_logs/fake/version_0"
        (run / "checkpoints").mkdir(parents=True)
        (run / "metrics.csv").touch()
        if not self.without(RunSpec.read(folder).method):
            save_classifier(run / "checkpoints/last.ckpt", len(self.done))
        RunSpec.read(folder).finish(run, 1.0)
        done: Future[int] = Future()
        done.set_result(0)
        return done


@pytest.fixture(scope="module")
def roomy(tmp_path_factory) -> Path:
    """A home with enough people for a rehearsal."""
    home = tmp_path_factory.mktemp("roomy")
    write_pictures(home, TABLE, "faces.csv", 16)
    write_pictures(home, STRANGERS, "held_out.csv", 16)
    save_classifier(home / "classifier.pth")
    return home


@pytest.fixture
def store(roomy, tmp_path) -> Store:
    """A new store; the photographs are those of ``roomy``."""
    return new_store(roomy, tmp_path, POLICY)


def new_store(roomy: Path, folder: Path, policy: Policy) -> Store:
    """Create a store with the same key as always."""
    (folder / "erasures").mkdir()
    durable_write(folder / "erasures/key", KEY.hex().encode(), 0o600)
    settings = settings_in(roomy, policy=policy, image_size=16)
    return create(folder / "erasures", settings, roomy / "classifier.pth")


@pytest.fixture
def executor(monkeypatch):
    """Let all jobs run by a new executor, which is returned."""

    def executor(**settings):
        faked = Faked(**settings)
        monkeypatch.setattr(models, "make_executor", lambda jobs: faked)
        return faked

    return executor


@pytest.fixture
def judged(monkeypatch):
    """Let no model be evaluated: each candidate has the same outcome."""

    def judge(store, sets, jobs, references):
        return [Outcome(each, (0.5, 0.4, 0.6), 0.0, 1.0) for each in jobs.values()]

    monkeypatch.setattr(rehearsing, "judge", judge)


# -- the choice --------------------------------------------------------------------------------------------------------


def outcome(name, auc, loss):
    candidate = Candidate(name, {"lr": 0.01})
    return Outcome(candidate, None if auc is None else (auc, auc - 0.1, auc + 0.1), loss, 1.0)


def test_the_nearest_auc_that_keeps_the_accuracy_is_chosen():
    outcomes = [outcome("A", 0.5, 0.2), outcome("B", 0.58, 0.05), outcome("C", 0.43, -0.1), outcome("D", None, None)]
    assert choose_candidate(outcomes, 0.05).candidate.method == "C"
    assert choose_candidate(outcomes, 0.2).candidate.method == "A"
    assert choose_candidate(outcomes, 0.04).candidate.method == "C"
    assert "nearest to 0.5 among the 2 of 4 candidates" in choice_sentence(outcomes, 0.05)
    assert "the only one of 4" in choice_sentence(outcomes, 0.04)
    assert choose_candidate(outcomes[:2], 0.04) is None
    assert "Retrain instead" in choice_sentence(outcomes[:2], 0.04)
    equal = [outcome("A", 0.6, 0.04), outcome("B", 0.4, 0.01), outcome("C", 0.4, 0.01)]
    assert choose_candidate(equal, 0.05).candidate.method == "B"
    lines = table_lines(outcomes)
    assert "losses not finite" in lines[-1]
    assert "C       lr=0.01" in "\n".join(lines)


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.floats(-1, 1)), max_size=6), st.floats(0, 0.9))
def test_no_allowed_candidate_is_nearer_than_the_chosen_one(values, margin):
    outcomes = [outcome("A", auc, None if auc is None else loss) for auc, loss in values]
    chosen = choose_candidate(outcomes, margin)
    allowed = [each for each in outcomes if each.loss is not None and each.loss <= margin]
    assert (chosen is None) == (not allowed)
    assert all(chosen.distance <= each.distance for each in allowed)
    assert [Outcome.read(each.contents()).candidate for each in outcomes] == [each.candidate for each in outcomes]


# -- the people --------------------------------------------------------------------------------------------------------


def names(photos):
    return {photo.identity for photo in photos}


@with_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(min_size=32, max_size=32), st.sets(st.sampled_from(TABLE), min_size=1, max_size=4))
def test_nobody_is_rehearsed_on_who_asks_or_is_compared_with(roomy, store, key, subjects):
    fresh, days = Store(store.folder), (date(2026, 11, 3), date(2026, 12, 3))
    fresh.key, fresh.ledger = key, Ledger(Path(tempfile.mkdtemp(dir=store.folder)), key)
    requests = [Request(pseudonym(key, name, str(days[0])), name, *days, "batch-1") for name in sorted(subjects)]
    for each in requests:
        dates = {"received": str(each.received), "due": str(each.due)}
        fresh.ledger.append("request", {"request": each.request, **dates}, NOW)
    fresh.ledger.append("plan", {"batch": "batch-1", "requests": [each.request for each in requests]}, NOW)
    write_requests(fresh, requests)
    before = sets_of(fresh, "batch-1")
    if min(len(names(before.test)), len(names(before.unseen))) < 10:
        with pytest.raises(DataError, match="30 or more in all"):
            rehearsal_sets(fresh, fresh.ledger.read())
        return
    sets = rehearsal_sets(fresh, fresh.ledger.read())
    again = rehearsal_sets(fresh, fresh.ledger.read())
    assert sets == again
    held_out = [*sets.test, *sets.unseen]
    fields = {"asked": "", "candidates": [{"method": "CT", "settings": {}}], "people": hashes(fresh, sets.forget_rows)}
    fresh.ledger.append("rehearse", {**fields, "held_out": hashes(fresh, held_out)}, NOW)
    forget = names(sets.forget_rows)
    assert len(forget) == len(sets.forget) == 5
    assert not forget & subjects
    assert names(sets.retain) == set(TABLE) - forget - subjects
    later = sets_of(fresh, "batch-1")
    assert not names(later.test) & names(sets.test)
    assert not names([*later.test, *later.unseen]) & names(held_out)
    # Nobody changes sides: who measured accuracy does so in the rehearsal, and nobody else is left out.
    assert names(later.test) | names(sets.test) == names(before.test)
    assert names(later.unseen) | names(sets.unseen) == names(before.unseen)
    assert min(map(len, (names(later.test), names(later.unseen), names(sets.test), names(sets.unseen)))) >= 5
    # A second rehearsal has the same held-out people: verdicts do not lose more of them.
    second = rehearsal_sets(fresh, fresh.ledger.read())
    assert (second.test, second.unseen) == (sets.test, sets.unseen)


def test_copies_and_shared_files_are_not_rehearsed_on(roomy, store):
    first = rehearsal_sets(store, store.ledger.read())
    one, two, *_ = sorted({photo.identity for photo in first.forget_rows})
    shutil.copy(roomy / f"photos/{one}/{one}-0.png", roomy / f"photos/{two}/same.png")
    table = roomy / "faces.csv"
    text = table.read_text()
    try:
        table.write_text(f"{text}{two}/same.png,{two},adult\n")
        shared = rehearsal_sets(Store(store.folder), store.ledger.read())
        assert not {one, two} & {photo.identity for photo in shared.forget_rows}
        changed = Store(store.folder)
        with changed.lock():
            ask(changed, one)
        assert two not in {photo.identity for photo in rehearsal_sets(changed, changed.ledger.read()).forget_rows}
    finally:
        table.write_text(text)


def test_too_few_people_are_one_sentence_and_nothing_is_noted(template, tmp_path, executor):
    home = tmp_path / "home"
    shutil.copytree(template, home)
    store, faked = make_store(home, policy=POLICY), executor()
    with pytest.raises(DataError, match="8 people can take part in a rehearsal") as error:
        rehearse(store, TRY)
    assert "\n" not in str(error.value)
    write_pictures(home, TABLE, "faces.csv")
    with pytest.raises(DataError, match="30 or more in all") as error:
        rehearse(Store(store.folder), TRY)
    assert "\n" not in str(error.value)
    with pytest.raises(SettingError, match="5 to 6"):
        rehearse(Store(store.folder), TRY, people=7)
    assert not faked.done
    assert not store.ledger.read().of_kind("rehearse")


# -- the command -------------------------------------------------------------------------------------------------------


def test_a_rehearsal_finds_settings_and_leaves_nothing(store, executor, capsys):
    faked, first = executor(real=("candidate",)), baseline(store)
    command = ["erase", "rehearse", "--store", str(store.folder), "--try", "lr=0.003"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "1 candidate on 6 people" in shown
    assert re.search(r"SCRUB +lr=0.003 msteps=1 +[01]\.\d\d \(", shown)
    assert "Nothing was written" in shown
    assert len(faked.done) == 4
    assert not (store.folder / "rehearsal").exists()
    # From now on, an audit can show less: it has fewer people to compare with.
    kept = len(store.ledger.read().of_kind("rehearse")[0]["held_out"])
    after = baseline(store)
    assert f"{len(STRANGERS)} held-out people ({kept} of them for rehearsals only)" in after[0]
    assert (after[1] == first[1], after[2] == first[2]) == (True, False)
    # Only one half of the held-out people plays unseen; of that half, rehearsals keep a part.
    lines = store.ledger.read()
    unseen = {photo.identity for photo in held_out_halves(store, lines, [])[1]}
    assert 0 < len(unseen) < len(STRANGERS)
    assert f"compares a batch with {len(unseen)} of the held-out" in first[2]
    left = {name for name in unseen if rehearsal_hash(store.key, name) not in kept_for_rehearsals(lines)}
    assert f"compares a batch with {len(left)} of the held-out" in after[2]
    ledger = store.ledger.path.read_text()
    assert not any(name in ledger + shown for name in (*TABLE, *STRANGERS))
    ended = store.ledger.read().of_kind("rehearsed")[0]
    assert [each["settings"] for each in ended["outcomes"]] == [{"lr": 0.003, "msteps": 1}]
    before = files_below(store.folder)
    assert main([*command, "--write"]) == 0
    assert len(faked.done) == 4
    assert capsys.readouterr().out.startswith("As before: 1 candidate")
    assert Store(store.folder).settings.policy.method_settings == {"lr": 0.003, "msteps": 1}
    written = files_below(store.folder)
    assert {name for name in written if written[name] != before.get(name)} == {
        "ledger.head",
        "ledger.jsonl",
        "store.yaml",
    }
    assert main([*command, "--write"]) == 0
    assert files_below(store.folder) == written


def test_a_candidate_without_a_model_is_never_chosen(store, executor):
    executor(without=lambda method: method["init_args"].get("lr") == 0.01)
    result = rehearse(store, TRY, now=NOW)
    assert [each.auc is None for each in result.outcomes] == [False, True]
    assert result.chosen is result.outcomes[0]
    executor(without=lambda method: method["class_path"].endswith("Retrained"))
    with pytest.raises(DataError, match="Without a result"):
        rehearse(store, ["lr=0.1"], now=NOW)  # Without a reference model there is no audit.


def test_where_no_candidate_keeps_the_accuracy_nothing_is_written(store, executor, monkeypatch, capsys):
    executor()
    monkeypatch.setattr(rehearsing, "judge", lambda *_: [outcome("SCRUB", 0.5, 0.95)])
    before = (store.folder / "store.yaml").read_bytes()
    assert main(["erase", "rehearse", "--store", str(store.folder), "--try", "lr=1", "--write"]) == 4
    assert "Retrain instead" in capsys.readouterr().out
    assert (store.folder / "store.yaml").read_bytes() == before
    assert not store.ledger.read().of_kind("policy")
    with pytest.raises(SettingError, match="Retrain instead"):
        write_policy(store, rehearse(store, ["lr=1"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lrr=0.1"], "SCRUB has no such setting. Did you mean 'lr'"),
        (["lr"], "expected KEY=VALUE,VALUE such as lr=0.003"),
        (["lr=0.1,0.1"], "names a value twice"),
        (["lr=0.1", "--try", "lr=0.2"], "varied twice"),
        (["lr=fast"], "takes no such value"),
        (["lr=-1"], "must not be negative"),
        (["lr=.inf"], "not a finite number"),
        (["lr=!!python/object/apply:os.system [ls]"], "takes no such value"),
        (["--help=1"], "expected one argument"),
        (["help=1"], "no such setting"),
        (["config=/etc/passwd"], "no such setting"),
        (["original=/etc/passwd"], "follows from the store"),
        (["backbone=resnet50"], "follows from the store"),
        (["temperature=2", "--method", "SCRUB", "CT"], "CT has no such setting"),
        (["lr=0.1", "--method", "Scrub"], "there is no method 'Scrub'"),
        (["lr=0.1", "--method", "Retrained"], "nothing to rehearse"),
        (["lr=0.1", "--method", "LoTUS"], "a store does not have"),
        (["lr=0.1", "--people", "0"], "5 to 6"),
    ],
)
def test_hostile_values_are_one_message_before_anything_is_trained(store, executor, capsys, arguments, message):
    faked, before = executor(), files_below(store.folder)
    with suppress(SystemExit):  # argparse's own messages.
        assert main(["erase", "rehearse", "--store", str(store.folder), "--try", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.rstrip().count("\n") == 0 or "usage:" in error
    assert not faked.done
    assert {name: data for name, data in files_below(store.folder).items() if name != ".lock"} == {
        name: data for name, data in before.items() if name != ".lock"
    }


def test_the_route_of_retraining_is_told_and_rehearsed_all_the_same(roomy, tmp_path, executor, judged, capsys):
    folder = new_store(roomy, tmp_path, Policy(references=3)).folder
    executor()
    assert rehearsing.route_note(Store(folder)) == ""
    (folder / "store.yaml").write_text((folder / "store.yaml").read_text().replace("route: auto", "route: retrain"))
    amended(folder)
    assert main(["erase", "rehearse", "--store", str(folder), "--try", "lr=0.01"]) == 0
    assert capsys.readouterr().out.startswith("The policy retrains, which is exact and needs no settings")


# -- kills -------------------------------------------------------------------------------------------------------------


def kinds(store: Store) -> list[str]:
    return [entry["kind"] for entry in store.ledger.read().entries]


def test_a_rehearsal_that_is_killed_anywhere_goes_on(store, executor, judged, monkeypatch):
    faked = executor(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        rehearse(store, TRY, now=NOW)
    assert (store.folder / "rehearsal").exists()
    more = executor()
    with monkeypatch.context() as patch:
        patch.setattr(rehearsing, "judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rehearse(store, TRY, now=NOW)
    assert len(faked.done) == 2
    assert len(more.done) == 3  # Finished runs are not repeated.
    with monkeypatch.context() as patch:
        patch.setattr(rehearsing, "shred_folder", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rehearse(store, TRY, now=NOW)
    assert (store.folder / "rehearsal").exists()
    result = rehearse(store, TRY, now=NOW)
    assert result.repeated
    assert len(more.done) == 3
    assert not (store.folder / "rehearsal").exists()
    assert kinds(store) == ["init", "rehearse", "rehearsed"]
    with monkeypatch.context() as patch:
        patch.setattr(rehearsing, "durable_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_policy(store, result, NOW)
    again = Store(store.folder)
    assert declared_settings(again)
    write_policy(again, rehearse(again, TRY, now=NOW), NOW)
    assert kinds(store) == ["init", "rehearse", "rehearsed", "policy"]
    assert declared_settings(Store(store.folder))
    assert Store(store.folder).settings.policy.method_settings["lr"] == result.chosen.candidate.settings["lr"]


def test_a_request_of_somebody_in_a_rehearsal_leaves_no_trace(roomy, store, executor):
    """The rehearsal is interrupted, with a cache and weights on the disk; then one of its people asks."""
    executor(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        rehearse(store, TRY, now=NOW)
    work = store.folder / "rehearsal"
    sets = rehearsal_sets(store, store.ledger.read())
    (work / "cache").mkdir()
    np.save(work / "cache/pixels-16-0.npy", pixels_of(sets.forget_rows, store.settings))
    assert list(work.rglob("last.ckpt"))
    name = sorted(names(sets.forget_rows))[0]
    assert any(name.encode() in data for data in files_below(work).values())
    ask(store, name)
    batch = fake_run(store)
    assert purge_batch(store, batch, now=NOW).left == []
    assert not files_below(work)
    wanted = {name.encode()}
    for path in (roomy / "photos" / name).iterdir():
        digests = digests_of(path.read_bytes())
        wanted |= {each.encode() for each in digests} | {bytes.fromhex(each) for each in digests}
    left = [path for path, data in files_below(store.folder).items() if any(each in data for each in wanted)]
    assert left == []


def test_somebody_who_asks_after_the_rehearsal_is_not_rehearsed_on_again(store, executor, judged):
    executor()
    first = rehearse(store, TRY, now=NOW)
    name = next(each for each in TABLE if rehearsal_hash(store.key, each) in first.begun["people"])
    ask(store, name)
    second = rehearse(store, TRY, now=NOW)
    assert not second.repeated
    assert rehearsal_hash(store.key, name) not in second.begun["people"]
    assert second.begun["held_out"] == first.begun["held_out"]


# -- policy, evidence and certificate ----------------------------------------------------------------------------------


def change_margin(folder: Path, margin: str) -> Store:
    path = folder / "store.yaml"
    path.write_text(re.sub(r"^  margin: .*$", f"  margin: {margin}", path.read_text(), flags=re.MULTILINE))
    return amended(folder)


def test_settings_that_were_found_are_declared_and_changed_margins_are_not(store, executor, judged):
    executor()
    write_policy(store, rehearse(store, TRY, now=NOW), NOW)
    assert declared_settings(store)
    assert store.settings.policy.margin == POLICY.margin
    assert not declared_settings(change_margin(store.folder, "0.2"))
    assert declared_settings(change_margin(store.folder, "0.1"))
    # A rehearsal does not declare what was changed before it.
    changed = change_margin(store.folder, "0.3")
    write_policy(changed, rehearse(changed, ["lr=0.02"], now=NOW), NOW)
    assert changed.settings.policy.method_settings["lr"] == 0.02
    assert not declared_settings(changed)
    # Nor does it declare settings that were found from changed ones, until it is repeated from declared ones.
    declared = store.settings
    for kept, is_declared in (({"msteps": 1, "lr": 0.5}, False), (POLICY.method_settings, True)):
        policy = replace(declared.policy, method_settings=kept)
        (store.folder / "store.yaml").write_bytes(settings_text(replace(declared, policy=policy)))
        again = amended(store.folder)
        write_policy(again, rehearse(again, ["lr=0.02"], now=NOW), NOW)
        assert declared_settings(again) == is_declared
    lines = len(kinds(store))
    write_policy(again, rehearse(again, ["lr=0.02"], now=NOW), NOW)
    assert len(kinds(store)) == lines


def test_the_certificate_says_how_the_settings_were_found(store, executor):
    executor()
    asked = ask(store, TABLE[0], TABLE[1])
    plan(store, measure=False, now=NOW)
    result = rehearse(store, TRY, now=NOW)
    write_policy(store, result, NOW)
    evidence = run(store, now=NOW).evidence
    words = "chosen among 2 candidates on 5 rehearsal people, who are neither the people erased nor those compared with"
    assert evidence["method"]["found"] == words
    assert evidence["limits"] == []
    compared = evidence["findings"][0]
    assert compared["people"] == len(asked)
    purge_batch(store, accepted_risk="a test", now=NOW)
    certificate = release(store, now=NOW)
    folder = certificate.folder
    assert certificate.certificate["method"]["found"] == words
    assert words in " ".join((folder / "certificate.html").read_text().split())
    assert any("unbroken chain" in sentence for sentence in verify(folder / "certificate.json"))
    assert "rehearse" in (folder / "ledger.jsonl").read_text()
    # One of the rehearsal people asks later: the settings were found on the person, and the next verdict says so.
    ask(store, next(each for each in TABLE if rehearsal_hash(store.key, each) in result.begun["people"]))
    plan(store, measure=False, now=NOW)
    evidence = run(store, now=NOW).evidence
    assert "1 of whom is among the people erased" in evidence["method"]["found"]
    assert any("too favourable" in limit for limit in evidence["limits"])
    assert "found" not in run(store, route="retrain", now=NOW).evidence["method"]
