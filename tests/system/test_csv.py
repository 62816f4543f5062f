"""Cells that a spreadsheet would take for a formula are quoted in every CSV file, and read back as they were."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli.erasure.requests import REQUEST_COLUMNS, write_rows
from gli.erasure.store import Photo, names_text, table_text
from gli.reporting.tables import Table, markdown, plain_markdown, without_html
from gli.system.files import FORMULA, csv_text, quote_cell, read_csv, unquote_cell
from tests.helpers.erasure import settings_in

LINK = '=HYPERLINK("http://x.example";"anna")'


@given(st.text(alphabet="'=+-@\t\r0a.5", max_size=8))
def test_no_text_is_a_formula_and_every_text_is_read_back(text):
    quoted = quote_cell(text)
    assert unquote_cell(quoted) == text
    if quoted.startswith(FORMULA):
        float(quoted)  # A number is no formula.


def test_numbers_stay_numbers():
    assert [quote_cell(cell) for cell in (-1.5, "-1.5", "+2", "-1e-3", None, "anna", "-anna")] == [
        *(-1.5, "-1.5", "+2", "-1e-3", None, "anna"),
        "'-anna",
    ]


@pytest.mark.parametrize("name", [LINK, "+1 anna", "-anna", "@anna", "'=anna", "anna"])
def test_what_is_written_holds_no_formula_and_is_read_back(name, tmp_path):
    path, settings = tmp_path / "file.csv", settings_in(tmp_path)
    contents = [
        (table_text([Photo(f"{name}.png", name, (name,))], settings), {"file": f"{name}.png", "identity": name}),
        (names_text("set", {name: "retain"}), {"identity": name, "set": "retain"}),
        (csv_text([("run", "value"), (name, -0.5)], "\n").encode(), {"run": name, "value": "-0.5"}),
    ]
    for text, expected in contents:
        path.write_bytes(text)
        (row,) = read_csv(path, list(expected))
        assert expected.items() <= row.items()
        cells = [cell for line in csv.reader(text.decode().splitlines()) for cell in line]
        assert not [cell for cell in cells if cell.startswith(FORMULA) and cell != "-0.5"]
    write_rows(path, REQUEST_COLUMNS, [["R-1", name, "2026-11-03", "2026-12-03", ""]])
    assert read_csv(path, REQUEST_COLUMNS, exact=True)[0]["subject"] == name


def test_labels_and_names_are_no_html_and_no_links_in_markdown():
    label = "<script>alert(1)</script>|[x](javascript:1)`*"
    for text in (plain_markdown(label), without_html(markdown(Table(("a", label), (("b", label),))))):
        assert "<script" not in text
    assert plain_markdown(label) == "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\[x\\](javascript:1)\\`\\*"
    assert plain_markdown("Wearing_Hat") == "Wearing_Hat"
