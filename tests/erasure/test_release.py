"""From a batch that has run to a certificate that verifies; nothing that was changed does."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gli.commands.erase import main
from gli.erasure import certificate as verifying
from gli.erasure.batch_purge import purge_batch
from gli.erasure.certificate import (
    SCHEMAS,
    claim_of,
    in_digits,
    lineage_of,
    load_key,
    problem_of,
    read_certificate,
    release,
    sealed,
)
from gli.erasure.requests import status
from gli.erasure.run import attempts_of, declared_settings, limits_of
from gli.erasure.store import Store
from gli.errors import DataError, SettingError
from gli.models.checkpoints import load_classifier
from gli.system.ledger import canonical, parse_lines
from tests.helpers.erasure import NOW, TRAINED, amended, ask, chained, fake_run, files_below, make_store

FILES = (
    "model.safetensors",
    "certificate.json",
    "ledger.jsonl",
    "purge.json",
    "certificate.sig",
    "MODEL_CARD.md",
    "certificate.html",
)
CHANGES = 2000


def write_keys(folder, name="key"):
    """Write an Ed25519 key pair; return the paths of the private and the public key."""
    key = Ed25519PrivateKey.generate()
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(pem, form, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def released(template, tmp_path_factory):
    """A home with two released and signed batches; folders of the releases."""
    home = tmp_path_factory.mktemp("released") / "home"
    shutil.copytree(template, home)
    store = make_store(home)
    private, _ = write_keys(home)
    folders = []
    for subjects, received in ((("anna", "ben"), "2026-08-01"), (("carla",), "2026-11-03")):
        ask(store, *subjects, received=received)
        fake_run(store, seed=1 + len(folders))
        purge_batch(store, exceptions=[] if folders else ["tape B expires 2027-01-15"], now=NOW)
        until = {"key_until": "2028-01-01"} if received == "2026-08-01" else {}
        folder = release(store, formats=("safetensors", "torch"), key=private, now=NOW, **until).folder
        folders.append(shutil.copytree(folder, home / "deployed" / folder.name))
    return home, folders


@pytest.fixture
def shipped(released, tmp_path):
    """A copy of the second release, as somebody else has it: without the store and its key."""
    shutil.copytree(released[1][1], tmp_path / "shipped")
    return tmp_path / "shipped"


def verify(folder, **arguments):
    return verifying.verify(folder / "certificate.json", **arguments)


def test_a_release_verifies_without_the_store(shipped, released):
    passed = verify(shipped)
    assert len(passed) >= 8
    verify(shipped, weights=shipped / "model.pt")
    verify(shipped, public_key=in_digits(load_key(released[0] / "key.pub", "public")))
    verify(released[1][0])
    store = Store(released[0] / "erasures")
    verify(released[1][0], ledger=store.ledger.path)
    classifier = load_classifier(shipped / "model.pt")
    assert not classifier.training


@pytest.mark.threat(
    "a third party with a release",
    "read names",
    "there are none",
    "",
)
def test_no_released_file_and_no_ledger_names_anybody(released):
    home, folders = released
    for folder in (*folders, home / "erasures"):
        for name, data in files_below(folder).items():
            for person in TRAINED[:3]:
                assert person.encode() not in data, name
                assert person not in name


def test_the_certificate_says_what_was_done(released):
    home, folders = released
    contents = json.loads((folders[0] / "certificate.json").read_bytes())
    assert [each["photographs"] for each in contents["requests"]] == [2, 2]
    assert {each["due"] for each in contents["requests"]} == {"2026-09-01"}
    assert contents["manifest"]["images_before"] - contents["manifest"]["images_after"] == 4
    assert "tape B expires 2027-01-15" in contents["purge"]["exceptions"]
    assert contents["weights"]["before"] != contents["weights"]["after"]
    second = json.loads((folders[1] / "certificate.json").read_bytes())
    assert second["weights"]["before"] == contents["weights"]["after"]
    page = (folders[0] / "certificate.html").read_text()
    assert "not a proof of deletion" in page
    assert contents["claim"]["class"] == "exact"
    assert contents["claim"]["vouched_for"].startswith("signed by the Ed25519 key")
    assert (contents["key_until"], second["key_until"]) == ("2028-01-01", None)
    assert "to be destroyed on 2028-01-01" in page
    assert contents["backups"] == second["backups"] == [{"what": "tape B expires 2027-01-15", "expires": "2027-01-15"}]
    assert {each["tested"] for each in contents["requests"]} == {"not powered"}
    assert any(text.startswith("Not tested: an attacker who") for text in contents["not_tested"])
    (file,) = second["lineage"]
    assert (file["weights"], file["how"], file["from"]) == (second["weights"]["after"], "retrained from scratch", None)
    assert file["manifest"] == second["manifest"]["after"]
    assert file["erased"] == sorted(each["request"] for each in (*contents["requests"], *second["requests"]))
    assert "src=" not in page
    assert 'href="http' not in page
    assert all(state.state == "released" and state.left is None for state in status(Store(home / "erasures"), NOW))


def test_the_weights_of_an_earlier_release_go_with_the_next_purge(released):
    home, folders = released
    left = {path.name for path in (home / "erasures/releases/batch-1").iterdir()}
    assert {path.name for path in folders[0].iterdir()} - left == {"model.safetensors", "model.pt"}
    receipt = json.loads((home / "erasures/batches/batch-2/purge.json").read_bytes())
    assert "store/releases/batch-1/model.safetensors" in {entry["path"] for entry in receipt["files"]}


def test_release_again_changes_nothing(released):
    home, folders = released
    before = files_below(home / "erasures")
    again = release(Store(home / "erasures"), "batch-2", now=NOW)
    assert again.repeated
    assert files_below(again.folder) == files_below(folders[1])
    assert files_below(home / "erasures") == before


@pytest.mark.threat(
    "a third party with a release",
    "change, exchange, add or remove files",
    "partly noticed",
    "`verify`",
)
@pytest.mark.slow
def test_two_thousand_changes_of_a_single_byte_are_all_noticed(shipped, monkeypatch):
    generator = random.Random(0)
    contents = {name: (shipped / name).read_bytes() for name in FILES}
    # Hashing the weights again for each change of another file would only cost time.
    hashed = verifying.sha256_file
    known = {shipped / name: hashed(shipped / name) for name in ("model.safetensors", "model.pt")}
    monkeypatch.setattr(verifying, "sha256_file", lambda path: known.get(path) or hashed(path))
    weights = shipped / "model.safetensors"
    noticed: Counter[str] = Counter()
    for number in range(CHANGES):
        # The weights are large, so hashing them takes most of the time: every fiftieth change is in them.
        name = FILES[0] if number % 50 == 0 else FILES[1 + number % (len(FILES) - 1)]
        data = bytearray(contents[name])
        place = generator.randrange(len(data))
        data[place] = (data[place] + generator.randrange(1, 256)) % 256
        path = shipped / name
        path.write_bytes(data)
        if path == weights:
            known.pop(path)
        with pytest.raises(DataError) as error:
            verify(shipped)
        assert "\n" not in str(error.value)
        noticed[name] += 1
        path.write_bytes(contents[name])
        if path == weights:
            known[path] = hashed(path)
    assert noticed.total() == CHANGES
    assert noticed.keys() == set(FILES)
    verify(shipped)


def test_lines_removed_repeated_or_moved_are_noticed(shipped, released):
    own = shipped / "ledger.jsonl"
    of_store = Store(released[0] / "erasures").ledger
    lines = own.read_bytes().splitlines(keepends=True)
    count = len(lines)
    variants = [lines[:each] + lines[each + 1 :] for each in range(count)]
    variants += [[*lines[: each + 1], *lines[each:]] for each in range(count)]
    variants += [[*lines[:each], lines[each + 1], lines[each], *lines[each + 2 :]] for each in range(count - 1)]
    for variant in variants:
        own.write_bytes(b"".join(variant))
        with pytest.raises(DataError):
            verify(shipped)
    own.write_bytes(b"".join(lines)[:-1])
    with pytest.raises(DataError):
        verify(shipped)
    # The store's ledger goes on behind an earlier release; its head tells when lines are missing at the end.
    folder = shipped.parent / "store"
    folder.mkdir()
    for path in (of_store.path, of_store.head, of_store.path.with_name("key")):
        shutil.copy(path, folder)
    verify(released[1][0], ledger=folder / "ledger.jsonl")
    (folder / "ledger.jsonl").write_bytes(b"".join(of_store.path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="were removed or added"):
        verify(released[1][0], ledger=folder / "ledger.jsonl")


@pytest.mark.threat(
    "a third party with a release",
    "make up a whole release",
    "noticed by the signature",
    "the signature; without one, by nothing",
)
def test_a_signature_of_another_key_or_none_is_noticed(shipped, released, tmp_path):
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(DataError, match="signed by another key"):
        verify(shipped, public_key=in_digits(load_key(other, "public")))
    data = (shipped / "certificate.json").read_bytes()
    (shipped / "certificate.sig").write_bytes(bytes(Ed25519PrivateKey.generate().sign(data)).hex().encode() + b"\n")
    with pytest.raises(DataError, match="is not the signature"):
        verify(shipped)
    (shipped / "certificate.sig").unlink()
    with pytest.raises(DataError, match="cannot be read as a signature"):
        verify(shipped)


@pytest.mark.threat(
    "a sloppy operator",
    "verify a release without weights, with files of something else",
    "called it verified",
    "`verify`",
)
def test_weights_of_another_release_and_missing_files_are_noticed(shipped, released):
    for path in (released[1][0] / "model.pt", shipped / "MODEL_CARD.md", shipped / "purge.json"):
        with pytest.raises(DataError, match="is not a file of weights of this release"):
            verify(shipped, weights=path)
    with pytest.raises(SettingError, match=r"nowhere\.pt: no such file"):
        verify(shipped, weights=shipped / "nowhere.pt")
    for name, make in (("model.onnx", Path.touch), ("link", lambda path: path.symlink_to("model.pt"))):
        make(shipped / name)
        with pytest.raises(DataError, match=f"{name}: is "):
            verify(shipped)
        (shipped / name).unlink()
    with pytest.raises(DataError, match="is not the receipt"):
        verify(shipped, receipt=released[1][0] / "purge.json")
    (shipped / "model.safetensors").unlink()
    assert "Not seen: model.safetensors is missing here." in verify(shipped)  # The state dict is still there.
    kept = (shipped / "model.pt").rename(shipped.parent / "model.pt")
    (shipped / "MODEL_CARD.md").unlink()
    with pytest.raises(DataError, match=r"holds no weights of this release \(model"):
        verify(shipped)
    assert "Not seen: model.pt is missing here." in verify(shipped, certificate_only=True)
    assert "model.pt is a file of this release." in verify(shipped, weights=kept)


@pytest.mark.threat(
    "an insider with the key",
    "make up a ledger that fits; drop a request; find out whether a person they name has asked",
    "the same",
    "only what is kept elsewhere, as above; the last by nothing",
)
def test_a_store_that_was_set_back_contradicts_its_papers(shipped, released, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(released[0] / "erasures", store)
    ledger = Store(store).ledger
    assert "under the key of its store" in " ".join(verify(shipped, ledger=store))
    entries = ledger.read().entries
    chained(ledger.path, [{name: each[name] for name in each if name not in ("mac", "key_hash")} for each in entries])
    with pytest.raises(DataError, match=r"ledger\.jsonl: does not have the line"):  # Other hashes: made up today.
        verify(shipped, ledger=ledger.path)
    first = [entry["kind"] for entry in entries].index("release") + 1
    chained(ledger.path, entries[:first], ledger.key)
    with pytest.raises(DataError, match="was set back to an earlier state"):
        verify(shipped, ledger=store)


def test_a_missing_certificate_is_one_sentence(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "certificate.json")]) == 2
    assert capsys.readouterr().err.endswith("certificate.json: no such file. Nothing was verified.\n")


def test_certificates_of_earlier_forms_are_read_without_the_fields_of_later_ones(shipped):
    path = shipped / "certificate.json"
    contents = json.loads(path.read_bytes())
    for schema, later in zip(list(SCHEMAS)[-2::-1], list(SCHEMAS.values())[:0:-1], strict=True):
        for name in later:
            value = contents.pop(name)
            assert f"'{name}' is missing" in problem_of(contents)
            contents[name] = value
        contents = {name: value for name, value in contents.items() if name not in later}
        contents["schema"] = schema
        path.write_bytes(canonical(sealed(contents)) + b"\n")
        assert read_certificate(path)[0]["schema"] == schema


def test_the_claim_follows_from_findings_and_route():
    def claim(route, *answers, signed_by=None, **values):
        findings = [{"name": "this batch", "answer": each, **values} for each in answers]
        findings.append({"name": "utility", "answer": "cannot tell"})
        method = {"references": 4}
        return claim_of({"findings": findings, "route": route, "method": method, "attack": "RMIA"}, signed_by)

    assert claim("retrain", "exact by construction", "pass")["class"] == "exact"
    assert claim("unlearn", "pass", "pass")["class"] == "tested"
    assert claim("unlearn", "pass", "cannot tell")["class"] == "no evidence found"
    assert claim("unlearn", "cannot tell", value=0.55, low=0.4, high=0.7, margin=0.1)["class"] == "no evidence found"
    assert claim("unlearn", "cannot tell", value=0.57, low=0.52, high=0.62, margin=0.1)["class"] == "cannot tell"
    gap = claim("unlearn", "cannot tell", value=0.97, low=0.0, high=1.0, margin=0.1)
    assert gap["class"] == "cannot tell"
    assert "an AUC of 0.97" in gap["says"]
    assert claim("retrain", "pass", "fail")["class"] == claim("unlearn", "fail")["class"] == "evidence found"
    assert "4 reference models" in claim("unlearn", "pass")["adversary"]
    assert claim("unlearn", "pass")["vouched_for"] == "self-attested: not signed"


def test_the_lineage_goes_back_to_what_a_file_was_made_from():
    entries = [
        {"kind": "init", "weights": "a", "manifest": "m", "images": 9},
        {"kind": "run", "batch": "1", "weights_before": "a", "weights_after": "b", "route": "unlearn"},
        {"kind": "erased", "batch": "1", "request": "R1"},
        {"kind": "run", "batch": "2", "weights_before": "b", "weights_after": "c", "route": "unlearn", "images": 5},
        {"kind": "run", "batch": "2", "weights_before": "b", "weights_after": "d", "route": "retrain", "images": 4},
        {"kind": "erased", "batch": "2", "request": "R2"},
    ]
    chain = lineage_of(entries, "c")
    assert [(each["weights"], each["how"], each["from"]) for each in chain] == [
        ("a", "given", None),
        ("b", "unlearned", "a"),
        ("c", "unlearned", "b"),
    ]
    assert [each["erased"] for each in chain] == [[], ["R1"], []]
    (file,) = lineage_of(entries, "d")
    assert (file["images"], file["erased"]) == (4, ["R1", "R2"])
    assert lineage_of(entries, "unknown") == []


def test_a_forged_certificate_is_not_in_the_ledger(shipped):
    contents = json.loads((shipped / "certificate.json").read_bytes())
    contents["verdict"]["answer"] = "fail"
    (shipped / "certificate.json").write_bytes(canonical(sealed(contents)) + b"\n")
    with pytest.raises(DataError, match="has no line about the release"):
        verify(shipped)


def test_the_copy_of_the_ledger_ends_with_its_release(released):
    for folder in released[1]:
        entries = parse_lines((folder / "ledger.jsonl").read_bytes(), "").entries
        assert entries[-1]["kind"] == "release"


def test_a_verdict_that_is_not_pass_needs_a_reason_that_names_nobody(store):
    ask(store, "anna")
    name = fake_run(store, "cannot tell", attempts=3)
    with pytest.raises(SettingError, match="--accept-risk"):
        purge_batch(store, name)
    with pytest.raises(SettingError, match="names a person"):
        purge_batch(store, name, accepted_risk="Anna, agreed by phone")
    with pytest.raises(SettingError, match="Run it and purge it first"):
        release(store, name)
    with pytest.raises(SettingError, match="cannot be printed"):
        purge_batch(store, name, accepted_risk="written \u202e backwards")
    purge_batch(store, name, accepted_risk="one person is too few", now=NOW)
    with pytest.raises(SettingError, match="names a person"):
        release(store, name, accepted_risk="anna")
    with pytest.raises(SettingError, match="no such format"):
        release(store, name, formats=("pickle",))
    certificate = release(store, name, now=NOW).certificate
    assert certificate["accepted_risk"] == "one person is too few"
    assert certificate["verdict"]["answer"] == "cannot tell"
    assert any("3 different settings" in limit for limit in certificate["limits"])


def test_settings_that_were_changed_later_are_on_the_certificate(store):
    ask(store, "anna")
    path = store.folder / "store.yaml"
    for margin, changed in (("margin: 0.1", False), ("margin: 0.2", True)):
        path.write_text(path.read_text().replace("margin: 0.1\n", f"{margin}\n"))
        store = amended(store.folder) if changed else Store(store.folder)
        limits = limits_of(1, declared_settings(store))
        assert any("changed after it was created" in limit for limit in limits) == changed
    purge_batch(store, fake_run(store), now=NOW)
    assert release(store, now=NOW).certificate["limits"][-1] == limits[0]


def test_markup_in_a_reason_stays_text(store):
    ask(store, "anna")
    name = fake_run(store, "fail")
    reason = "<script>alert(1)</script> {{ 7 * 7 }} & so on"
    purge_batch(store, name, accepted_risk=reason, exceptions=["<img src=x>"], now=NOW)
    page = (release(store, name, now=NOW).folder / "certificate.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }} &amp; so on" in page


def test_weights_that_were_changed_after_the_audit_are_not_released(store):
    ask(store, "anna")
    name = fake_run(store)
    purge_batch(store, name, now=NOW)
    model = store.batch(name) / "model.pt"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not the file that the ledger speaks of"):
        release(store, name)


def test_keys_of_an_earlier_form_are_no_further_settings():
    old, new = [{"key": "a"}, {"key": "b"}], [{"key": "c", "form": 2}]
    assert attempts_of([old[0], *new]) == 1
    assert attempts_of([*old, *new]) == 2
    assert attempts_of([old[0], *new, {"key": "d", "form": 2}]) == 2
