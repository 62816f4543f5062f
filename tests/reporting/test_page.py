from __future__ import annotations

from gli.reporting.page import environment, render
from gli.reporting.tables import Table

TABLE = "{% from 'parts.html.j2' import table %}{{ table(content, 'Table') }}"


def html_table(content: Table) -> str:
    return environment().from_string(TABLE).render(content=content)


def test_cells_are_escaped_and_marked():
    text = html_table(Table(["<method>"], [["**0.5** (0.4)"], ["*0.4*"], ["a & b*"]]))
    assert '<th scope="col">&lt;method&gt;</th>' in text
    for cell in ("<b>0.5</b> (0.4)", "<u>0.4</u>", "a &amp; b*"):
        assert f'<th scope="row">{cell}</th>' in text
    assert "<td><b>0.5</b></td>" in html_table(Table(["", ""], [["GLI", "**0.5**"]]))
    assert "<b>&lt;i&gt;</b>&lt;" in html_table(Table([""], [["**<i>**<"]]))


def test_a_page_holds_notes_tables_and_figures_in_their_order():
    text = render(
        "report.html.j2",
        title="<MUFAC>",
        data="MUFAC",
        notes=["<b>"],
        methods=Table(["x"], [["1"]]),
        contents="{}",
        runs_svg="drawn runs",
        tables={"A & B": Table(["z"], [["3"]])},
        claims=["1 < 2"],
        figures={"Curves": {"svg": "drawn curves", "caption": "<what>"}},
        runs=Table(["y"], [["2"]]),
        audit=None,
    )
    parts = [
        "<title>&lt;MUFAC&gt;</title>",
        "<h1>MUFAC: unlearning methods compared</h1>",
        "<p>&lt;b&gt;</p>",
        "<b>best</b> and <u>second best</u>",
        '<th scope="row">1</th>',
        "<figure>drawn runs</figure>",
        "<h2>A &amp; B</h2>",
        '<th scope="row">3</th>',
        "<h2>Claims</h2>",
        "<ul><li>1 &lt; 2</li></ul>",
        "<h2>Curves</h2>",
        "<figure>drawn curves<figcaption>&lt;what&gt;</figcaption></figure>",
        "<h2>Runs</h2>",
        '<th scope="row">2</th>',
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert text.count("<h2>") == 5
    assert text.startswith("<!doctype html>")
