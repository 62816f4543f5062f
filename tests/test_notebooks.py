"""The notebooks run as they stand, in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.notebooks import run_notebook

FOLDER = Path(__file__).parents[1] / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One folder for both, so that their original is trained once."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.figures
@pytest.mark.usefixtures("at_home")
def test_the_quickstart_runs_and_shows_its_figure(capsys):
    names, shown = run_notebook(FOLDER / "quickstart.ipynb")
    assert shown[0] == {name: len(rows) for name, rows in names["data"].splits.items()}
    assert shown[-1].size[0] > 300
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("iteration")]) == len(names["audit"].rows) > 3
    original, last = names["audit"].rows[0], names["audit"].rows[-1]
    assert original["iteration"] == 0
    assert original["accuracy"] > 0.2  # Chance is 0.125: the original has learnt something to forget.
    assert last["loss_forget"] > original["loss_forget"]


@pytest.mark.usefixtures("at_home")
def test_the_own_method_runs_beside_fine_tuning(capsys):
    names, _ = run_notebook(FOLDER / "own_method.ipynb")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert {line[0] for line in lines} == {"FineTune", "Pull"}
    assert {line[2] for line in lines if line[1] == "accuracy"} == {f"{names['before']['accuracy']:.3f}"}
    assert lines[0] != lines[4]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_holds_no_output(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
