"""The ledger: any change, removal, repetition or reordering is noticed; a torn last line does not count."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gli.errors import DataError
from gli.system.ledger import (
    AMEND,
    KEY_FILE,
    LEDGER,
    Ledger,
    canonical,
    canonical_before,
    durable_write,
    make_entry,
    open_ledger,
    parse_lines,
)
from tests.helpers.erasure import NOW, chained

COUNT = 6
KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(tmp_path, KEY)
    for number in range(COUNT):
        ledger.append("step", {"value": number, "text": 'ä"\\\n'}, NOW)
    return ledger


def test_lines_are_read_back_in_order(ledger):
    lines = ledger.read()
    assert [entry["value"] for entry in lines.entries] == list(range(COUNT))
    assert [entry["number"] for entry in lines.entries] == list(range(COUNT))
    assert {entry["time"] for entry in lines.entries} == {"2026-11-20T12:00:00Z"}
    assert [entry["value"] for entry in lines.of_kind("step", value=3)] == [3]
    assert lines.of_kind("other") == []


#: A ledger as versions before RFC 8785 wrote it: numbers as in Python, other characters than ASCII escaped.
BEFORE = rb"""{"hash":"b1529528517ab8ab6c04bceae9ede0ff7a83604ea3e75b1adf05f5a60210a383","kind":"init","number":0,"policy":"bb","previous":"0000000000000000000000000000000000000000000000000000000000000000","time":"2026-11-20T12:00:00Z","weights":"aa"}
{"accuracy":[0.5,1.0],"auc":[1.0,1e-05,-0.0],"hash":"2c3677c7d5ccebfeebdc00a1bdca73c340c3da851de53f31c7f4ad524fba7fef","images":[49,24],"kind":"baseline","number":1,"people":[24,12],"previous":"b1529528517ab8ab6c04bceae9ede0ff7a83604ea3e75b1adf05f5a60210a383","time":"2026-11-20T12:00:00Z"}
{"asked":"x","candidates":[{"method":"GLI","settings":{"epochs":3,"lr":1e-06,"note":"zo\u00eb\u2028","wide":1e+16}}],"hash":"ea0b343c96b99fd299fa06be7eadc0681efdeccfa05eb384a94e7b0f1a4150e0","held_out":["bb"],"kind":"rehearse","number":2,"people":["aa"],"previous":"2c3677c7d5ccebfeebdc00a1bdca73c340c3da851de53f31c7f4ad524fba7fef","time":"2026-11-20T12:00:00Z"}
"""  # noqa: E501


def test_a_ledger_of_earlier_versions_is_signed_and_goes_on(tmp_path):
    ledger = Ledger(tmp_path, KEY)
    ledger.path.write_bytes(BEFORE)
    last = parse_lines(BEFORE, "").last_hash
    ledger.head.write_bytes(canonical({"lines": 3, "hash": last}) + b"\n")
    with pytest.raises(DataError, match=r"line 1: was written by an earlier version .* erase amend"):
        ledger.append("step", {"value": 1.0, "text": "zoë"}, NOW)
    amendment = {"reason": "a new version", "before": "", "after": "", "unsigned": 3}
    ledger.append(AMEND, {**amendment, "value": 1.0, "text": "zoë"}, NOW)
    assert ledger.read().unsigned == 3
    data = ledger.path.read_bytes()
    assert data.startswith(BEFORE)
    assert '"text":"zoë"'.encode() in data
    assert b'"value":1}' in data
    assert [entry["number"] for entry in ledger.read().entries] == [0, 1, 2, 3]
    for before, after in (
        (b"[1.0,", b"[1,"),
        (b"1e-05", b"0.00001"),
        (b"-0.0]", b"0]"),
        (b'"value":1}', b'"value":1.0}'),
    ):
        with pytest.raises(DataError, match="changed"):
            parse_lines(data.replace(before, after), "")
    first, second, _, amend = parse_lines(data, "").entries
    for forgery in ([first, second, amend], [{**first, "weights": "cc"}, second, amend]):
        chained(ledger.path, forgery)
        with pytest.raises(DataError, match="made up without the key"):
            ledger.read()


def test_the_form_of_earlier_versions_differs_in_numbers_and_in_characters_only():
    same = {"a": [1, -2, 0.5, 0.123456, 1e-3, None, True], "b": {"Z": '"\\\n\u0001', "a": []}}
    assert canonical(same) == canonical_before(same)
    assert canonical([1.0, -0.0, 1e-06, 1e16, "é"]) == '[1,0,0.000001,10000000000000000,"é"]'.encode()
    assert canonical_before([1.0, -0.0, 1e-06, 1e16, "é"]) == rb'[1.0,-0.0,1e-06,1e+16,"\u00e9"]'


def test_every_byte_counts(ledger):
    data = ledger.path.read_bytes()
    for place in range(0, len(data), 5):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 7)
        ledger.path.write_bytes(changed)
        with pytest.raises(DataError):
            ledger.read()
            # A changed last newline leaves a torn line behind: fewer lines than the head says.
    head = ledger.head.read_bytes()
    ledger.path.write_bytes(data)
    for place in range(0, len(head) - 1, 3):
        changed = bytearray(head)
        changed[place] ^= 1
        ledger.head.write_bytes(changed)
        with pytest.raises(DataError):
            ledger.read()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_lines_cannot_be_removed_repeated_or_moved(ledger, data):
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    original = list(lines)
    place = data.draw(st.integers(0, COUNT - 1))
    kind = data.draw(st.sampled_from(["remove", "repeat", "move", "cut"]))
    line = lines[place]
    if kind == "remove":
        del lines[place]
    elif kind == "repeat":
        lines.insert(data.draw(st.integers(0, COUNT)), line)
    elif kind == "move":
        del lines[place]
        lines.insert(data.draw(st.integers(0, COUNT - 1).filter(lambda other: other != place)), line)
    else:
        lines = lines[:place]
    assert lines != original
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(DataError):
        ledger.read()
    ledger.path.write_bytes(b"".join(original))
    ledger.read()


def test_a_torn_last_line_does_not_count_and_is_replaced(ledger):
    data = ledger.path.read_bytes()
    for torn in (b"{", b'{"hash":"00', data.splitlines()[-1][:-1], b"\0" * 20):
        ledger.path.write_bytes(data + torn)
        lines = ledger.read()
        assert (len(lines.entries), lines.torn) == (COUNT, torn)
    ledger.append("step", {"value": COUNT}, NOW)
    lines = ledger.read()
    assert (lines.entries[-1]["value"], lines.torn) == (COUNT, b"")
    assert ledger.path.read_bytes().startswith(data)


def test_a_head_that_is_one_line_behind_is_what_a_kill_leaves(ledger):
    head = ledger.head.read_bytes()
    ledger.append("step", {"value": COUNT}, NOW)
    ledger.head.write_bytes(head)
    assert len(ledger.read().entries) == COUNT + 1
    ledger.append("step", {"value": COUNT + 1}, NOW)
    assert len(ledger.read().entries) == COUNT + 2
    ledger.head.write_bytes(head)
    with pytest.raises(DataError, match="removed or added"):
        ledger.read()


def test_a_ledger_without_its_head_is_refused(tmp_path):
    ledger = Ledger(tmp_path, KEY)
    assert ledger.read().entries == []
    for _ in range(2):
        ledger.append("step", {}, NOW)
        head = ledger.head.read_bytes()
        ledger.head.unlink()
        with pytest.raises(DataError, match=r"ledger\.head: was changed or is missing"):
            ledger.read()
        ledger.head.write_bytes(head)


@pytest.mark.threat(
    "an insider who can write to the folder",
    "remove, change or add lines with right hashes; make up the head; strip the MACs",
    "accepted it",
    "every step and `--data.erased`",
)
@pytest.mark.threat(
    "an insider who can write to the folder",
    "exchange the key, so that nobody is recognised",
    "accepted it",
    "every step and `--data.erased`",
)
def test_whoever_has_no_key_can_neither_exchange_it_nor_make_up_lines(tmp_path):
    """Each forgery has a right chain and, where a key is needed, that of the attacker."""
    path = tmp_path / KEY_FILE
    durable_write(path, KEY.hex().encode(), 0o600)
    ledger = Ledger(tmp_path, KEY)
    for number in range(COUNT):
        ledger.append("step", {"value": number}, NOW)
    lines, files = ledger.read().entries, [each.read_bytes() for each in (ledger.path, ledger.head)]
    unsigned = [{name: value for name, value in line.items() if name not in ("mac", "key_hash")} for line in lines]
    made_up = make_entry(COUNT, lines[-1]["hash"], lines[0]["time"], "step", {"value": COUNT}, OTHER)
    forgeries = {
        "line 3: was made up without the key": [*lines[:2], *lines[3:]],
        "line 2: was made up without the key": [lines[0], {**lines[1], "value": 7}, *lines[2:]],
        "line 1: was written with another key": lines[1:],
        "line 4: gli did not write it: it has no MAC": [*lines[:3], *unsigned[3:]],
        "line 1: was written by an earlier version": unsigned,
        "head: was made up without the key": lines,
    }
    for message, forgery in forgeries.items():
        chained(ledger.path, forgery)
        with pytest.raises(DataError, match=message):
            open_ledger(tmp_path)
    ledger.path.write_bytes(files[0] + made_up)
    ledger.head.write_bytes(files[1])
    with pytest.raises(DataError, match=f"line {COUNT + 1}: was made up without the key"):
        open_ledger(tmp_path)
    ledger.path.write_bytes(files[0])
    assert open_ledger(tmp_path).read().entries == lines
    path.write_bytes(OTHER.hex().encode())
    with pytest.raises(DataError, match=r"ledger\.jsonl, line 1: was written with another key"):
        open_ledger(tmp_path)
    # With a key of one's own for everything, all of it fits: only a hash that was noted elsewhere contradicts.
    head = f"head {lines[-1]['hash']}"
    assert parse_lines(files[0], "", KEY).shown.endswith(head)
    chained(ledger.path, lines, OTHER)
    assert not open_ledger(tmp_path).read().shown.endswith(head)


@pytest.mark.threat(
    "a sloppy operator",
    "put a folder behind a link, so that a purge leaves it",
    "called it verified",
    "every step",
)
def test_a_store_with_a_link_or_without_a_ledger_is_not_opened(tmp_path, ledger):
    durable_write(tmp_path / KEY_FILE, KEY.hex().encode(), 0o600)
    assert len(open_ledger(tmp_path).read().entries) == COUNT
    (tmp_path / "batches").mkdir()
    for target in (tmp_path / "missing", Path("/tmp")):
        (tmp_path / "batches/link").symlink_to(target)
        with pytest.raises(DataError, match="batches/link: is a link"):
            open_ledger(tmp_path)
        (tmp_path / "batches/link").unlink()
    for path in (ledger.path, ledger.head):
        path.unlink()
    with pytest.raises(DataError, match=r"ledger\.jsonl: is missing or empty"):
        open_ledger(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_ledger_or_one_message(data):
    with suppress(DataError):
        assert (
            parse_lines(data, LEDGER).entries == []
        )  # Only an empty ledger, perhaps with a torn line, is found by chance.


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["number", "previous", "time", "kind", "hash", "x"]), json_values))
def test_any_object_as_a_line_is_refused(contents):
    line = json.dumps(contents, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(DataError):
        parse_lines(line, LEDGER)
