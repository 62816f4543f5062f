"""What the search of a purge finds in bytes and in files, however a trace is written there."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gli.erasure import purge
from gli.erasure.batch_purge import traces_of
from gli.erasure.purge import Traces, people_in, rows_of_pixels, trace_in
from gli.erasure.store import NOTHING, Noted, pixels_of, read_photos, with_digests
from gli.models.training_images import pack, read_training_images
from tests.helpers.erasure import packed, settings_in


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["utf-8", "utf-16-le", "utf-32-le"]))
def test_a_name_between_any_bytes_is_found_unless_it_is_part_of_a_word(before, after, code):
    name = "zoë-7x"
    width = {"utf-8": 1, "utf-16-le": 2, "utf-32-le": 4}[code]
    blank = " ".encode(code)
    traces = Traces([name])
    assert traces.found_in(before + blank + name.encode(code) + blank + after) == "a name"
    assert not Traces(["anna"]).name_in("joanna".encode(code))
    assert len(blank) == width


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"who": "zoë-7x müller"}).encode(),
        yaml.safe_dump({"who": "zoë-7x müller"}).encode(),
        yaml.safe_dump({"who": "a long text that is folded " * 2 + "here zoë-7x müller"}, allow_unicode=True).encode(),
        unicodedata.normalize("NFD", "by zoë-7x müller.").encode(),
        "name;1\nzoë-7x müller;2\n".encode("latin-1"),
        b"GET /photos/zo%C3%AB-7x%20m%C3%BCller/1.png",
    ],
)
def test_a_name_is_found_however_it_is_spelt(data):
    traces = Traces(["zoë-7x müller"])
    assert traces.found_in(data) == "a name"
    assert not traces.found_in(data.replace(b"7x", b"8x"))
    assert Traces(["o'neil & co"]).found_in(b"<td>o&#x27;neil &amp; co</td>") == "a name"


def test_contents_larger_than_a_piece_are_searched_across_its_borders(tmp_path, monkeypatch):
    monkeypatch.setattr("gli.erasure.purge.PIECE", 64)
    monkeypatch.setattr("gli.erasure.purge.OVERLAP", 16)
    noise = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    for start in range(50, 70):
        data = noise[:start] + b" anna " + noise[start:]
        files = {"plain": data, "packed.gz": gzip.compress(data), "packed.npz": packed(a=np.frombuffer(data, np.uint8))}
        for name, contents in files.items():
            (tmp_path / name).write_bytes(contents)
            assert trace_in(tmp_path / name, Traces(["anna"])) == "a name", (name, start)
            assert not trace_in(tmp_path / name, Traces(["berta"]))


def test_damaged_archives_and_pictures_are_searched_as_far_as_they_go(tmp_path):
    whole = gzip.compress(b"anna " + bytes(range(256)) * 200)
    figure = Image.new("RGB", (9, 9)), io.BytesIO()
    figure[0].save(figure[1], "PNG")
    for name, data in {
        "cut.gz": whole[: len(whole) // 2],
        "wrong.zip": b"PK\3\4" + bytes(100) + b" anna ",
        "cut.png": figure[1].getvalue()[:40] + b" anna IEND....",
        "uri.html": b'<img src="data:image/png;base64,AAAAAAAAAAAAAAAAAAA"> anna ',
    }.items():
        (tmp_path / name).write_bytes(data)
        assert trace_in(tmp_path / name, Traces(["anna"])) == "a name", name
    assert trace_in(tmp_path / "nowhere", Traces(["anna"])) == ""


def test_short_names_and_numbers_are_looked_for_in_fields_for_people_only():
    traces = Traces(["7", "jo"])
    assert not traces.found_in(b"7 jo 7 jo")
    for name, text, found in (
        ("a.csv", "n,name\n7,joe\n8,jo\n", ["jo"]),
        ("a.yaml", "people: [7, 8]\nn: 5\n", ["7"]),
        ("a.csv", "trial,loss\n7,jo\n", []),
        ("a.yaml", "blocks: [7]\nfolds: 7\npeople: 7\nidentity: joe\n", []),
        ("a.json", '{"people": {"jo": 1}, "trials": {"7": 1}}', ["jo"]),
        ("a.json", '{"held_out": {"retain": [7], "loss": [7]}}', ["7"]),
        ("a.txt", "with jo\n 7 \n", []),
        ("held_out.txt", "with jo\n 7 \n", ["7"]),
    ):
        assert list(filter(traces.is_name, people_in(name, text))) == found


def test_a_file_of_the_same_name_in_another_folder_is_another_file():
    traces = Traces(["zz"], files=("1.jpg-picture",))
    assert traces.name_in(b"file 1.jpg-picture,")
    assert not traces.name_in(b"ben/1.jpg-picture")


def test_rows_of_a_plain_background_are_not_traces():
    assert rows_of_pixels(np.full((8, 8, 3), 200, np.uint8)) == []
    rows = rows_of_pixels(np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8))
    assert sorted({len(row) for row in rows}) == [16, 48, 64, 192]
    assert len(rows) == 16


def test_photographs_that_are_deleted_are_found_by_what_was_noted(user_home):
    settings, key = settings_in(user_home), bytes(32)
    photos = with_digests(read_photos(Path(settings.table), settings), Path(settings.root))
    anna, others = photos[:2], photos[2:]
    noted = Noted.of(key, anna, settings, sizes=[12])
    traces = traces_of([], ["anna"], user_home / "nowhere", [24], noted=noted)
    pixels = {size: pixels_of(photos, replace(settings, image_size=size)) for size in (12, 24)}
    for size, name in ((12, "pixels-12-aa.npy"), (24, "pixels-24-bb.npy")):
        for rows, found in ((pixels[size], "a photograph"), (pixels[size][2:], "")):
            np.save(user_home / name, rows)
            assert trace_in(user_home / name, traces) == found, (name, found)
    digests = np.array([photo.digest.encode() for photo in photos])
    path = user_home / "digests-cc.npy"
    for rows, found in ((digests, "a digest"), (digests[2:], "")):
        np.save(path, rows)
        assert trace_in(path, traces) == found
    assert traces.found_in(f"x: {anna[0].digest.upper()};".encode()) == "a digest"
    checkpoint = user_home / "last.ckpt"
    torch.save({"state_dict": {}, "training_images": pack(digests)}, checkpoint)
    assert purge._recorded(checkpoint, traces)
    purge._drop_record(checkpoint, traces)
    assert sorted(read_training_images(checkpoint).tolist()) == sorted(photo.digest.encode() for photo in others)
    # Those that are still there are found by themselves.
    assert traces_of(anna, ["anna"], Path(settings.root), [24], noted=noted).gone == NOTHING
