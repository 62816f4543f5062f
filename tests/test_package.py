"""The distribution: what it declares, what is inside the wheel, and that the wheel alone is enough."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.helpers.wheel import build_wheel

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    """Return the name of a distribution in its normal form, without version and extras."""
    return re.split(r"[\[<>=!~; ]", name)[0].lower().replace("_", "-")


distributions_of = cache(packages_distributions)


@cache
def imported_by(folder: Path) -> set[str]:
    """Return the top-level packages that the modules below a folder import."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_every_import_is_a_declared_dependency():
    extras = [each for name, extra in PROJECT["optional-dependencies"].items() if name != "dev" for each in extra]
    declared = {normal(each) for each in [*PROJECT["dependencies"], *extras]}
    distributions = distributions_of()
    undeclared = {
        name
        for name in imported_by(ROOT / "gli") - {"gli"}
        if not {normal(each) for each in distributions.get(name, [name])} & declared
    }
    assert undeclared == set()


def test_every_import_of_the_tests_is_declared():
    extras = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    declared = {normal(each) for each in [*PROJECT["dependencies"], *extras]}
    distributions = distributions_of()
    names = (imported_by(ROOT / "tests") | imported_by(ROOT / "docs")) - {"gli", "tests", "benchmarks", "my_module"}
    # Modules that tests write into a temporary folder are no distributions.
    assert {n for n in names & distributions.keys() if not {normal(d) for d in distributions[n]} & declared} == set()


def test_every_dependency_is_imported_or_needed_by_one():
    imported = {normal(d) for name in imported_by(ROOT / "gli") for d in distributions_of().get(name, ())}
    # TensorBoard is loaded by torch.utils.tensorboard and run by users; torchvision's transforms and PIL are imported.
    assert {normal(each) for each in PROJECT["dependencies"]} - imported <= {"tensorboard"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources without the network."""
    return build_wheel(tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources"))


def test_the_wheel_has_all_modules_and_configurations(wheel):
    assert wheel.name.startswith("guided_loss_increasing-")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("guided_loss_increasing-")}
        beside = {name.partition(".data/data/")[2] for name in archive.namelist()}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gli").rglob("*.py")}
    configs = {f"gli/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    pages = {
        path.relative_to(ROOT).as_posix()
        for end in ("css", "j2", "js")
        for path in (ROOT / "gli/reporting").glob(f"*.{end}")
    }
    assert names == modules | configs | {"gli/py.typed", *pages}
    assert {"share/doc/gli/scores.md", "share/doc/gli/gli.sh"} <= beside  # What messages name.


def test_the_description_of_the_wheel_can_be_shown(wheel):
    pytest.importorskip("twine", reason="pip install '.[release]'")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_alone_runs_in_an_empty_environment_and_folder(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, cwd=tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    command = [tmp_path / "venv/bin/gli", "fit", "--config", "gli_synthetic", "--data.people", "24"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (home / "lightning_logs/gli_synthetic/version_0/checkpoints/best.ckpt").is_file()
