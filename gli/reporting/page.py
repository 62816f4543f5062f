"""The page of a report: one HTML file that needs no other file and no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from gli.reporting.tables import MARKS, Table

#: Style and script of every page; without scripts a page shows the same tables and figures.
STYLE, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
#: What a browser may load for a page: nothing but what is in the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
#: Heading of the table with a row for each run.
RUNS = "Runs"
Section = Table | str | Sequence[str]
#: HTML elements of the marks of the best and the second best.
ELEMENTS = {MARKS[1]: "b", MARKS[2]: "u"}


def page(
    data: str,
    notes: Sequence[str],
    sections: Mapping[str, Section],
    contents: str = "",
    after: Sequence[str] = (),
) -> str:
    """Return the page of a report.

    Args:
        data: Class name of the data module.
        notes: Sentences above the tables.
        sections: Tables, contents of figures (SVG elements and captions) and lists of sentences by their headings; the
            first table needs none (``""``). The script finds the rows of the table :data:`RUNS` by their order, which
            is that of the results.
        contents: ``results.json``, which the script's chart shows; empty for a page without the chart.
        after: HTML elements at the end.
    """
    title = html.escape(data)
    body = [f"<h1>{title}: unlearning methods compared</h1>", *(f"<p>{_note(note)}</p>" for note in notes)]
    for heading, content in sections.items():
        body += [f"<h2>{html.escape(heading)}</h2>"] if heading else []
        if isinstance(content, Table):
            body.append(html_table(content, heading or "Methods", "runs" if heading == RUNS else ""))
        elif isinstance(content, str):
            body.append(f"<figure>{content}</figure>")
        else:
            body.append(f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in content)}</ul>")
        if contents and not heading:
            # A script element ends at "</script"; \u003c is the same character in JSON.
            escaped = contents.replace("<", "\\u003c")
            body += [
                '<section id="explorer" hidden></section>',
                f'<script type="application/json" id="results">{escaped}</script>',
            ]
    return document(f"{title}: unlearning methods", [*body, *after])


def document(title: str, body: Sequence[str], script: str = "") -> str:
    """Return an HTML document that needs no other file; its script makes tables in ``.wide`` sortable.

    Args:
        title: The title, escaped.
        body: Elements of the body.
        script: Script of this page alone, which runs before that of all pages.
    """
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>',
            "<body>",
            *body,
            *([f"<script>{script}</script>"] if script else []),
            f"<script>{SCRIPT}</script>",
            "</body></html>",
            "",
        ]
    )


def _note(text: str) -> str:
    """Return a note in HTML, with the legend of the marks as the marks look."""
    escaped = html.escape(text)
    return escaped.replace("**best**", "<b>best</b>").replace("*second best*", "<u>second best</u>")


def html_table(table: Table, name: str = "Table", identifier: str = "") -> str:
    """Return a table in HTML; ``**best**`` and ``*second best*`` at the start of a cell become bold and underlined.

    Args:
        table: The table. Its first column holds the headings of the rows.
        name: Name of the table for screen readers.
        identifier: The element's ``id``; empty for none.
    """
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in table.headings)
    body = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table.rows
    )
    opening = f'<table id="{identifier}">' if identifier else "<table>"
    # A region that scrolls must be reachable with the keyboard.
    region = f'<div class="wide" role="region" aria-label="{html.escape(name)}" tabindex="0">'
    return f"{region}{opening}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(text: str) -> str:
    escaped = html.escape(text)
    for mark, element in ELEMENTS.items():
        if escaped.startswith(mark):
            inside, _, rest = escaped.removeprefix(mark).partition(mark)
            return f"<{element}>{inside}</{element}>{rest}"
    return escaped
