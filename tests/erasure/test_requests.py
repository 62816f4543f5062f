"""Requests: dates, copies, batches, status, people who return."""

from __future__ import annotations

import csv
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from PIL import Image, ImageOps

from gli.erasure.batches import choose, group, prepare, requests_of, sets_of
from gli.erasure.plan import plan, route_of
from gli.erasure.requests import add, copies_page, decide, photos_of, read_copies, read_requests, wanted
from gli.erasure.settings import Policy
from gli.erasure.status import due_within, status
from gli.erasure.store import Store
from gli.errors import DataError, SettingError
from tests.helpers.erasure import HELD_OUT, NOW, PICTURES, TRAINED, ask, fake_run, make_store


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


def test_identical_files_are_erased_and_near_copies_are_for_a_person_to_decide(user_home):
    photos = user_home / "photos"
    shutil.copy(photos / "anna/anna-0.png", photos / "ben/same.png")
    with Image.open(photos / "anna/anna-1.png") as image:
        ImageOps.mirror(image).save(photos / "carla/mirrored.png")
    append_rows(user_home / "faces.csv", ("ben/same.png", "ben", "adult"), ("carla/mirrored.png", "carla", "child"))
    store = make_store(user_home)
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
    data = prepare(store, "batch-1", first)
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


def test_only_one_batch_is_on_its_way(store):
    ask(store, "anna", received="2026-08-01")
    ask(store, "ben")
    fake_run(store)
    assert choose(store, None, ("run",)) == "batch-1"
    from gli.erasure.run import run

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


def test_a_key_that_others_may_read_is_refused(store):
    (store.folder / "key").chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        Store(store.folder)


def test_requests_requested_by_hand_are_noticed(store):
    ask(store, "anna")
    path = store.folder / "requests.csv"
    path.write_text(path.read_text().replace("anna", "ben"))
    with pytest.raises(DataError, match="line 2: was changed"):
        read_requests(store)


def test_requests_of_an_unknown_batch(store):
    with pytest.raises(SettingError, match="no open requests"):
        requests_of(store, "batch-9")
