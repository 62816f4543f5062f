"""The shape of the package: each idea has one place, and the limits that it has reached hold.

``python -m tests.test_shape`` prints the figures.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gli

PACKAGE = Path(gli.__file__).parent
CONFIGS = PACKAGE.parent / "configs"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def called(tree: ast.AST) -> Iterator[str]:
    """Yield the last name of everything that a module calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def callers(*names: str) -> list[str]:
    """Return the modules that call a function or class of one of some names."""
    return [str(path.relative_to(PACKAGE)) for path, tree in TREES.items() if set(names) & set(called(tree))]


def builders_of_jobs() -> list[str]:
    """Return the modules that write a command line of ``gli fit`` for another process."""
    flag = re.compile(r"--(?:trainer\.default_root_dir|seed_everything|config)=")
    modules = []
    for path, tree in TREES.items():
        written = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and flag.search(ast.unparse(node))]
        if written:
            modules.append(str(path.relative_to(PACKAGE)))
    return modules


def mentions_of_methods() -> dict[str, list[str]]:
    """Return the modules outside ``gli/methods`` that name a method, by the name of its class."""
    names = {
        node.name
        for path, tree in TREES.items()
        if path.parent == PACKAGE / "methods" and path.name not in ("base.py", "__init__.py")
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(isinstance(each, ast.FunctionDef) for each in node.body)
    }
    places: dict[str, list[str]] = {}
    for path, tree in TREES.items():
        if path.parent == PACKAGE / "methods":
            continue
        tokens = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        tokens |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        for name in names & tokens:
            places.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    return places


def longest_class() -> tuple[int, str]:
    """Return the length of the longest class in lines, and its name."""
    classes = (node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return max(((node.end_lineno or 0) - node.lineno + 1, node.name) for node in classes)


def figures() -> dict[str, float]:
    """Return the figures of the shape by name."""
    return {
        "lines of gli": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in TREES),
        "modules of gli": len(TREES),
        "configurations": len(list(CONFIGS.rglob("*.yaml"))),
        "modules of erasure": len([path for path in (PACKAGE / "erasure").glob("*.py") if path.name != "__init__.py"]),
        "lines of the longest class": longest_class()[0],
        "modules that make a Trainer": len(callers("Trainer", "instantiate_trainer")),
        "modules that submit jobs": len(callers("submit") ),
        "modules that write a command line of gli fit": len(builders_of_jobs()),
        "modules that make an argparse parser": len(callers("ArgumentParser")),
        "most modules outside gli/methods that name one method": max(map(len, mentions_of_methods().values()), default=0),
    }


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{value:>7,} {name}")
    print(longest_class(), callers("Trainer", "instantiate_trainer"), callers("submit"), builders_of_jobs())
    print(callers("ArgumentParser"), mentions_of_methods())
