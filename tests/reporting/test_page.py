from __future__ import annotations

from gli.reporting.page import html_table, page
from gli.reporting.tables import Table


def test_cells_are_escaped_and_marked():
    text = html_table(Table(["<method>"], [["**0.5** (0.4)"], ["*0.4*"], ["a & b*"]]))
    assert '<th scope="col">&lt;method&gt;</th>' in text
    for cell in ("<b>0.5</b> (0.4)", "<u>0.4</u>", "a &amp; b*"):
        assert f'<th scope="row">{cell}</th>' in text
    assert "<td><b>0.5</b></td>" in html_table(Table(["", ""], [["GLI", "**0.5**"]]))


def test_a_page_holds_notes_tables_and_figures_in_their_order():
    sections = {
        "": Table(["x"], [["1"]]),
        "A & B": "<svg>drawn</svg>",
        "Claims": ["1 < 2"],
        "Runs": Table(["y"], [["2"]]),
    }
    text = page("MUFAC", ["**best** and *second best*", "<b>"], sections)
    parts = [
        "<title>MUFAC: unlearning methods</title>",
        "<h1>MUFAC: unlearning methods compared</h1>",
        "<p><b>best</b> and <u>second best</u></p>",
        "<p>&lt;b&gt;</p>",
        '<th scope="row">1</th>',
        "<h2>A &amp; B</h2>",
        "<figure><svg>drawn</svg></figure>",
        "<h2>Claims</h2>\n<ul><li>1 &lt; 2</li></ul>",
        "<h2>Runs</h2>",
        '<th scope="row">2</th>',
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert text.count("<h2>") == 3
