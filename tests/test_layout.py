"""The layout: rooms import downwards, every module imports alone, private names of frameworks stay in one module."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gli

ROOT = Path(gli.__file__).parent
#: Rooms from the lowest to the highest; those on one line may import each other as long as there is no circle.
LAYERS = [
    {"errors", "gli"},
    {"system"},
    {"speed"},
    {"metrics", "runs"},
    {"perturbation", "data", "models"},
    {"auditing", "methods"},
    {"callbacks"},
    {"engine"},
    {"reporting"},
    {"study"},
    {"erasure"},
    {"commands"},
    {"__main__", "api"},
]
RANKS = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
#: The one module that may touch private names of frameworks, and how many it may touch at most.
EDGE, AT_MOST = "gli.system.lightning", 10


def name_of(path: Path) -> str:
    """Return the dotted name of a module of gli."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    """Return the first folder (or module) below gli."""
    return module.split(".")[1] if "." in module else module


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those under ``if TYPE_CHECKING``."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
        waiting += children
    return found


def imports_of(module: str) -> set[str]:
    """Return the modules of gli that a module imports, at its top or inside functions."""
    imported = set()
    for node in runtime_nodes(TREES[module]):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = below & MODULES.keys()
            imported |= modules | ({str(node.module)} if len(modules) < len(below) else set())
    return (imported & MODULES.keys()) - {module}


def test_every_room_has_a_layer():
    assert {room_of(module) for module in MODULES} == RANKS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    upwards = {other for other in imports_of(module) if RANKS[room_of(other)] > RANKS[room_of(module)]}
    assert not upwards


def test_no_module_is_part_of_a_circle():
    TopologicalSorter({module: imports_of(module) for module in MODULES}).prepare()


def test_every_module_imports_alone():
    """In a process of its own, forked from one that has loaded the frameworks but nothing of gli."""
    code = """
import json, os, sys, traceback
import lightning.pytorch.cli, matplotlib.pyplot, scipy.stats, sklearn.linear_model, timm, torchmetrics, torchvision
assert not any(name.partition(".")[0] == "gli" for name in sys.modules)
failed = []
for module in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        try:
            __import__(module)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(module)
print(json.dumps(failed))
"""
    modules = json.dumps([name for name in MODULES if not name.endswith("__main__")])
    done = subprocess.run([sys.executable, "-c", code, modules], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr


#: Documented functions of the standard library in spite of their underscore.
PUBLIC = {"_exit", "_replace"}
#: Modules that draw (matplotlib) or write through Lightning's logger; no reader imports them at its top.
HEAVY = {
    "gli.reporting.plots",
    "gli.reporting.figures",
    "gli.reporting.audit_plots",
    "gli.reporting.tradeoff_plot",
    "gli.runs.log",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def own_private_names() -> set[str]:
    """Return the private names that gli itself defines: functions, classes, module constants and attributes of self."""
    names = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return {name for name in names if is_private(name)}


def foreign_private_names(tree: ast.AST) -> set[str]:
    """Return the private names that a module takes from elsewhere."""
    own, found = own_private_names(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found |= {part for name in names for part in name.split(".") if is_private(part)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            found |= {str(each.value) for each in node.args if isinstance(each, ast.Constant)}
    return {name for name in found if is_private(name)} - own


@pytest.mark.parametrize("module", [name for name in MODULES if name != EDGE])
def test_private_names_of_frameworks_are_left_to_one_module(module):
    assert not foreign_private_names(TREES[module])


def test_that_module_touches_few_private_names_and_says_why():
    assert 0 < len(foreign_private_names(TREES[EDGE])) <= AT_MOST
    for node in TREES[EDGE].body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node)


def test_private_names_are_found():
    """The walk above sees each way of touching one."""
    tree = ast.parse(
        "trainer._results\nfrom torch.x import _pair\nimport torch._utils\ngetattr(a, '_b')\nself.__dict__"
    )
    assert foreign_private_names(tree) == {"_results", "_pair", "_utils", "_b"} - own_private_names()
    assert "_pair" not in own_private_names()


@pytest.mark.parametrize("package", ["gli.reporting", "gli.runs"])
def test_reading_logs_and_reports_starts_quickly(package):
    folder = Path(str(sys.modules["gli"].__file__)).parent / package.partition(".")[2]
    names = [package, *(f"{package}.{module.name}" for module in pkgutil.iter_modules([str(folder)]))]
    imports = "; ".join(f"import {name}" for name in names if name not in HEAVY)
    code = f"import json, sys, time; {imports}; print(json.dumps([time.process_time(), *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = json.loads(done.stdout)
    assert not {"torch", "lightning", "torchmetrics", "timm"} & set(loaded)
    assert seconds < 0.5
