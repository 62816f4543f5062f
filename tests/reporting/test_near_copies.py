"""The page of near-copies: readable by its owner only, complete in one file, and names cannot become markup."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gli.data.near_copies import NearCopy
from gli.reporting import page as pages
from gli.reporting.page import write_near_copies_page

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
PAIRS = [NearCopy(3, 0, 1, True), NearCopy(20, 0, 2, False)]


def _write(folder: Path, **settings: object) -> str:
    path = folder / "near_copies.html"
    names = settings.pop("identities", np.array(["anna", "ben", "carl"]))
    write_near_copies_page(path, settings.pop("pairs", PAIRS), PIXELS, names, **settings)  # type: ignore[arg-type]
    return path.read_text()


def test_only_the_owner_can_read_the_page(tmp_path):
    before = os.umask(0)
    try:
        _write(tmp_path)
        _write(tmp_path)  # Also where it replaces an earlier page.
    finally:
        os.umask(before)
    assert (tmp_path / "near_copies.html").stat().st_mode & 0o777 == 0o600


def test_the_page_shows_the_pictures_themselves_and_the_decisions(tmp_path):
    text = _write(tmp_path, files=["a/1.jpg", "b/1.jpg", "c/1.jpg"], decisions={(0, 1): "accept"})
    assert "personal data" in text
    assert not re.search(r"(src|href)=.?https?:", text)  # Nothing is loaded from elsewhere.
    assert "default-src 'none'" in text
    images = [base64.b64decode(code) for code in re.findall(r'src="data:image/png;base64,([^"]+)"', text)]
    shown = [np.asarray(Image.open(io.BytesIO(image))) for image in images]
    assert [next(row for row in range(3) if (PIXELS[row] == image).all()) for image in shown] == [0, 1, 0, 2]
    rows = re.findall(r"<tr><td>\d.*?</tr>", text)
    assert "b/1.jpg" in rows[0]
    assert "accept" in rows[0]
    assert "open" in rows[1]


def test_a_long_list_is_cut_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_PAIRS", 1)
    text = _write(tmp_path)
    assert text.count("<img") == 2
    assert "2 pairs" in text
    assert "The first 1 are shown" in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags += [tag, *(name for name, _ in attributes)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=6, max_size=6))
def test_names_and_files_are_never_markup(tmp_path_factory, texts):
    def tags(page: str) -> list[str]:
        parser = _Tags()
        parser.feed(page)
        return parser.tags

    folder = tmp_path_factory.mktemp("page")
    plain = _write(folder, identities=np.array(["a"] * 3), files=["b"] * 3, decisions={(0, 1): "c"}, command="d")
    names = [text.encode(errors="replace").decode() + "<script>" for text in texts]
    page = _write(
        folder, identities=np.array(names[:3]), files=names[3:], decisions={(0, 1): names[0]}, command=names[1]
    )
    assert tags(page) == tags(plain)
