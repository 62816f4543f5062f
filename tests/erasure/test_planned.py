"""A store that is planned for erasure: its weights depend on nobody who left, and verify walks them to their roots."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from gli.erasure import cohorts, models, run
from gli.erasure.batch_purge import purge_batch
from gli.erasure.batches import group, route_of
from gli.erasure.certificate import check_lineage, release, verify
from gli.erasure.check import check_files
from gli.erasure.cohorts import NETWORK, assign, cohorts_in, network_path
from gli.erasure.store import Photo, Policy, Store
from gli.errors import DataError, SettingError
from gli.methods.module import LINEAGE
from gli.models.training_images import TRAINING_IMAGES, pack
from gli.system.digest import digest, person_hash
from gli.system.ledger import Lines, sha256_file
from tests.helpers.erasure import NOW, InProcess, ask, files_below, make_store, write_pictures

POLICY = Policy(
    utility_margin=0.95,
    recipe={"epochs": 1, "lr": 0.01, "milestones": []},
    data_settings={"batch_size": 4},
    trainer_settings={"accelerator": "cpu"},
    cohort_images=4,
    served_epochs=1,
)
PLACE = {"root": "photos", "table": "faces.csv", "held_out": "held_out.csv", "weights": "", "cohorts": 3}
#: The people of each cohort, by the key of tests.
COHORTS = (
    ("anna", "emil", "frida", "mia"),
    ("hanna", "nils"),
    ("ben", "carla", "dora", "gustav", "olga", "paul"),
)
#: Who was erased in each batch, and by which route: people of two cohorts, then another one of the first.
BATCHES = ((("anna", "ben"), "cohorts"), (("emil",), "drop"))


def home_of(home: Path, template: Path, noisy: str = "") -> Path:
    """Write photographs and tables; those of one person may show noise."""
    shutil.copytree(template, home)
    write_pictures(home, [name for names in COHORTS for name in names], "faces.csv")
    rows = (home / "faces.csv").read_text().splitlines(keepends=True)
    (home / "faces.csv").write_text("".join(row for row in rows if "emil-1" not in row))  # A single photograph.
    for number, path in enumerate(sorted((home / "photos" / noisy).iterdir()) if noisy else ()):
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return home


def planned(**changes) -> Store:
    """Create a store without a classifier in the current folder, and train its networks."""
    store = make_store(Path(), **{**PLACE, "policy": POLICY, **changes})
    with store.lock():
        run.teach_first(store, NOW)
    return Store(store.folder)


def erased(store: Store, people: tuple[str, ...], route: str) -> dict:
    """Erase people, and return the certificate of the batch."""
    with store.lock():
        ask(store, *people)
        name = list(group(store, NOW))[-1]
        assert run.run(store, name, route, NOW).answer == "exact by construction"
        assert purge_batch(store, name, now=NOW).left == []
        folder = release(store, name, formats=("torch",), now=NOW).folder
    return json.loads((folder / "certificate.json").read_text())


@pytest.fixture(scope="module")
def worlds(template, tmp_path_factory):
    """A home with two batches; and the weights of the first in another world, where anna's photographs are noise."""
    root = tmp_path_factory.mktemp("worlds")
    with mock.patch.object(models, "make_executor", return_value=InProcess()):
        with chdir(home_of(root / "plain", template)):
            store = planned()
            networks = {entry["file"]: entry for entry in store.ledger.read().of_kind(NETWORK)}
            certificates = [erased(store, *batch) for batch in BATCHES]
        with chdir(home_of(root / "noisy", template, "anna")):
            store = planned()
            # Killed when everything is trained and one network is in the ledger.
            copy = mock.patch.object(cohorts, "durable_copy", side_effect=[None, KeyboardInterrupt])
            with mock.patch.object(run, "provide"), copy, pytest.raises(KeyboardInterrupt):
                erased(store, *BATCHES[0])
            store = Store(store.folder)
            noisy = erased(store, *BATCHES[0])
            check_files(store)
        yield root / "plain", networks, certificates, noisy


@pytest.fixture
def home(worlds, tmp_path, monkeypatch) -> Path:
    shutil.copytree(worlds[0], tmp_path / "planned")
    monkeypatch.chdir(tmp_path / "planned")
    return tmp_path / "planned"


