"""The completion script agrees with the program, in bash and (where it is installed) in zsh."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import lightning as L
import pytest

from gli.commands.main import COMMANDS
from gli.data import FaceDataModule
from gli.engine.fit import CALLBACKS
from gli.methods import Method
from gli.runs.configs import shipped_names
from gli.system.classes import concrete_subclasses
from gli.system.explain import settings_of

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "completions/gli.sh"
spec = importlib.util.spec_from_file_location("completion_lists", ROOT / "docs/completion.py")
lists = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lists)
SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed"))
    for shell in ("bash", "zsh")
]


def complete(shell: str, *words: str, folder: Path) -> set[str]:
    """Return what the Tab key offers for the last of some words."""
    code = f"""
source {SCRIPT}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_gli
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    command = [shell, *(["-f"] if shell == "zsh" else ["--norc"]), "-c", code, shell, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    # zsh leaves the comparison with the last word to its completion system.
    begun = "" if words[-1] == "=" else words[-1]
    return {line for line in done.stdout.split("\n") if line and (shell == "bash" or line.startswith(begun))}


def test_the_lists_are_those_of_the_program():
    assert lists.script() == SCRIPT.read_text(), "completions/gli.sh is out of date: run make docs"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_kind_of_word_is_completed(shell, tmp_path):
    names = [name for name in lists.configs() if not name.startswith(("audit/", "benchmark/"))]
    shipped = {name for name, each in concrete_subclasses(Method).items() if each.__module__.startswith("gli.methods.")}
    assert complete(shell, "gli", "", folder=tmp_path) == {*COMMANDS, "--help", "--version"}
    assert complete(shell, "gli", "fit", "--config", "gli_", folder=tmp_path) == {
        name for name in names if name.startswith("gli_")
    }
    assert complete(shell, "gli", "fit", "--config", "=", folder=tmp_path) == set(names)
    assert complete(shell, "gli", "fit", "--config", "=", "scrub_p", folder=tmp_path) == {
        name for name in names if name.startswith("scrub_p")
    }
    assert complete(shell, "gli", "benchmark", "--config", "", folder=tmp_path) == {
        name for name in shipped_names() if name.startswith("benchmark/")
    }
    assert complete(shell, "gli", "fit", "--model", "", folder=tmp_path) == shipped
    assert "FaceTable" in complete(shell, "gli", "check", "--data", "F", folder=tmp_path)
    assert complete(shell, "gli", "report", "--res", folder=tmp_path) == {"--resamples"}
    (tmp_path / "own.yaml").touch()
    assert complete(shell, "gli", "fit", "--config", "ow", folder=tmp_path) == {"own.yaml"}


def test_every_option_exists(tmp_path):
    classes = {"model": concrete_subclasses(Method), "data": concrete_subclasses(FaceDataModule)}
    owners = [(key, owner) for key, known in classes.items() for owner in known.values()]
    owners += [("trainer", L.Trainer), *CALLBACKS.items()]
    known = {f"--{name}" for key, owner in owners for name in settings_of(key, owner)}
    known |= {f"--{name}" for name in ("config", "seed_everything", "ckpt_path", "originals", "model", "data")}
    known |= {"--help", "--print_config"}
    offered = complete("bash", "gli", "fit", "--", folder=tmp_path)
    assert len(offered) > 25
    assert offered <= known
    own = complete("bash", "gli", "search", "--", folder=tmp_path) - offered
    assert own == {
        *("--try", "--range", "--choose", "--trials", "--seed", "--no-prune", "--objective", "--write"),
        *("--max-utility-drop", "--output", "--jobs", "--cluster"),
    }
