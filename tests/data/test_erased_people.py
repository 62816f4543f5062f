"""A table with somebody whom a store of erasure requests has erased is refused by the name of the request."""

from __future__ import annotations

import shutil

import pytest

from gli.data import FaceTable
from gli.erasure.batch_purge import purge_batch
from gli.errors import DataError
from tests.helpers.erasure import NOW, ask, fake_run, make_home, make_store


def test_an_erased_person_or_photograph_is_refused_by_the_name_of_the_request(tmp_path):
    home = make_home(tmp_path / "home")
    store = make_store(home)
    (request,) = ask(store, "anna")
    fake_run(store)

    def splits():
        settings = {"root": str(home / "photos"), "csv": str(home / "faces.csv"), "cache_dir": str(home / "cache")}
        data = FaceTable(**settings, image_size=24, test_share=0.3, unseen_share=0.3, erased=str(store.folder))
        data.setup()
        return data.splits

    assert set(splits()) == {"retain", "forget", "test", "unseen"}
    purge_batch(store, now=NOW)
    with pytest.raises(DataError, match=f"Row 1 of the table .* {request}"):
        splits()
    table = home / "faces.csv"
    rows = [line for line in table.read_text().splitlines() if ",anna," not in line]
    table.write_text("\n".join([*rows, ""]))
    splits()
    shutil.copy(home / "photos/anna/anna-0.png", home / "photos/ben/holiday.png")
    table.write_text("\n".join([*rows, "ben/holiday.png,ben,adult", ""]))
    with pytest.raises(DataError, match=f"Row 15 of the table .* {request}"):
        splits()
    (store.folder / "ledger.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="is damaged"):
        splits()