def test_released_weights_are_the_same_whatever_the_photographs_showed(worlds):
    """The other run was killed, and had to train all networks of its cohorts."""
    *_, certificates, noisy = worlds
    assert certificates[0]["weights"]["before"] != noisy["weights"]["before"]
    assert certificates[0]["weights"]["after"] == noisy["weights"]["after"]
    assert certificates[0]["files"]["model.pt"] == noisy["files"]["model.pt"]


def test_networks_of_cohorts_that_nobody_left_are_used_as_they_are_and_others_are_purged(worlds):
    plain, before, certificates, _ = worlds
    store = Store(plain / "erasures")
    networks = {entry["weights"]: entry for entry in store.ledger.read().of_kind(NETWORK)}
    used = [[each["weights"] for each in one["lineage"] if not each["from"]] for one in certificates]
    assert [len(each) for each in used] == [3, 2]
    names = [{networks[each]["file"] for each in those} for those in used]
    assert len(before.keys() & names[0]) == 1  # That of the second cohort; two were trained again.
    assert names[1] < names[0]  # One was left out.
    seen = [{each for file in those for each in networks[file]["people"]} for those in used]
    assert {*seen[1]} == {person_hash(store.key, name) for name in (*COHORTS[1], *COHORTS[2]) if name != "ben"}
    assert sorted(map(sha256_file, (store.folder / "cohorts").iterdir())) == sorted(used[1])
    for path, data in files_below(plain / "erasures").items():
        assert not any(name in data for name in (b"anna", b"ben/", b"emil")), path


def test_certificates_are_exact_and_verify(worlds):
    plain, _, certificates, _ = worlds
    for number, certificate in enumerate(certificates, 1):
        assert certificate["claim"]["class"] == "exact"
        assert "photographs of other people only" in certificate["claim"]["says"]
        folder = plain / f"erasures/releases/batch-{number}"
        passed = verify(folder / "certificate.json", certificate_only=True)
        assert any("trained from scratch, on nobody who was erased" in each for each in passed)
        assert "A new classifier was taught by networks" in (folder / "certificate.html").read_text()
        assert "trained from scratch without" in (folder / "MODEL_CARD.md").read_text()


def test_a_network_that_saw_somebody_erased_is_noticed(home):
    store = Store(Path("erasures"))
    lines = store.ledger.read()
    current = next(iter(lines.of_kind("run")[-1:]))["weights_after"]
    assert check_lineage(lines, current, "drop").startswith("The weights descend from 2 files")
    anna = person_hash(store.key, "anna")
    seen = [{**each, "people": [*each["people"], anna]} if each["kind"] == NETWORK else each for each in lines.entries]
    with pytest.raises(DataError, match="trained on the person of request R-"):
        check_lineage(Lines(seen, 0), current, "drop")
    with pytest.raises(DataError, match="no lineage"):
        check_lineage(Lines([each for each in lines.entries if each["kind"] != NETWORK], 0), current, "drop")
    given = [{**each, "route": "unlearn", "from": None} if each["kind"] == "run" else each for each in lines.entries]
    with pytest.raises(DataError, match="no lineage"):
        check_lineage(Lines(given, 0), current, "cohorts")
    # A network that a backup brings back.
    entry = next(each for each in lines.of_kind(NETWORK) if anna in each["people"])
    network_path(store, entry).write_bytes(b"of a backup")
    with pytest.raises(DataError, match="is not the file that the ledger speaks of"):
        check_files(store)


def test_a_repeated_init_trains_nothing(home):
    store = Store(Path("erasures"))
    before = files_below(store.folder)
    assert run.teach_first(store, NOW).startswith("2 networks of cohorts")
    assert files_below(store.folder) == before


def test_an_exchanged_network_is_refused_and_a_missing_one_is_trained_again(home):
    store = Store(Path("erasures"))
    lines = store.ledger.read()
    found = cohorts_in(store, lines, [each for each in store.photos if each.identity in COHORTS[1]])
    with pytest.raises(SettingError, match="fewer than two networks"):
        cohorts.check_route(store, "cohorts", found)
    path = network_path(store, found[1].network)
    path.write_bytes(b"exchanged")
    with pytest.raises(DataError, match="is not the file that the ledger speaks of"):
        cohorts.provide(store, found, home / "run")
    path.unlink()
    assert cohorts_in(store, lines, found[1].photos)[1].network is None


