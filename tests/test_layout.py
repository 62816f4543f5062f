"""What the linters of the layout leave over: strings, and what importing a module loads.

``make lint`` checks that imports run downwards without a circle (import-linter) and that private names of frameworks
stay in ``gli/system/lightning.py`` (ruff).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import gli

ROOT = Path(gli.__file__).parent
CONTRACTS = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
#: The layer of each room; the highest is 0.
LAYERS = {room: layer for layer, rooms in enumerate(CONTRACTS[0]["layers"]) for room in rooms.split(" : ")}
#: Modules that may name a higher room in a string: the package itself loads its public names on first use.
EXEMPT = {"gli"}
#: Modules that draw (matplotlib) or write through Lightning's logger; no reader imports them at its top.
HEAVY = {"gli.reporting.plots", "gli.runs.log"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module of gli."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def modules_in_strings(source: str) -> set[str]:
    """Return the modules of gli that strings name, docstrings left out."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = {node.value for node in set(ast.walk(tree)) - docstrings if isinstance(node, ast.Constant)}
    texts = [string for string in strings if isinstance(string, str)]
    return {module for text in texts for module in re.findall(r"(?<![\w./])gli(?:\.[a-z_]\w*)+", text)}


def test_no_string_names_a_module_of_a_higher_room():
    assert modules_in_strings('"""gli.a"""\nx = "python -m gli.b"\ny = f"gli.c.{x}"') == {"gli.b", "gli.c"}
    upwards = {
        f"{module}: {other}"
        for module, path in MODULES.items()
        if module not in EXEMPT
        for other in modules_in_strings(path.read_text())
        if LAYERS.get(other.split(".")[1], 99) < LAYERS[module.split(".")[1]]
    }
    assert upwards == set()


def test_every_room_imports_alone():
    """Without another room having loaded what it forgot to import: in a fork that has the frameworks but not gli.

    The linter knows that no import is part of a circle, so that the order of modules within a room does not matter.
    """
    code = """
import json, os, sys, traceback
import lightning.pytorch.cli, matplotlib.pyplot, scipy.stats, sklearn.linear_model, timm, torchmetrics, torchvision
assert not any(name.partition(".")[0] == "gli" for name in sys.modules)
for modules in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for module in modules:
                __import__(module)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{modules[0]} and the modules beside it do not import alone")
"""
    rooms: dict[str, list[str]] = {}
    for name in MODULES:
        if not name.endswith("__main__"):
            rooms.setdefault(".".join(name.split(".")[:2]), []).append(name)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(rooms.values()))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_reading_logs_and_reports_starts_quickly():
    names = [name for name in MODULES if re.match(r"gli\.(reporting|runs)\b", name) and name not in HEAVY]
    imports = "; ".join(f"import {name}" for name in names)
    code = f"import json, sys, time; {imports}; print(json.dumps([time.process_time(), *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = json.loads(done.stdout)
    assert not {"torch", "lightning", "torchmetrics", "timm"} & set(loaded)
    assert seconds < 0.8
