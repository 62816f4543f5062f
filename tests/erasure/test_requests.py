"""Requests: dates, copies, batches, status, people who return."""

from __future__ import annotations

import csv
import re
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gli.commands import erase
from gli.erasure.batch_purge import purge_batch
from gli.erasure.batches import choose, group, hashes_of, held_out_halves, plan, prepare, requests_of, route_of, sets_of
from gli.erasure.certificate import release
from gli.erasure.check import check_batches
from gli.erasure.models import arguments_of
from gli.erasure.requests import (
    add,
    amendments,
    copies_in_words,
    copies_page,
    decide,
    due_within,
    look_again,
    photos_of,
    read_copies,
    read_requests,
    status,
    wanted,
)
from gli.erasure.run import deleted_before, run
from gli.erasure.store import Policy, Settings, Store, note_departures, read_policy, read_settings, settings_text
from gli.errors import DataError, GLIError, SettingError
from tests.helpers.erasure import (
    HELD_OUT,
    NOW,
    PICTURES,
    TRAINED,
    amended,
    ask,
    chained,
    fake_run,
    make_store,
    save_classifier,
)


def append_rows(table, *rows):
    with table.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_request_has_a_pseudonym_and_a_due_date(store):
    (request,) = ask(store, "anna")
    (read,) = read_requests(store)
    assert (read.request, read.subject, str(read.received), str(read.due)) == (
        request,
        "anna",
        "2026-11-03",
        "2026-12-03",
    )
    assert stat.S_IMODE((store.folder / "requests.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((store.folder / "key").stat().st_mode) == 0o600
    assert "anna" not in store.ledger.path.read_text()
    assert request in store.ledger.path.read_text()


def test_a_request_that_is_there_is_not_added_again(store):
    first = ask(store, "anna")
    before = store.ledger.path.read_bytes()
    assert ask(store, "anna") == first
    assert ask(store, "anna", received="2026-11-04") == first
    assert store.ledger.path.read_bytes() == before


def test_the_earlier_of_two_dates_counts_and_the_request_says_so(store):
    (first,) = ask(store, "anna", received="2026-11-10")
    (later,) = add(store, [("anna", "2026-11-12")], NOW)
    assert later.note == "Was received on 2026-11-10 already: the earlier date counts."
    (earlier,) = add(store, [("anna", "2026-10-30")], NOW)
    assert (earlier.request, str(earlier.due)) == (first, "2026-11-30")
    assert earlier.note == "The earlier date counts (before: received 2026-11-10, due 2026-12-10)."
    assert [str(each.received) for each in read_requests(store)] == ["2026-10-30"]
    (state,) = status(store, NOW)
    assert (state.request, state.received, state.due) == (first, "2026-10-30", "2026-11-30")
    before = store.ledger.path.read_bytes()
    assert [each.note for each in add(store, [("anna", "2026-10-30")], NOW)] == [""]
    assert store.ledger.path.read_bytes() == before
    # Twice in one list.
    (both, again) = add(store, [("ben", "2026-11-04"), ("carla", "2026-11-04"), ("ben", "2026-11-02")], NOW)
    assert (both.subject, str(both.received), again.subject) == ("ben", "2026-11-02", "carla")
    assert len(read_requests(Store(store.folder))) == 3


@pytest.mark.parametrize(
    ("subject", "received", "message"),
    [
        ("ana", "2026-11-03", "Did you mean 'anna'"),
        ("anna", "2026-11-21", "lies in the future"),
        ("anna", "yesterday", "is not a date"),
        (HELD_OUT[0], "2026-11-03", "never trained on"),
    ],
)
def test_wrong_requests_are_one_message_and_nothing_is_added(store, subject, received, message):
    before = store.ledger.path.read_bytes()
    with pytest.raises((DataError, SettingError), match=message):
        add(store, [("ben", "2026-11-03"), (subject, received)], NOW)
    assert read_requests(store) == []
    assert store.ledger.path.read_bytes() == before


def test_a_received_time_counts_in_the_zone_of_the_policy(user_home):
    store = make_store(user_home, policy=Policy(time_zone="Asia/Tokyo"))
    add(store, [("anna", "2026-11-03T20:00:00Z")], NOW)
    assert str(read_requests(store)[0].received) == "2026-11-04"


def test_requests_come_from_the_command_line_or_a_file(tmp_path):
    path = tmp_path / "mail.csv"
    path.write_text("subject,received,note\nanna,2026-11-03,by mail\n")
    assert wanted(path, None, None) == [("anna", "2026-11-03")]
    assert wanted(None, "anna", "2026-11-03") == [("anna", "2026-11-03")]
    for arguments in ((path, "anna", None), (None, "anna", None), (None, None, None)):
        with pytest.raises(SettingError, match="--requests"):
            wanted(*arguments)


def make_store_with_copies(home):
    """Create a store whose table has an identical and a mirrored copy of photographs of anna under other names."""
    photos = home / "photos"
    shutil.copy(photos / "anna/anna-0.png", photos / "ben/same.png")
    with Image.open(photos / "anna/anna-1.png") as image:
        ImageOps.mirror(image).save(photos / "carla/mirrored.png")
    append_rows(home / "faces.csv", ("ben/same.png", "ben", "adult"), ("carla/mirrored.png", "carla", "child"))
    return make_store(home)


def test_identical_files_are_erased_and_near_copies_are_for_a_person_to_decide(user_home):
    store = make_store_with_copies(user_home)
    (request,) = ask(store, "anna")
    copies = {copy.file: (copy.kind, copy.decision) for copy in read_copies(store)}
    assert copies == {"ben/same.png": ("identical", "accept"), "carla/mirrored.png": ("near", "undecided")}
    assert copies_page(store, request).stat().st_mode & 0o077 == 0
    with pytest.raises(SettingError, match="not decided"):
        photos_of(store, read_requests(store))
    with pytest.raises(SettingError, match=r"keeps it"):
        decide(store, ["ben/same.png"], "keep")
    with pytest.raises(SettingError, match=r"Did you mean 'carla/mirrored\.png'"):
        decide(store, ["carla/mirored.png"], "accept")
    assert decide(store, ["all"], "accept") == []
    rows = photos_of(store, read_requests(store))[request]
    assert sorted(photo.file for photo in rows) == [
        "anna/anna-0.png",
        "anna/anna-1.png",
        "ben/same.png",
        "carla/mirrored.png",
    ]
    group(store, NOW)
    sets = sets_of(store, "batch-1")
    assert {photo.identity for photo in sets.retain} == set(TRAINED) - {"anna"}
    assert "same.png" not in " ".join(photo.file for photo in sets.retain)
    assert decide(store, ["carla/mirrored.png"], "keep") == []
    assert len(photos_of(store, read_requests(store))[request]) == 3


def test_copies_that_arrive_later_are_found_and_the_request_is_named(user_home):
    store, photos, table = make_store(user_home), user_home / "photos", user_home / "faces.csv"
    first, second = ask(store, "anna", "hanna")
    assert look_again(store, NOW) == []
    lines = len(store.ledger.read().entries)
    shutil.copy(photos / "anna/anna-0.png", photos / "ben/same.png")
    append_rows(table, ("ben/same.png", "ben", "adult"))
    store = Store(store.folder)
    new = look_again(store, NOW)
    assert [(copy.request, copy.kind, copy.decision) for copy in new] == [(first, "identical", "accept")]
    assert copies_in_words(store, new) == [f"{first}: 1 identical file under other names (ben), to be erased as well."]
    assert look_again(store, NOW) == []
    assert len(store.ledger.read().entries) == lines + 2  # The copy and the look.
    group(store, NOW)
    assert "ben/same.png" in {photo.file for photo in sets_of(store, "batch-1").forget[first]}
    with Image.open(photos / "hanna/hanna-1.png") as image:
        ImageOps.mirror(image).save(photos / "carla/mirrored.png")
    append_rows(table, ("carla/mirrored.png", "carla", "child"))
    store = Store(store.folder)
    with pytest.raises(SettingError, match=f"1 possible copies of the photographs of {second} are not decided"):
        run(store, "batch-1", now=NOW)
    (sentence,) = copies_in_words(store, [copy for copy in read_copies(store) if copy.decision == "undecided"])
    assert sentence.startswith(f"{second}: 1 possible copy under other names (carla) to decide")
    assert copies_page(store, second).exists()
    # A picture that was kept, and is replaced by an identical one, is not for anybody to decide any more.
    decide(store, ["carla/mirrored.png"], "keep")
    shutil.copy(photos / "hanna/hanna-1.png", photos / "carla/mirrored.png")
    store = Store(store.folder)
    assert [(copy.kind, copy.decision) for copy in look_again(store, NOW)] == [("identical", "accept")]
    assert plan(store, measure=False, now=NOW).copies[second] == {("carla", "accept"): 1}


def test_the_commands_say_whose_copies_they_are_and_only_once(user_home, capsys):
    """Two requests, an identical file of the first person, a near-copy of the second that arrives later."""
    shutil.copy(user_home / "photos/anna/anna-0.png", user_home / "photos/ben/same.png")
    append_rows(user_home / "faces.csv", ("ben/same.png", "ben", "adult"))
    folder = make_store(user_home).folder

    def gli(*arguments):
        assert erase.main([*arguments, "--store", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if not line.startswith("ledger: ")]

    (request, identical) = gli("add", "--subject", "anna", "--received", "2026-11-03")
    first = request.split()[0]
    assert identical == f"{first}: 1 identical file under other names (ben), to be erased as well."
    (request,) = gli("add", "--subject", "hanna", "--received", "2026-11-03")
    (again,) = gli("add", "--subject", "hanna", "--received", "2026-11-01")
    assert again.startswith(request.split()[0])
    assert again.endswith("The earlier date counts (before: received 2026-11-03, due 2026-12-03).")
    with Image.open(user_home / "photos/hanna/hanna-1.png") as image:
        ImageOps.mirror(image).save(user_home / "photos/carla/mirrored.png")
    append_rows(user_home / "faces.csv", ("carla/mirrored.png", "carla", "child"))
    (late, *planned) = gli("plan", "--no-measure")
    assert late.startswith(f"{request.split()[0]}: 1 possible copy under other names (carla) to decide")
    assert "(copies: 1 of carla undecided)" in "".join(planned)
    assert gli("add", "--keep", "carla/mirrored.png") == []


def test_photographs_that_are_deleted_before_the_run_leave_what_was_noted(user_home):
    photos, table = user_home / "photos", user_home / "faces.csv"
    store = make_store(user_home)
    first, second = ask(store, "anna", "hanna")
    shutil.copy(photos / "anna/anna-0.png", photos / "ben/same.png")
    rows = [row for row in table.read_text().splitlines() if ",anna," not in row]
    table.write_text("\n".join([*rows, "ben/same.png,ben,adult", ""]))
    with Image.open(photos / "anna/anna-1.png") as image:
        image.save(photos / "carla/saved.bmp")  # Other bytes, the same looks.
    append_rows(table, ("carla/saved.bmp", "carla", "adult"))
    shutil.rmtree(photos / "anna")
    store = Store(store.folder)
    assert [(copy.file, copy.kind) for copy in look_again(store, NOW)] == [
        ("ben/same.png", "identical"),
        ("carla/saved.bmp", "near"),
    ]
    decide(store, ["carla/saved.bmp"], "keep")
    group(store, NOW)
    (photos / "ben/same.png").unlink()
    table.write_text("\n".join([*rows, ""]))
    store = Store(store.folder)
    sets = sets_of(store, "batch-1")
    assert (sets.forget[first], len(sets.forget[second])) == ([], PICTURES)
    hashes = hashes_of(store, "batch-1", sets)[first]
    assert len(hashes["files"]) == PICTURES
    for exact, answer in ((True, "exact by construction"), (False, "cannot tell")):
        (finding,), not_tested = deleted_before(store, store.ledger.read(), sets, exact)
        assert (finding.answer, finding.decides, first in finding.sentence) == (answer, True, True)
        assert not_tested == [f"{first}: 2 of 2 photographs had been deleted before the run."]
    text = table.read_text()
    table.write_text("\n".join([*(row for row in rows if ",hanna," not in row), ""]))
    with pytest.raises(DataError, match="are gone, so that nothing can be unlearned or tested"):
        sets_of(Store(store.folder), "batch-1")
    table.write_text(text)
    # After the purge, the deleted file is recognised under another name.
    purge_batch(Store(store.folder), fake_run(Store(store.folder)), now=NOW)
    note_departures(Store(store.folder), NOW)
    assert Store(store.folder).ledger.read().of_kind("gone", request=first)


def test_held_out_people_who_share_a_file_are_in_one_half(user_home):
    first, *others = HELD_OUT
    for name in others:
        file = f"{name}/shared.png"
        shutil.copy(user_home / f"photos/{first}/{first}-0.png", user_home / "photos" / file)
        append_rows(user_home / "held_out.csv", (file, name, "child"))
    store = make_store(user_home)
    halves = held_out_halves(store, store.ledger.read(), [])[:2]
    assert sorted(len({photo.identity for photo in half}) for half in halves) == [0, len(HELD_OUT)]


@pytest.fixture
def copied(user_home):
    """A store in which a held-out person has a copy of anna's picture, and anna's request; the copy's file."""
    with Image.open(user_home / "photos/anna/anna-1.png") as image:
        ImageOps.mirror(image).save(user_home / f"photos/{HELD_OUT[0]}/copy.png")
    file = f"{HELD_OUT[0]}/copy.png"
    append_rows(user_home / "held_out.csv", (file, HELD_OUT[0], "child"))
    store = make_store(user_home)
    ask(store, "anna")
    return store, file


def compared(store):
    sets = sets_of(store, "batch-1")
    return {photo.identity for photo in (*sets.test, *sets.unseen)}, sets.copied_people


def test_a_copy_under_the_name_of_a_held_out_person_is_found_and_marked(copied):
    store, file = copied
    (copy,) = read_copies(store)
    assert (copy.file, copy.kind, copy.decision) == (file, "near held-out", "undecided")
    assert f"{HELD_OUT[0]} (held out)" in copies_page(store, copy.request).read_text()
    group(store, NOW)
    with pytest.raises(SettingError, match="not decided"):
        sets_of(store, "batch-1")
    decide(store, [file], "keep")
    assert compared(store) == (set(HELD_OUT), 0)


def test_an_accepted_copy_leaves_the_held_out_person_out_of_this_and_of_later_batches(copied):
    store, file = copied
    decide(store, [file], "accept")
    group(store, NOW)
    assert compared(store) == (set(HELD_OUT[1:]), 1)
    name = fake_run(store)
    assert purge_batch(store, name, now=NOW).left == []
    release(store, name, now=NOW)
    ask(store, "ben")
    group(store, NOW)
    sets = sets_of(store, "batch-2")
    assert HELD_OUT[0] not in {photo.identity for photo in (*sets.test, *sets.unseen)}
    # As long as the copy is there, so is the person; once it has gone, it must not return.
    table, root = Path(store.settings.table), store.root
    kept = [line for line in table.read_text().splitlines() if ",anna," not in line]
    table.write_text("\n".join([*kept, ""]))
    store = Store(store.folder)
    assert not note_departures(store, NOW).of_kind("gone")
    held_out = Path(store.settings.held_out)
    with_copy = held_out.read_text()
    held_out.write_text("\n".join([line for line in with_copy.splitlines() if not line.startswith(file)] + [""]))
    assert note_departures(Store(store.folder), NOW).of_kind("gone")
    held_out.write_text(with_copy)
    with pytest.raises(DataError, match="has returned"):
        note_departures(Store(store.folder), NOW)
    assert (root / file).is_file()


def test_nobody_who_was_erased_or_is_in_the_table_is_held_out_later(user_home):
    store = make_store(user_home)
    ask(store, "anna")
    purge_batch(store, fake_run(store), now=NOW)
    before = (user_home / "held_out.csv").read_text()
    append_rows(user_home / "held_out.csv", ("ben/ben-0.png", "ben", "adult"))
    with pytest.raises(DataError, match="must never have been in training"):
        note_departures(Store(store.folder), NOW)
    (user_home / "held_out.csv").write_text(before)
    rows = (user_home / "faces.csv").read_text().splitlines()
    (user_home / "faces.csv").write_text("\n".join([*(row for row in rows if ",anna," not in row), ""]))
    append_rows(user_home / "held_out.csv", ("anna/anna-0.png", "anna", "adult"))
    with pytest.raises(DataError, match=r"held_out\.csv, line 26: this person or photograph was erased"):
        note_departures(Store(store.folder), NOW)


def test_requests_are_planned_together_when_they_are_due_together(store):
    early = ask(store, "anna", "ben", received="2026-09-01")
    late = ask(store, "carla", received="2026-11-03")
    batches = group(store, NOW)
    assert {name: sorted(each.request for each in members) for name, members in batches.items()} == {
        "batch-1": sorted(early),
        "batch-2": late,
    }
    more = ask(store, "dora", received="2026-11-05")
    assert sorted(each.request for each in group(store, NOW)["batch-2"]) == sorted(late + more)
    before = store.ledger.path.read_bytes()
    group(store, NOW)
    assert store.ledger.path.read_bytes() == before


def test_retain_is_the_table_minus_open_requests_minus_everybody_erased_before(store):
    ask(store, "anna", received="2026-08-01")
    ask(store, "ben", received="2026-11-03")
    group(store, NOW)
    first = sets_of(store, "batch-1")
    assert {photo.identity for photo in first.forget_rows} == {"anna"}
    assert {photo.identity for photo in first.retain} == set(TRAINED) - {"anna", "ben"}
    assert first.left_out == PICTURES
    assert first.manifests["images_before"] - first.manifests["images_after"] == PICTURES
    held_out = {photo.identity for photo in first.test} | {photo.identity for photo in first.unseen}
    assert held_out == set(HELD_OUT)
    data = prepare(store, store.batch("batch-1") / "work", first)
    tables = (store.batch("batch-1") / "work/assignment.csv").read_text()
    assert "anna" not in tables
    assert "ben" not in tables
    assert data["classes"] == ["adult", "child"]


def test_a_plan_shows_who_how_many_and_the_route(store):
    ask(store, "anna")
    result = plan(store, measure=False, now=NOW)
    assert (result.batch, result.route) == ("batch-1", "retrain")
    assert list(result.photographs.values()) == [PICTURES]
    assert plan(store, measure=False, now=NOW) == result
    with pytest.raises(SettingError, match="no batch 'other'"):
        plan(store, "other", measure=False)
    with pytest.raises(SettingError, match="not the name of a batch"):
        plan(store, "../../etc", measure=False)


def test_the_route_is_retraining_wherever_the_policy_allows_it():
    policy = Policy(retrain_minutes=60)
    assert route_of(policy, {"retrain": 59.0})[0] == "retrain"
    assert route_of(policy, {"retrain": 61.0})[0] == "unlearn"
    assert route_of(policy, {})[0] == "retrain"
    assert route_of(policy, {"retrain": 1.0}, "unlearn")[0] == "unlearn"
    assert route_of(replace(policy, route="unlearn"), {"retrain": 1.0})[0] == "unlearn"
    with pytest.raises(SettingError, match="references is 2"):
        replace(policy, references=2).check()


def test_status_has_one_line_per_request_and_fails_when_one_is_due(store):
    ask(store, "anna", received="2026-10-25")
    ask(store, "ben", received="2026-11-03")
    states = status(store, NOW)
    assert [(state.due, state.left, state.state) for state in states] == [
        ("2026-11-25", 5, "open"),
        ("2026-12-03", 13, "open"),
    ]
    assert all("anna" not in state.line and "ben" not in state.line for state in states)
    assert states[0].line.endswith("due in 5 days")
    assert [len(due_within(states, text)) for text in ("4d", "5d", "2w")] == [0, 1, 2]
    overdue = status(store, datetime(2026, 12, 4, tzinfo=UTC))
    assert [state.left for state in overdue] == [-9, -1]
    assert len(due_within(overdue, "0d")) == 2
    fake_run(store)
    assert [state.state for state in status(store, NOW)] == ["run", "run"]


def test_of_released_batches_the_last_is_released_again(store, monkeypatch):
    ask(store, "anna", received="2026-08-01")
    ask(store, "ben")
    group(store, NOW)
    monkeypatch.setattr("gli.erasure.batches.step_of", lambda lines, batch: "released")
    assert choose(store, None, ("purged", "released")) == "batch-2"
    with pytest.raises(SettingError, match="No batch is planned or run: gli erase plan comes first"):
        choose(store, None, ("planned", "run"))


def test_only_one_batch_is_on_its_way(store):
    ask(store, "anna", received="2026-08-01")
    ask(store, "ben")
    fake_run(store)
    assert choose(store, None, ("run",)) == "batch-1"
    with pytest.raises(SettingError, match="Purge and release it before batch-2"):
        run(store, "batch-2")


def test_people_who_are_held_out_are_not_in_the_table(user_home):
    append_rows(user_home / "held_out.csv", ("anna/anna-0.png", "anna", "adult"))
    with pytest.raises(DataError, match=r"line 26: this person is in"):
        make_store(user_home)
    text = (user_home / "held_out.csv").read_text().replace(",anna,", ",somebody,")
    (user_home / "held_out.csv").write_text(text)
    with pytest.raises(DataError, match=r"line 26: this file is in"):
        make_store(user_home)


def test_a_classifier_of_people_is_refused(user_home):
    append_rows(user_home / "faces.csv", ("ben/ben-0.png", "ben", "anna"))
    with pytest.raises(DataError, match="is also the name of a person"):
        make_store(user_home)


def test_init_again_changes_nothing_and_other_settings_are_refused(user_home):
    store = make_store(user_home)
    before = store.ledger.path.read_bytes(), (store.folder / "key").read_bytes()
    again = make_store(user_home)
    assert (again.ledger.path.read_bytes(), again.key.hex().encode() + b"\n") == before
    with pytest.raises(SettingError, match="other settings"):
        make_store(user_home, image_size=32)
    (user_home / "other").mkdir()
    (user_home / "other/file").touch()
    from gli.erasure.store import create
    from tests.helpers.erasure import settings_in

    with pytest.raises(SettingError, match="is not empty"):
        create(user_home / "other", settings_in(user_home), user_home / "classifier.pth")


def test_settings_are_as_written_or_one_message_names_the_one_that_is_wrong(user_home):
    store = make_store(user_home, policy=Policy(retrain_minutes=30, method_settings={"lr": 1, "class_path": "x"}))
    assert settings_text(store.settings) == (store.folder / "store.yaml").read_bytes()
    path = user_home / "policy.yaml"
    for text, message in (
        ("margn: 1", "no setting 'margn'. Did you mean 'margin'"),
        ("months: many", "months is 'many'; expected int"),
        ("route: fast", "route is 'fast'; expected one of 'auto', 'cohorts', 'drop', 'retrain', 'unlearn'"),
        ("method_settings:", "method_settings is null; expected names with values"),
        ("margin: 0.5", "margin is 0.5; it must lie between"),
        ("[1]", "holds no settings"),
    ):
        path.write_text(text)
        with pytest.raises(GLIError, match=re.escape(message)):
            read_policy(path)
    text = (store.folder / "store.yaml").read_text()
    (store.folder / "store.yaml").write_text(re.sub(r"^backbone: .*\n", "", text, flags=re.M))
    with pytest.raises(DataError, match="'backbone' is missing"):
        Store(store.folder)


def test_a_key_that_others_may_read_is_refused(store):
    (store.folder / "key").chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        Store(store.folder)


@pytest.mark.threat(
    "a sloppy operator",
    "lose or edit a row of `requests.csv` or `copies.csv`",
    "accepted it",
    "every step, with the row and the command that writes it again",
)
def test_the_private_lists_are_views_of_the_ledger(user_home):
    """Any difference is an error that names the row and the command that repairs it."""
    store = make_store_with_copies(user_home)
    first, second = ask(store, "anna", "dora")
    decide(store, ["carla/mirrored.png"], "accept")
    group(store, NOW)
    requests, copies = store.folder / "requests.csv", store.folder / "copies.csv"
    good = {path: path.read_text() for path in (requests, copies)}
    lines = {path: text.splitlines(keepends=True) for path, text in good.items()}
    row = {request: next(line for line in lines[requests] if line.startswith(request)) for request in (first, second)}
    repair = "gli erase add --subject NAME --received 2026-11-03"
    for path, text, message in (
        (requests, None, f"requests.csv: the row of the request .* is missing. Write it again: {repair}"),
        (requests, good[requests].replace(row[first], ""), f"the row of the request {first} is missing"),
        (requests, good[requests].replace("anna", "emil"), "requests.csv, line .: was changed.* then write it again"),
        (
            requests,
            good[requests].replace("2026-12-03", "2027-12-03", 1),
            "line 2: the ledger has 2026-11-03 2026-12-03",
        ),
        (requests, good[requests].replace("batch-1", "batch-2", 1), "line 2: the ledger has .* batch-1 for this"),
        (requests, f"{good[requests]}R-0,emil,2026-11-03,2026-12-03,\n", "line 4: the ledger has no such request"),
        (copies, None, f"copies.csv: 2 copies of the request {first} missing.* {repair}"),
        (copies, "".join(lines[copies][:2]), f"copies.csv: 1 copy of the request {first} missing"),
        (copies, good[copies].replace(",near,accept", ",near,keep"), "line 3: the decision is 'keep', but 'accept' in"),
        (copies, good[copies].replace(",near,accept", ",identical,accept"), "line 3: the ledger has no such copy"),
        (copies, good[copies].replace("carla/", "emil/"), "line 3: the ledger has no such copy"),
    ):
        path.unlink() if text is None else path.write_text(text)
        commands = [lambda: status(store, NOW), lambda: sets_of(store, "batch-1")]
        if "the row of" in message or "no such" in message:
            commands.append(lambda: ask(store, "hanna"))
        for command in commands:
            with pytest.raises(DataError, match=message):
                command()
        assert len(store.ledger.read().of_kind("request")) == 2
        if "no such" not in message and "was changed" not in message:  # Those need their row removed first.
            ask(store, "anna", "dora")
            decide(store, ["carla/mirrored.png"], "accept")
        if "was changed" in message:
            path.write_text(good[path].replace(row[first], ""))
            ask(store, "anna")
        for each, contents in good.items():
            if "no such" in message:
                each.write_text(contents)
            assert sorted(each.read_text().splitlines()) == sorted(contents.splitlines()), message
    assert len(sets_of(store, "batch-1").forget[first]) == 4


def test_a_store_of_an_earlier_version_is_signed_and_goes_on(user_home):
    photos = user_home / "photos"
    shutil.copy(photos / "anna/anna-0.png", photos / "ben/same.png")
    append_rows(user_home / "faces.csv", ("ben/same.png", "ben", "adult"))
    store = make_store(user_home)
    ask(store, "anna")
    group(store, NOW)
    entries = [entry for entry in store.ledger.read().entries if entry["kind"] != "copies"]
    strip = [{name: value for name, value in entry.items() if name not in ("mac", "key_hash")} for entry in entries]
    chained(store.ledger.path, strip)
    with pytest.raises(DataError, match=r"line 1: was written by an earlier version .* erase amend"):
        Store(store.folder)
    with pytest.raises(SettingError, match="without names of people"):
        amended(store.folder, "asked by Anna")
    store = amended(store.folder, "a new version of gli")
    (sentence,) = amendments(store.ledger.read().of_kind("amend"))
    assert sentence.startswith("On 2026-11-20 the first 3 lines of the ledger were signed")
    with pytest.raises(SettingError, match="nothing to amend"):
        amended(store.folder)
    assert len(sets_of(store, "batch-1").forget_rows) == PICTURES + 1
    purge_batch(store, fake_run(store), now=NOW)
    certificate = release(store, now=NOW)
    assert certificate.certificate["amended"] == [sentence]
    assert f"<b>Amended:</b> {sentence}" in (certificate.folder / "certificate.html").read_text()


@pytest.mark.threat(
    "an insider who can write to the folder",
    "exchange the current weights, or those of a batch",
    "accepted it",
    "every use, by the SHA-256 in the ledger",
)
def test_the_current_weights_are_those_of_the_ledger(user_home):
    store = make_store(user_home)
    good = store.weights.read_bytes()
    save_classifier(store.current, seed=7)
    for use in (
        lambda: store.weights,
        lambda: status(store),
        lambda: arguments_of(store, store.settings.policy.declared),
    ):
        with pytest.raises(DataError, match=r"current\.pt: is not the classifier that the ledger names"):
            use()
    store.current.write_bytes(good)
    ask(store, "anna")
    name = fake_run(store)
    model = store.batch(name) / "model.pt"
    new = model.read_bytes()
    model.write_bytes(good)
    for use in (lambda: purge_batch(store, name, now=NOW), lambda: check_batches(store)):
        with pytest.raises(DataError, match=r"model\.pt: is not the file that the ledger speaks of"):
            use()
    model.write_bytes(new)
    purge_batch(store, name, now=NOW)
    assert store.weights.read_bytes() == new
    store.current.write_bytes(good)
    with pytest.raises(DataError, match="is not the classifier that the ledger names"):
        assert store.weights


@pytest.mark.threat(
    "a sloppy operator",
    "edit a setting, such as a margin",
    "accepted it, with a limit in some certificates",
    "every step; after `gli erase amend`, the first lines of every certificate",
)
def test_a_changed_setting_is_refused_until_it_is_noted(user_home):
    store = make_store(user_home)
    path = store.folder / "store.yaml"
    path.write_text(path.read_text().replace("margin: 0.1\n", "margin: 0.49\n"))
    with pytest.raises(DataError, match=r"store\.yaml: was changed since .* gli erase amend --reason"):
        Store(store.folder)
    assert amended(store.folder).settings.policy.margin == 0.49


def test_requests_of_an_unknown_batch(store):
    with pytest.raises(SettingError, match="no open requests"):
        requests_of(store, "batch-9")


def test_mappings_of_a_policy_stay_as_written(tmp_path):
    lines = "method_settings: {lr: 1e-3, code: '007', x: {class_path: no.such.module.Thing}}\nrecipe: {lr: '0.10'}\n"
    (tmp_path / "policy.yaml").write_text(lines)
    policy = read_policy(tmp_path / "policy.yaml")
    assert policy.method_settings == {"lr": "1e-3", "code": "007", "x": {"class_path": "no.such.module.Thing"}}
    contents = {name: "x" for name in ("weights", "weights_sha256", "backbone", "root", "table", "held_out")}
    (tmp_path / "store.yaml").write_bytes(settings_text(Settings(**contents, labels=["a"], policy=policy)))
    assert settings_text(read_settings(tmp_path)) == (tmp_path / "store.yaml").read_bytes()
    (tmp_path / "policy.yaml").write_text("recipe: 3\n")
    with pytest.raises(DataError, match="recipe is 3; expected names with values"):
        read_policy(tmp_path / "policy.yaml")
