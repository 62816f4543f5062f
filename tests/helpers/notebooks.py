"""Run the code of a notebook, without a kernel: the cells one after the other in one namespace."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any


def run_notebook(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Run the code cells of a notebook.

    Args:
        path: The notebook.

    Returns:
        The names that it defined, and for each code cell the value of its last expression (None where there is none),
        which a notebook would show.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]), str(path))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(path), "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), str(path), "eval"), names) if last else None)
    return names, shown
