"""The notebooks run in an empty folder, and hold what they printed and showed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
spec = importlib.util.spec_from_file_location("notebook_output", DOCS / "notebook_output.py")
notebook_output = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebook_output)
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One folder for both, so that their faces are drawn once."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.figures
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    "path",
    [DOCS / "notebooks/quickstart.ipynb", pytest.param(DOCS / "notebooks/own_method.ipynb", marks=pytest.mark.slow)],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_and_holds_outputs_of_the_same_form(path):
    text = path.read_text(encoding="utf-8")
    if path.stem == "quickstart":  # As it stands, make docs runs it.
        assert text.count("people=100,") == 1
        text = text.replace("people=100,", "people=40,")
    notebook = json.loads(text)
    names, outputs = notebook_output.run_notebook(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell, output in zip(cells, outputs, strict=True):
        kinds = [(part["output_type"], *part.get("data", ())) for part in notebook_output.cell_outputs(*output)]
        assert kinds == [(part["output_type"], *part.get("data", ())) for part in cell["outputs"]]
    before, after = names["result"].original.scores, names["result"].audit.scores
    assert before["accuracy"] > 0.2  # Chance is 0.125: the original has learnt something to forget.
    assert after["loss_forget"] > before["loss_forget"]
    if path.stem == "own_method":
        lines = [line.split() for line in outputs[-1][0].splitlines()]
        assert {line[0] for line in lines} == {"FineTune", "Pull"}
        assert {line[2] for line in lines if line[1] == "accuracy"} == {f"{before['accuracy']:.3f}"}
        assert lines[0] != lines[4]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert len({cell["id"] for cell in cells}) == len(cells)
