"""Write the table of who can do what to a store of erasure requests into SECURITY.md, from the tests that show it.

    python docs/threats.py

A test has a row for each mark ``pytest.mark.threat(who, can, earlier, noticed)``: who attacks, what they can do, what
earlier versions did about it, and what notices it now.
"""

from __future__ import annotations

import ast
from pathlib import Path

from gli.system.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "SECURITY.md"
HEADINGS = ("who", "can", "earlier versions", "now it is noticed by", "test")
#: Attackers in the order of the table, and what else is said of them.
WHO = {
    "a sloppy operator": "",
    "an insider who can write to the folder": " and cannot read the key",
    "an insider with the key": "",
    "a third party with a release": "",
}


def threats() -> list[tuple[str, ...]]:
    """Return the rows of the table: who, can, earlier, noticed, and the name of the test.

    Raises:
        ValueError: If a test names an attacker whom ``WHO`` does not have.
    """
    rows = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                marks = [each for each in node.decorator_list if ast.unparse(each).startswith("pytest.mark.threat(")]
                rows += [(*map(ast.literal_eval, mark.args), node.name) for mark in marks if isinstance(mark, ast.Call)]
    if unknown := {row[0] for row in rows} - WHO.keys():
        raise ValueError(f"attackers that docs/threats.py does not know: {', '.join(sorted(unknown))}")
    return sorted(rows, key=lambda row: (list(WHO).index(row[0]), row[1]))


def table() -> str:
    """Return the table in Markdown; an attacker is named in the first of several rows."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    named = ""
    for who, can, earlier, noticed, test in threats():
        first = f"**{who}**{WHO[who]}" if who != named else ""
        lines.append(f"| {first} | {can} | {earlier} | {noticed} | `{test}` |")
        named = who
    return "\n".join(lines)


def page() -> str:
    """Return SECURITY.md with the table of the present tests."""
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(f"| {HEADINGS[0]} | {HEADINGS[1]} |")
    return text[:start] + table() + text[text.index("\n\n", start) :]


if __name__ == "__main__":
    write_text(PAGE, page())
