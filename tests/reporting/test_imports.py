"""Reading a report needs neither torch nor Lightning, and plots only where figures are drawn."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import gli.reporting

PLOTS, ARRAYS = {"matplotlib"}, {"scipy", "sklearn"}
NEVER = {"torch", "lightning", "torchmetrics", "torchvision", "timm", "jsonargparse"}
MODULES = [module.name for module in pkgutil.iter_modules(gli.reporting.__path__)]
DRAWING = {"plots"}


def loaded_by(*steps: str) -> list[set[str]]:
    """Return the top-level packages that a fresh process has loaded after each of some pieces of code."""
    code = "".join(f"{step}\nprint(json.dumps(sorted(sys.modules)))\n" for step in steps)
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{code}"], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return [{name.partition(".")[0] for name in json.loads(line)} for line in lines]


def test_modules_load_neither_torch_nor_lightning_and_only_those_that_draw_load_plots():
    names = "for name in gli.reporting.__all__: getattr(gli.reporting, name)"
    light = "import " + ", ".join(f"gli.reporting.{module}" for module in MODULES if module not in DRAWING)
    drawing = "import " + ", ".join(f"gli.reporting.{module}" for module in DRAWING)
    package, public, readers, everything = loaded_by("import gli.reporting", names, light, drawing)
    assert "gli" in package
    assert not package & (NEVER | PLOTS | ARRAYS | {"numpy", "yaml", "rich"})
    assert not public & (NEVER | PLOTS | ARRAYS)
    assert not readers & (NEVER | PLOTS | ARRAYS)
    assert not everything & NEVER
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gli.reporting.nothing


def test_the_command_loads_neither_torch_nor_lightning(make_run, tmp_path):
    arguments = ["report", str(make_run()), "--output", str(tmp_path / "out"), "--select", "held_out"]
    (loaded,) = loaded_by(f"from gli.commands.main import main\nassert main({arguments!r}) == 0")
    assert (tmp_path / "out/report.html").is_file()
    assert loaded >= PLOTS
    assert not loaded & (NEVER - {"jsonargparse"})  # It parses the command line.
