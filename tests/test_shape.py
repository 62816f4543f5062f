"""The shape of the package: each idea has one place, and the limits that it has reached hold.

``python -m tests.test_shape`` prints the figures.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gli

PACKAGE = Path(gli.__file__).parent
CONFIGS = PACKAGE.parent / "configs"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def callers(pattern: str) -> list[str]:
    """Return the modules with a call that a regular expression finds, such as ``L.Trainer(``."""
    found = re.compile(pattern)
    return [
        str(path.relative_to(PACKAGE))
        for path, tree in TREES.items()
        if any(isinstance(node, ast.Call) and found.match(ast.unparse(node)) for node in ast.walk(tree))
    ]


def mentions_of_methods() -> dict[str, list[str]]:
    """Return the modules outside ``gli/methods`` that name a method, by the name of its class.

    Original and Retrained are left out: they are the models that all others are compared with.
    """
    names = {
        node.name
        for path, tree in TREES.items()
        if path.parent == PACKAGE / "methods" and path.name not in ("__init__.py", "base.py", "from_scratch.py")
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


#: What is counted: the places of ideas that have one each, and the largest value of every other figure.
LIMITS = {
    "lines of gli": 30_072,
    "configurations": 55,
    "modules of erasure": 12,
    "lines of the longest class": 250,
    "modules that make a Trainer": 1,
    "modules that start runs": 1,
    "modules that read a command line without jsonargparse": 0,
    "modules outside gli/methods that name one method": 3,
}


def figures() -> dict[str, int]:
    """Return the figures of the shape by name."""
    return {
        "lines of gli": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in TREES),
        "configurations": len(list(CONFIGS.rglob("*.yaml"))),
        "modules of erasure": len([path for path in (PACKAGE / "erasure").glob("*.py") if path.name != "__init__.py"]),
        "lines of the longest class": longest_class()[0],
        "modules that make a Trainer": len(callers(r"(L\.)?Trainer\(")),
        "modules that start runs": len(callers(r"executor\.submit\(")),
        "modules that read a command line without jsonargparse": len(callers(r"argparse\.ArgumentParser\(")),
        "modules outside gli/methods that name one method": max(map(len, mentions_of_methods().values()), default=0),
    }


def test_the_shape_holds():
    found = figures()
    assert {name: found[name] for name, limit in LIMITS.items() if found[name] > limit} == {}, longest_class()
    assert found["modules that make a Trainer"] == found["modules that start runs"] == 1  # The patterns find them.


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{value:>7,} {name}")
    print(longest_class(), mentions_of_methods())
