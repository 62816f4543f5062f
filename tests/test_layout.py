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
from functools import partial
from importlib import import_module
from pathlib import Path

import gli
from tests.helpers.forks import run_in_fork

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
    rooms: dict[str, list[str]] = {}
    for name in MODULES:
        if not name.endswith("__main__"):
            rooms.setdefault(".".join(name.split(".")[:2]), []).append(name)

    def import_alone(modules: list[str]) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "gli"]:
            del sys.modules[name]
        for module in modules:
            import_module(module)

    for room, modules in rooms.items():
        done = run_in_fork(partial(import_alone, modules))
        assert done.returncode == 0, f"{room}: {done.stderr}"


def test_no_module_of_one_system_is_imported():
    posix = {"resource", "fcntl", "termios", "pwd", "grp"}
    nodes = [node for path in MODULES.values() for node in ast.walk(ast.parse(path.read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & posix


def test_reading_logs_and_reports_starts_quickly():
    names = [name for name in MODULES if re.match(r"gli\.(reporting|runs)\b", name) and name not in HEAVY]
    imports = "; ".join(f"import {name}" for name in names)
    code = f"import json, sys, time; {imports}; print(json.dumps([time.process_time(), *sys.modules]))"

    def seconds() -> float:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        taken, *loaded = json.loads(done.stdout)
        assert not {"torch", "lightning", "torchmetrics", "timm"} & set(loaded)
        return taken

    # A busy neighbour on the same core slows a process down, also in CPU seconds: one of five is undisturbed.
    assert any(seconds() < 0.8 for _ in range(5))
