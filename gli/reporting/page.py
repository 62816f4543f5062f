"""Pages: HTML files that need no other file and no network, made from the templates of this folder by Jinja."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gli.reporting.tables import MARKS, markdown, plain_markdown, without_html
from gli.system.files import atomic_write, json_text

if TYPE_CHECKING:
    from gli.data.near_copies import NearCopy, Pixels  # gli.data loads torch.

TEMPLATES = Path(__file__).parent
#: Pairs on a page of near-copies; more would make it too large to open.
MOST_PAIRS = 500


@cache
def environment(autoescape: bool = True) -> Environment:
    """Return the Jinja environment of every page; without ``autoescape``, that of Markdown.

    Its filters are ``number`` (three decimals; empty where there is no number), ``marked`` (the best score in bold, the
    second best underlined), ``plain`` (a label or a name in Markdown) and ``markdown`` (a table in it); its function
    ``file`` returns the text of a file of this folder as it is.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": _number, "marked": _marked, "plain": plain_markdown, "markdown": markdown}
    made.globals["file"] = _file
    return made


def render(template: str, **values: Any) -> str:
    """Return a page: a template of this folder, filled in. No value that is no Markup becomes an element of HTML."""
    if template.endswith(".html.j2"):
        return environment().get_template(template).render(**values)
    return without_html(environment(autoescape=False).get_template(template).render(**values))


def json_element(contents: Mapping[str, Any]) -> Markup:
    """Return values as the text of a script element, without the ``<`` that could end it."""
    return Markup(json_text(contents).replace("<", "\\u003c"))


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _marked(cell: str) -> Markup:
    """Return a cell in HTML; ``**best**`` and ``*second best*`` at its start become bold and underlined."""
    match = re.match(r"(\*\*?)(.+?)\1", cell)
    if match is None:
        return escape(cell)
    element = {MARKS[1]: "b", MARKS[2]: "u"}[match[1]]
    return Markup("<{0}>{1}</{0}>{2}").format(Markup(element), match[2], cell[match.end() :])


def _file(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def write_near_copies_page(
    path: Path,
    pairs: Sequence[NearCopy],
    pixels: Pixels,
    identities: npt.NDArray[np.str_],
    *,
    files: Sequence[str] | None = None,
    decisions: Mapping[tuple[int, int], str] | None = None,
    command: str = "",
    note: str = "",
) -> None:
    """Write a page with pairs of pictures, which only the owner of the file can read (file mode 600).

    Args:
        path: The HTML file.
        pairs: Pairs of :func:`~gli.data.near_copies.find_near_copies`; the first 500 are shown.
        pixels: The pixels, such as ``data.pixels``.
        identities: Name of the person of each row.
        files: File name of each row.
        decisions: What was decided (``accept``, ``keep``) by ``(row, copy_row)``; the others are shown as open.
        command: Command that records decisions, with ``--accept FILE`` or ``--keep FILE`` after it; empty for none.
            With scripts, the open pairs can be decided on the page, which completes the command.
        note: What else the reader should know before deciding.
    """
    shown = pairs[:MOST_PAIRS]
    notes = [
        "This page holds photographs and names of people: personal data. Do not send or upload it, and delete it when "
        "the decisions are made.",
        f"{len(pairs)} pairs of pictures look alike. On the left is a person to erase. accept: the right one is a "
        "copy, and is erased as well; keep: it is another photograph.",
        *([f"Write: {command} --accept FILE (or --keep FILE)."] if command else []),
        *([note] if note else []),
        *([f"The first {MOST_PAIRS} are shown, the most similar first."] if len(shown) < len(pairs) else []),
    ]
    pictures = {
        row: {"src": _data_uri(pixels, row), "name": str(identities[row]), "file": files[row] if files else None}
        for pair in shown
        for row in (pair.row, pair.copy_row)
    }
    page = render(
        "near_copies.html.j2",
        title="Near-copies",
        notes=notes,
        pairs=shown,
        pictures=pictures,
        decisions=decisions or {},
        command=command,
    )
    with atomic_write(path) as temporary:
        # The mode is given when the file is created: there is no moment at which others could read it.
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(page)


def _data_uri(pixels: Pixels, row: int) -> str:
    """Return a picture as the address of an image."""
    from PIL import Image  # A report without faces starts sooner without it.

    file = io.BytesIO()
    Image.fromarray(pixels[np.array([row])][0]).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