def test_a_classifier_with_a_hidden_leak_is_not_kept(home):
    """A network that learnt somebody else's photographs, or one that nobody knows, or a start that is no network."""
    store, originals = Store(Path("erasures")), home / "run/originals"
    originals.mkdir(parents=True)
    own = {0: cohorts.Cohort(store.photos[:2], None), 1: cohorts.Cohort(store.photos[2:4], None)}

    def kept(first: list[Photo], others: list[Photo], **more) -> list[str]:
        roles = {}
        for number, photos in enumerate((first, own[1].photos)):
            path = originals / f"cohort_table-{number}.ckpt"
            torch.save({TRAINING_IMAGES: pack(np.array([each.digest.encode() for each in photos]))}, path)
            roles[f"retain/{number}"] = sha256_file(path)
        images = pack(np.array([each.digest.encode() for each in [*own[0].photos, *own[1].photos, *others]]))
        torch.save({LINEAGE: {**roles, **more}, TRAINING_IMAGES: images}, home / "served.ckpt")
        return cohorts.keep(store, "batch-3", home / "served.ckpt", home / "run", own, NOW)

    leaks = (
        (own[0].photos + store.photos[4:5], [], {}),
        (own[0].photos, store.photos[4:5], {}),
        (own[0].photos, [], {"retain/2": "0" * 64}),
        (own[0].photos, [], {"original": sha256_file(store.current)}),
    )
    for first, others, more in leaks:
        with pytest.raises(DataError, match="it is not exact"):
            kept(first, others, **more)
    assert len(kept(own[0].photos, [])) == 2


def test_cohorts_follow_from_the_keyed_hashes_of_those_who_are_left(home):
    store = Store(Path("erasures"))
    lines, before = store.ledger.read(), Lines([], 0)

    def groups(photos: list[Photo], noted: Lines = before) -> list[set[str]]:
        assigned = assign(store, noted, photos)
        people = {cohorts.known_as(store, photo): photo.identity for photo in photos}
        return [
            {people[name] for name, each in assigned.items() if each == number}
            for number in sorted({*assigned.values()})
        ]

    assert groups(store.photos) == [set(each) for each in COHORTS]
    without = [each for each in store.photos if each.identity != "nils"]
    # Two photographs are left in the second cohort: it joins the next one. Others stay where they are.
    assert groups(without) == [set(COHORTS[0]), {"hanna", *COHORTS[2]}]
    # Identical files: nobody is taught by a network that saw theirs under another name.
    copied = [replace(each, digest="same") if each.identity in ("hanna", "ben") else each for each in store.photos]
    assert [{"hanna", "ben"} <= each for each in groups(copied)].count(True) == 1
    # New people are in a cohort of their own; too few of them join the next one.
    new = [Photo(f"{name}.png", name, ("adult",), digest(name.encode())) for name in ("uwe", "vera", "xenia", "yara")]
    assert groups([*store.photos, *new], lines) == [set(each) for each in COHORTS] + [{"uwe", "vera", "xenia", "yara"}]
    assert groups([*store.photos, *new[:2]], lines)[0] == {*COHORTS[0], "uwe", "vera"}


def test_routes_of_a_store_that_is_planned():
    minutes = {"cohorts": 3.0, "drop": 1.0, "retrain": 10.0, "unlearn": 0.5}
    chosen = [route_of(Policy(retrain_minutes=most), minutes, None, True)[0] for most in (5, 2, 0.5)]
    assert chosen == ["cohorts", "drop", "unlearn"]
    assert route_of(Policy(), {}, None, True)[0] == "cohorts"
    assert route_of(Policy(), {}, None, False)[0] == "retrain"
    assert "exact by design" in route_of(Policy(), minutes, None, True)[1]


def test_stores_that_cannot_be_planned_are_refused(home, store):
    with pytest.raises(SettingError, match="was not planned for erasure"):
        cohorts.check_route(store, "drop", {})
    shutil.rmtree("erasures")
    with pytest.raises(SettingError, match=r"only 2 have policy.cohort_images \(6\)"):
        planned(policy=replace(POLICY, cohort_images=6))
    with pytest.raises(DataError, match="Repeat gli erase init"):
        _ = Store(Path("erasures")).weights
    with pytest.raises(SettingError, match="2 or more"):
        replace(store.settings, cohorts=1).check()
