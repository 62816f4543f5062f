"""Hostile files: an error in one message or a right result; never a traceback, a path out of the store, or markup."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from gli.erasure.batches import group
from gli.erasure.certificate import FIELDS, SCHEMA, certificate_page, read_certificate, sealed, verify
from gli.erasure.requests import add, read_copies, read_requests, status, wanted
from gli.erasure.store import Policy, Settings, Store, check_batch_name, check_code, read_policy, read_settings
from gli.errors import CheckpointError, DataError, GLIError, SettingError
from gli.models.checkpoints import classifier_state
from gli.system.ledger import canonical, printable, sha256_file
from tests.helpers.erasure import NOW, ask, chained, files_below, make_store, settings_in

EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
NASTY = st.sampled_from(
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "<script>x</script>",
        "{{ 7*7 }}",
        "{% raw %}",
        "\u202e",
        "'; --",
        "=1+1",
        "",
    ]
)
TEXTS = NASTY | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def asked(template, tmp_path_factory) -> Store:
    """A store with a request."""
    home = tmp_path_factory.mktemp("asked") / "home"
    shutil.copytree(template, home)
    store = make_store(home)
    ask(store, "anna")
    return store


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
@EXAMPLES
def test_any_list_of_requests_is_added_or_refused_as_a_whole(asked, pairs):
    before = files_below(asked.folder)
    try:
        add(asked, pairs, NOW)
    except GLIError:
        assert files_below(asked.folder) == before
    else:
        assert all(subject == "anna" for subject, _ in pairs)


@given(st.binary(max_size=120) | st.lists(st.lists(TEXTS, max_size=3), max_size=4).map(str).map(str.encode))
@EXAMPLES
def test_any_file_of_requests_is_read_or_refused(tmp_path, data):
    path = tmp_path / "requests.csv"
    path.write_bytes(data)
    with suppress(GLIError):
        assert all(isinstance(text, str) for pair in wanted(path, None, None) for text in pair)


@given(st.sampled_from(["requests.csv", "copies.csv", "ledger.jsonl", "ledger.head", "store.yaml", "key"]), st.data())
@EXAMPLES
def test_a_store_with_a_damaged_file_is_refused_or_read(asked, name, data):
    path = asked.folder / name
    original = path.read_bytes() if path.exists() else None
    mode = path.stat().st_mode if path.exists() else 0o600
    damaged = data.draw(st.binary(max_size=80) | st.just((original or b"")[: data.draw(st.integers(0, 200))]))
    try:
        path.write_bytes(damaged)
        path.chmod(mode)
        with suppress(GLIError):
            store = Store(asked.folder)
            read_requests(store)
            read_copies(store)
            assert all("anna" not in state.line for state in status(store, NOW))
    finally:
        path.unlink()
        if original is not None:
            path.write_bytes(original)
            path.chmod(mode)


@given(st.dictionaries(st.sampled_from([*Policy.__dataclass_fields__, "x"]), VALUES, max_size=4))
@EXAMPLES
def test_any_policy_is_accepted_or_refused(tmp_path, contents):
    with suppress(yaml.YAMLError):
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(contents), encoding="utf-8", errors="replace")
    with suppress(GLIError):
        assert isinstance(read_policy(tmp_path / "policy.yaml"), Policy)


@given(st.dictionaries(st.sampled_from([*Settings.__dataclass_fields__, "x"]), VALUES, max_size=12))
@EXAMPLES
def test_any_settings_are_read_or_refused(tmp_path, contents):
    with suppress(yaml.YAMLError):
        (tmp_path / "store.yaml").write_text(yaml.safe_dump(contents), encoding="utf-8", errors="replace")
    with suppress(GLIError):
        assert isinstance(read_settings(tmp_path), Settings)


@given(TEXTS)
@EXAMPLES
def test_the_name_of_a_batch_is_never_a_path(asked, name):
    with suppress(SettingError):
        assert check_batch_name(name) == name
        for path in (asked.batch(name), asked.release(name)):
            assert asked.folder.resolve() in path.resolve().parents
            assert len(path.relative_to(asked.folder).parts) == 2


def made_up(draw) -> dict[str, object]:
    """A certificate of the right form with hostile texts in it."""
    text = draw(TEXTS)
    finding = dict.fromkeys(("name", "answer", "sentence"), text) | {"decides": True, "people": 1, "images": 1}
    return {
        "schema": SCHEMA,
        "batch": text,
        "created": text,
        "requests": [{"request": text, "received": text, "due": text, "photographs": text, "tested": text}],
        "route": text,
        "weights": {"before": text, "after": text},
        "files": {},
        "manifest": {text: text},
        "method": {"name": text, "settings": {text: [text]}},
        "versions": {text: text},
        "hardware": text,
        "verdict": {"answer": text},
        "attack": text,
        "amended": [text],
        "claim": dict.fromkeys(("class", "says", "vouched_for", "attacks_known_on", "adversary", "repeat"), text),
        "lineage": [dict.fromkeys(("weights", "how", "from", "images", "manifest"), text) | {"erased": [text]}],
        "backups": [text],
        "key_until": text,
        "findings": [{**finding, "value": None, "low": draw(st.floats(-9, 9)), "high": 1, "margin": 0.1}],
        "not_tested": [text],
        "limits": [text],
        "accepted_risk": text,
        "purge": {"files": 3, "exceptions": [text]},
        "previous": text,
        "signed_by": None,
    }


@given(st.data())
@EXAMPLES
def test_no_text_of_a_certificate_is_markup_on_its_page(data):
    contents = made_up(data.draw)
    page = certificate_page(sealed(contents))
    assert "<script" not in page
    assert str(escape(contents["hardware"])) in page  # As it was written: neither markup nor a template.
    assert page.count("<section>") == 2


@given(st.data())
@EXAMPLES
def test_any_certificate_is_read_or_refused(tmp_path, data):
    contents = {**made_up(data.draw), **data.draw(st.dictionaries(st.sampled_from([*FIELDS, "x"]), VALUES, max_size=3))}
    path = tmp_path / "certificate.json"
    kind = data.draw(st.sampled_from(["sealed", "as it is", "bytes"]))
    try:
        if kind == "sealed":
            path.write_bytes(canonical(sealed(contents)) + b"\n")
        elif kind == "as it is":
            path.write_text(json.dumps(contents), encoding="utf-8", errors="replace")
        else:
            path.write_bytes(data.draw(st.binary(max_size=100)))
    except (ValueError, TypeError):
        return
    with suppress(GLIError):
        read_certificate(path)
        assert all(Path(name).name == name for name in contents["files"])
    with pytest.raises(GLIError):
        verify(path)


@given(st.sampled_from(["request", "received", "due", "batch", "requests", "policy", "weights"]), VALUES, st.booleans())
@EXAMPLES
def test_a_made_up_ledger_whose_hashes_are_right_is_refused_or_read(asked, name, value, gone):
    path, head = asked.ledger.path, asked.ledger.head
    contents = path.read_bytes(), head.read_bytes()
    with suppress(ValueError):  # Numbers that JSON does not have.
        canonical(value)
        try:
            lines = asked.ledger.read().entries
            chained(path, [changed(entry, name, value, gone) for entry in lines], asked.key)
            with suppress(GLIError):
                assert all(isinstance(state.line, str) for state in status(asked, NOW))
                add(asked, [("anna", "2026-11-03")], NOW)
                group(asked, NOW)
        finally:
            path.write_bytes(contents[0])
            head.write_bytes(contents[1])


def changed(fields, name, value, gone):
    """Fields of a line in which one is removed, or has another value."""
    rest = {each: value for each, value in fields.items() if each != name}
    return rest if gone or name not in fields else {**rest, name: value}


@pytest.mark.parametrize("target", ["/dev/zero", "fifo"])
def test_a_certificate_or_weights_without_an_end_are_refused(tmp_path, target):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "certificate.json").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match="not a plain file"):
        verify(tmp_path / "certificate.json")
    with pytest.raises(DataError, match="not a plain file"):
        sha256_file(tmp_path / "certificate.json")


def test_a_name_does_not_control_the_terminal():
    assert printable("zoë \x1b[31m \u202e\n") == "zoë \\x1b[31m \\u202e\\n"


def test_a_list_that_names_a_person_many_times_is_one_request(asked):
    assert len(add(asked, [("anna", "2026-11-03")] * 50_000 + [("anna", "2026-11-04")], NOW)) == 1


def headers() -> st.SearchStrategy[bytes]:
    """Files that begin like safetensors, with lies about their length and contents."""
    length = st.integers(0, 2**64 - 1) | st.integers(0, 200)
    text = st.dictionaries(TEXTS, VALUES, max_size=2).map(lambda value: json.dumps(value, default=str).encode())
    return st.builds(lambda size, text, rest: size.to_bytes(8, "little") + text + rest, length, text, st.binary())


@given(headers(), st.sampled_from(["weights.safetensors", "weights.pt"]))
@EXAMPLES
def test_any_file_of_weights_is_read_or_refused(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    with suppress(CheckpointError):
        assert isinstance(classifier_state(tmp_path / name), dict)


@pytest.mark.threat(
    "an insider who can write to the folder",
    "name a module in the settings",
    "imported it",
    "every step that would import it, unless the command line has `--allow-code`",
)
def test_no_module_is_imported_that_the_command_line_does_not_allow(user_home, monkeypatch):
    (user_home / "own_code.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(user_home))
    callback = {"callbacks": [{"class_path": "own_code.Spy"}]}
    for changes in (
        {"backbone": "own_code:build"},
        {"policy": Policy(trainer_settings=callback)},
        {"policy": Policy(method_settings={"teacher": {"class_path": "own_code.deep.Teacher"}})},
    ):
        changed = settings_in(user_home, **changes)
        with pytest.raises(SettingError, match="--allow-code own_code"):
            check_code(changed, ["other"])
        assert check_code(changed, ["own_code"]) == {"own_code": sha256_file(user_home / "own_code.py")}
    assert (
        check_code(settings_in(user_home, policy=Policy(trainer_settings={"logger": "lightning.x.Logger"})), []) == {}
    )
    with pytest.raises(SettingError, match="there is no module 'no_code'"):
        check_code(settings_in(user_home, backbone="no_code:build"), ["no_code"])
    folder = make_store(user_home, policy=Policy(route="retrain", trainer_settings=callback)).folder
    assert Store(folder, allow_code=["own_code"]).code.keys() == {"own_code"}
    with pytest.raises(SettingError, match="imports code that is not gli's"):
        Store(folder, allow_code=[])
    assert Store(folder).code == {}  # Steps that import nothing need no leave.
