"""One person under several spellings of a name: recognised everywhere, and doubtful ones are for a person to decide."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from gli.data.people_lists import refuse_erased
from gli.data.split_plan import SplitSettings, SplitTable, split_plan
from gli.erasure.batch_purge import purge_batch
from gli.erasure.batches import group, hashes_of, sets_of
from gli.erasure.purge import Traces
from gli.erasure.requests import copies_in_words, decide, photos_of, read_copies, read_requests
from gli.erasure.store import Store, note_departures
from gli.errors import DataError, SettingError
from gli.system.digest import folded_name, may_be_doubles, one_spelling, person_hash, person_hashes
from gli.system.ledger import Erased, erased_in, word_hash
from tests.helpers.erasure import NOW, TRAINED, ask, fake_run, make_store

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"
KEY = bytes(32)
#: Spellings that nobody can distinguish by looking.
SAME = (COMPOSED, DECOMPOSED, "Zo\u200b\u00eb", "\ufeffZo\u00eb", "Zo\u00eb\u200d", "Zo\u00eb\ufe0f")


def add_person(home, name, folder, table="faces.csv"):
    """Add two noisy pictures of a person to a table."""
    (home / "photos" / folder).mkdir()
    with (home / table).open("a", encoding="utf-8") as file:
        for number in range(2):
            pixels = np.random.default_rng([*folder.encode(), number]).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / f"photos/{folder}/{number}.png")
            file.write(f"{folder}/{number}.png,{name},adult\n")


def test_spellings_that_look_the_same_are_one():
    assert {one_spelling(name) for name in SAME} == {COMPOSED}
    assert {folded_name(name) for name in (*SAME, COMPOSED.upper(), " zo\u00eb ")} == {"zo\u00eb"}
    assert one_spelling("Anna  Maria") == "Anna Maria"
    assert one_spelling("\u200b") == "\u200b"  # Nothing would be left of it.
    assert len({word_hash(KEY, name) for name in SAME}) == 1
    traces = Traces([COMPOSED])
    assert all(map(traces.is_name, (*SAME, COMPOSED.upper())))
    assert not traces.is_name("Zoe")


def test_names_that_differ_in_case_width_accents_or_alphabet_may_be_doubles():
    for other in ("ANNA", "\u0430nna", "\uff41\uff4e\uff4e\uff41", "\u00e4nna", "\u0391nna", "a\u200bnna"):
        assert may_be_doubles("anna", other), ascii(other)
    assert may_be_doubles("\u0410\u041d\u0422\u041e\u041d", "\u0430\u043d\u0442\u043e\u043d")
    for other in ("hanna", "ana", "anna1", "a nna"):
        assert not may_be_doubles("anna", other)
    assert not may_be_doubles("person1", "personl")


def test_a_hash_of_a_name_as_an_earlier_version_wrote_it_is_recognised():
    for written in (COMPOSED, DECOMPOSED, "Zo\u200b\u00eb"):
        erased = Erased(frozenset(["R"]), {person_hash(KEY, written): ["R"]}, {}, {}, frozenset())
        for name in {written, COMPOSED, DECOMPOSED} if "\u200b" not in written else {written}:
            assert erased.request_of(KEY, name) == "R", (ascii(written), ascii(name))
        assert erased.request_of(KEY, "anna") is None
    assert person_hashes(KEY, "anna") == [person_hash(KEY, "anna")]


def test_somebody_who_was_kept_apart_is_not_erased():
    people = {person_hash(KEY, "anna"): ["R"], person_hash(KEY, "Anna"): ["R"]}
    erased = Erased(frozenset(["R"]), people, {person_hash(KEY, "Anna"): ["R"]}, {}, frozenset())
    assert erased.request_of(KEY, "anna") == "R"
    assert erased.request_of(KEY, "ANNA") == "R"
    assert erased.request_of(KEY, "Anna") is None


def test_one_person_under_two_spellings_is_erased_and_recognised_as_one(user_home):
    add_person(user_home, COMPOSED, "first")
    add_person(user_home, DECOMPOSED, "second")
    store = make_store(user_home)
    (request,) = ask(store, "Zo\u200b\u00eb")
    assert ask(store, DECOMPOSED) == [request]
    assert [each.subject for each in read_requests(store)] == [COMPOSED]
    group(store, NOW)
    sets = sets_of(store, "batch-1")
    assert len(sets.forget[request]) == 4
    assert {photo.identity for photo in sets.retain} == set(TRAINED)
    assert len(hashes_of(store, "batch-1", sets)[request]["people"]) == 2
    # A run of an earlier version, whose audit has both spellings.
    run = store.folder / "rehearsal/version_0"
    (run / "audits").mkdir(parents=True)
    np.savez(run / "audits/people.npz", forget=np.array([DECOMPOSED, "ben"]), unseen=np.array(["carla"]))
    purge_batch(store, fake_run(store), now=NOW)
    assert not run.exists()
    table = user_home / "faces.csv"
    kept = [line for line in table.read_text().splitlines() if not line.startswith(("first/", "second/"))]
    table.write_text("\n".join([*kept, ""]))
    note_departures(Store(store.folder), NOW)
    shutil.copy(user_home / "photos/ben/ben-0.png", user_home / "photos/ben/new.png")
    with (user_home / "photos/ben/new.png").open("ab") as file:
        file.write(b"y")
    for name in (COMPOSED, DECOMPOSED, "ZO\u00cb"):
        table.write_text("\n".join([*kept, f"ben/new.png,{name},adult", ""]), encoding="utf-8")
        with pytest.raises(DataError, match=f"erased by request {request} and has returned"):
            note_departures(Store(store.folder), NOW)
        with pytest.raises(DataError, match=f"erased by request {request}"):
            refuse_erased(store.folder, np.array([name]), np.array([b"0" * 32]))


def test_names_in_data_erased_are_recognised_in_any_spelling():
    names = np.array([*(f"p{number}" for number in range(20)), DECOMPOSED, "ANNA"])
    digests = np.array([b"%032d" % number for number in range(len(names))])
    table = SplitTable(names, names, digests, None)
    sets, warnings = split_plan(table, SplitSettings(erased=[COMPOSED, "anna", "gone"]))
    assert not {20, 21} & set(np.concatenate(list(sets.values())).tolist())
    assert "2 names that differ in case or spelling" in warnings[0]
    assert "1 people who are not in the table" in warnings[1]


def test_possible_doubles_are_for_a_person_to_decide(user_home):
    """The same name in capitals, in the table and among the held-out people; in other letters; one is somebody else."""
    look_alike = "\u0430nna"
    for name, folder, table in (
        ("ANNA", "capitals", "faces.csv"),
        (look_alike, "cyrillic", "faces.csv"),
        ("\u00e4nna", "umlaut", "held_out.csv"),
    ):
        add_person(user_home, name, folder, table)
    store = make_store(user_home)
    (request,) = ask(store, "anna")
    copies = read_copies(store)
    assert {(copy.identity, copy.kind, copy.decision) for copy in copies} == {
        ("ANNA", "name", "undecided"),
        (look_alike, "name", "undecided"),
        ("\u00e4nna", "name held-out", "undecided"),
    }
    sentences = copies_in_words(store, copies)
    assert len(sentences) == 3
    assert f"{request}: ANNA (2 photographs) may be the same person in another spelling: --accept ANNA" in sentences[0]
    with pytest.raises(SettingError, match="by the name of a possible double"):
        photos_of(store, read_requests(store))
    decide(store, [look_alike, "\u00e4nna"], "accept")
    assert decide(store, ["ANNA"], "keep") == []
    assert "1 held-out person left out of the comparison" in copies_in_words(store, read_copies(store))[0]
    group(store, NOW)
    sets = sets_of(store, "batch-1")
    assert len(sets.forget[request]) == 4
    assert "ANNA" in {photo.identity for photo in sets.retain}
    assert not {"\u00e4nna", look_alike} & {photo.identity for photo in (*sets.retain, *sets.test, *sets.unseen)}
    purge_batch(store, fake_run(store), now=NOW)
    erased = erased_in(store.ledger.read())
    names = ("anna", "Anna", look_alike, look_alike.upper(), "ANNA", "hanna")
    assert [erased.request_of(store.key, name) for name in names] == [request] * 4 + [None] * 2
    # Who was kept apart can ask for erasure too.
    assert len(ask(Store(store.folder), "ANNA")) == 1
