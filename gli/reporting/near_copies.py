"""The page of near-copies: pairs of pictures side by side, for the person who decides which of them are copies."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from gli.reporting.page import document
from gli.system.files import atomic_write

if TYPE_CHECKING:
    from gli.data.near_copies import NearCopy, Pixels  # gli.data loads torch.

#: Pairs on a page; more would make it too large to open.
MOST_PAIRS = 500
#: Script of the page: choices, and the command that records them.
SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
#: Width and height of a picture on the page, in pixels of the screen.
SHOWN = 128


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
    heads = ("", "picture", "", "found", "", "different bits", "mirrored", "decision")
    lines = [
        f"<tr><td>{number}</td>"
        + "".join(_picture(pixels, identities, files, row) for row in (pair.row, pair.copy_row))
        + f"<td>{pair.distance}</td><td>{'yes' if pair.mirrored else 'no'}</td>"
        + _decision((decisions or {}).get((pair.row, pair.copy_row)), files[pair.copy_row] if files and command else "")
        + "</tr>"
        for number, pair in enumerate(shown, start=1)
    ]
    body = [
        "<h1>Near-copies</h1>",
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        '<div class="wide" role="region" aria-label="Pairs" tabindex="0">'
        f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>",
        f"<tbody>{''.join(lines)}</tbody></table></div>",
        f'<section id="command" data-command="{html.escape(command)}" hidden><h2>Record the decisions</h2>'
        '<p role="status"></p><pre></pre></section>',
    ]
    with atomic_write(path) as temporary:
        # The mode is given when the file is created: there is no moment at which others could read it.
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(document("Near-copies", body, SCRIPT))


def _decision(decision: str | None, file: str) -> str:
    """Return the cell of a decision; the script puts a choice into one that is open and names the file of the copy."""
    choice = f' data-file="{html.escape(file)}"' if decision is None and file else ""
    return f"<td{choice}>{html.escape(decision or 'open')}</td>"


def _picture(pixels: Pixels, identities: npt.NDArray[np.str_], files: Sequence[str] | None, row: int) -> str:
    """Return two table cells: the picture as a data URI, and its person and file."""
    file = io.BytesIO()
    Image.fromarray(pixels[np.array([row])][0]).save(file, "PNG")
    image = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    name = html.escape(str(identities[row]))
    where = f"<br><code>{html.escape(files[row])}</code>" if files is not None else f"<br>row {row}"
    return f'<td><img src="{image}" width="{SHOWN}" height="{SHOWN}" alt="row {row}"></td><td>{name}{where}</td>'
