"""The page of a report: one HTML file that needs no other file and no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from gli.report.tables import MARKS, Table

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #ffffff; --line: #d0d7de; --soft: #f3f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --back: #0f1419; --line: #30363d; --soft: #182028; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  margin: 0 auto; padding: 1rem; max-width: 80rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .5rem; text-align: right; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; min-width: 4rem; }
th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--soft); }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; padding: .5rem; overflow-x: auto; }
figure svg { max-width: 100%; min-width: 34rem; height: auto; display: block; margin: auto; }
code { font-size: .9em; }
"""
#: HTML elements of the marks of the best and the second best.
ELEMENTS = {MARKS[1]: "b", MARKS[2]: "u"}


def page(data: str, notes: Sequence[str], sections: Mapping[str, Table | str], after: Sequence[str] = ()) -> str:
    """Return the page of a report.

    Args:
        data: Class name of the data module.
        notes: Sentences above the tables.
        sections: Tables, and figures as SVG elements, by their headings; the first table needs none (``""``).
        after: HTML elements at the end.
    """
    title = html.escape(data)
    body = [f"<h1>{title}: unlearning methods compared</h1>", *(f"<p>{_note(note)}</p>" for note in notes)]
    for heading, content in sections.items():
        body += [f"<h2>{html.escape(heading)}</h2>"] if heading else []
        body.append(html_table(content) if isinstance(content, Table) else f"<figure>{content}</figure>")
    return document(f"{title}: unlearning methods", [*body, *after])


def document(title: str, body: Sequence[str]) -> str:
    """Return an HTML document that needs no other file.

    Args:
        title: The title, escaped.
        body: Elements of the body.
    """
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>',
            "<body>",
            *body,
            "</body></html>",
            "",
        ]
    )


def _note(text: str) -> str:
    """Return a note in HTML, with the legend of the marks as the marks look."""
    escaped = html.escape(text)
    return escaped.replace("**best**", "<b>best</b>").replace("*second best*", "<u>second best</u>")


def html_table(table: Table) -> str:
    """Return a table in HTML; ``**best**`` and ``*second best*`` at the start of a cell become bold and underlined."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in table.headings)
    body = "\n".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    escaped = html.escape(text)
    for mark, element in ELEMENTS.items():
        if escaped.startswith(mark):
            inside, _, rest = escaped.removeprefix(mark).partition(mark)
            return f"<{element}>{inside}</{element}>{rest}"
    return escaped
