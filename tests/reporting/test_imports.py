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


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh process has loaded after running some code."""
    command = [sys.executable, "-c", f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in json.loads(output.splitlines()[-1])}


def test_the_package_alone_loads_nothing_heavy():
    loaded = loaded_by("import gli.reporting")
    assert "gli" in loaded
    assert not loaded & (NEVER | PLOTS | ARRAYS | {"numpy", "yaml", "rich"})


def test_modules_load_neither_torch_nor_lightning_and_only_those_that_draw_load_plots():
    for unwanted, modules in ((NEVER, MODULES), (NEVER | PLOTS | ARRAYS, [m for m in MODULES if m not in DRAWING])):
        assert not loaded_by("import " + ", ".join(f"gli.reporting.{module}" for module in modules)) & unwanted


def test_public_names_load_no_plots_and_exist():
    loaded = loaded_by("import gli.reporting\nfor name in gli.reporting.__all__: getattr(gli.reporting, name)")
    assert not loaded & (NEVER | PLOTS | ARRAYS)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gli.reporting.nothing


def test_the_command_loads_neither_torch_nor_lightning(make_run, tmp_path):
    arguments = ["report", str(make_run()), "--output", str(tmp_path / "out"), "--select", "held_out"]
    loaded = loaded_by(f"from gli.commands.main import main\nassert main({arguments!r}) == 0")
    assert (tmp_path / "out/report.html").is_file()
    assert loaded >= PLOTS
    assert not loaded & (NEVER - {"jsonargparse"})  # It parses the command line.
