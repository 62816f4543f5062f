"""Run the notebooks without a kernel, and write their outputs into them: ``python docs/notebook_output.py``."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gli.system.files import write_text

FOLDER = Path(__file__).parent / "notebooks"


def run_notebook(notebook: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Run the code cells of a notebook one after the other in one namespace.

    Args:
        notebook: A notebook as read from its file.

    Returns:
        The names that it defined; and for each code cell what it printed and the value of its last expression, which a
        notebook would show (None where there is none).
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        tree = ast.parse(source)
        hidden = source.rstrip().endswith(";")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not hidden else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, "notebook", "exec"), names)
            shown = eval(compile(ast.Expression(last.value), "notebook", "eval"), names) if last else None
        outputs.append((printed.getvalue(), shown))
    return names, outputs


def cell_outputs(printed: str, shown: Any) -> list[dict[str, Any]]:
    """Return what a cell printed and showed in the form of a notebook's file."""
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if isinstance(shown, Figure):
        png = io.BytesIO()
        shown.savefig(png, dpi=72)
        data = {"image/png": base64.b64encode(png.getvalue()).decode()}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    elif shown is not None:
        data = {"text/plain": repr(shown).splitlines(keepends=True)}
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})
    return outputs


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for cell, output in zip(cells, run_notebook(notebook)[1], strict=True):
            cell["outputs"] = cell_outputs(*output)
        write_text(path, f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n")
