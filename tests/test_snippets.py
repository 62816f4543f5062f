"""The snippets of the README and the first pages, copied as they stand, run from the wheel in an empty folder.

Only their size is changed: the command ``gli`` that they find adds settings that make a run small. Files that a snippet
takes from its reader (photographs, requests, a classifier, MUFAC) are made up in the same formats.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision

import gli
from tests.helpers.fake_data import make_mufac, make_table
from tests.helpers.wheel import build_wheel, install_wheel

ROOT = Path(__file__).parents[1]
#: In this order: a later page uses what an earlier one left.
PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in ("quickstart", "own_faces", "python"))]
#: Lines that are not run, by how they begin, and why.
NOT_RUN = {
    "git clone ": "needs the network",
    "make ": "needs a checkout and installs gigabytes; the steps are those of tests/test_container.py",
    "gli audit --config audit/synthetic": "trains hundreds of models; tests/commands/test_audit.py runs a small one",
    "gli fit --config gli_mucac ": "needs 30,000 images, whose identities make the split; see tests/data/test_mucac.py",
}
#: A command with the settings that make it small, put before the program in the path.
SMALL_GLI = """#!{python}
import os
import sys

words = sys.argv[1:]
run = ["--trainer.accelerator=cpu", "--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.image_size=32",
       "--data.batch_size=32", "--data.recipe.epochs=1"]
drawn = ["--data.people=24", "--data.pictures=5"]
if words[0] in ("fit", "test", "search", "check") and "--model.help" not in words:
    words += run + (drawn if any(word.endswith("_synthetic") for word in words) else [])
    own = {{"--model.backbone", "--model.original", "--ckpt_path", "FaceTable"}} & {{*words}}
    words += [] if own else ["--model.backbone=resnet18_slim"]
    words += ["--steps=1", "--seconds=10"] if words[0] == "check" else []
elif words[0] == "benchmark":
    words += ["--set", *(word[2:] for word in run + drawn)]
    words += [] if "--methods" in words else ["--methods", "Original", "GLI"]
    words += ["--seeds", "0"]
elif words[0] == "audit":
    words += ["--references=3"]
os.execv("{program}", ["gli", *words])
"""


def snippets(page: Path) -> list[tuple[str, str]]:
    """Return the shell and Python blocks of a page, each with its language."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def is_run(line: str) -> bool:
    """Return whether a line of a shell block is run."""
    return not line.startswith(tuple(NOT_RUN))


class Network(torch.nn.Sequential):
    """A small network for two classes, as a reader may have it."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(192, 2))


def readers_names() -> dict[str, object]:
    """Return what the snippets in Python take from their reader."""
    torch.manual_seed(0)
    faces = [(torch.rand(3, 8, 8), n % 2, f"person {n // 3}") for n in range(60)]
    sets = {"retain": faces[:24], "forget": faces[24:36], "unseen": faces[36:48], "test": faces[48:]}
    return {**sets, "model": Network(), "retrained": Network(), "images": torch.rand(2, 3, 32, 32)}


def test_the_snippets_are_found_and_the_reasons_are_needed():
    shell = [text for page in PAGES for language, text in snippets(page) if language == "sh"]
    lines = [line for text in shell for line in text.splitlines()]
    assert len([line for line in lines if line.startswith("gli ") and is_run(line)]) > 15
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), f"{start}: no snippet begins like this"
    python = [text for page in PAGES for language, text in snippets(page) if language == "python"]
    assert len([text for text in python if "gli.forget(" in text]) == 2


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/python.md"], ids=lambda page: page.stem)
def test_the_snippets_that_forget_run_in_python(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = [text for language, text in snippets(page) if language == "python" and "gli.forget(" in text]
    names = readers_names()
    exec(code, names)
    assert isinstance(names["result"], gli.Result)
    assert "retrained" in capsys.readouterr().out


def prepare(home: Path) -> None:
    """Write the files that the snippets take from their reader."""
    people = ["anna", "ben", "carla", *(f"person {n}" for n in range(37))]
    rows = [(f"{person}/{n}.jpg", person, "adult" if n % 2 else "child") for person in people for n in (1, 2)]
    make_table(home / "photos", rows)
    strangers = [(f"held_out/{n}.jpg", f"stranger {n // 2}", "adult" if n % 2 else "child") for n in range(20)]
    numbers = {name: 1000 + n for n, (name, *_) in enumerate(strangers)}
    make_table(home / "photos", strangers, csv_name="held_out.csv", pictures=numbers)
    (home / "photos/held_out.csv").rename(home / "held_out.csv")
    (home / "requests.txt").write_text("anna\nben\ncarla\n")
    # The published split forgets the first 1,500; a rehearsal takes its people from the others.
    make_mufac(home / "data/mufac", train=2100, val=18, test=18)
    (home / "my_module.py").write_text(
        "import torchvision\n\n\ndef build(outputs):\n    return torchvision.models.resnet18(num_classes=outputs)\n"
    )
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), home / "classifier.pth")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_snippets_run_as_they_stand_from_the_wheel_in_an_empty_folder(tmp_path):
    for name in ("wheel", "sources", "bin", "home"):
        (tmp_path / name).mkdir()
    programs = install_wheel(build_wheel(tmp_path / "wheel", tmp_path / "sources"), tmp_path / "venv")
    small = tmp_path / "bin/gli"
    small.write_text(SMALL_GLI.format(python=programs / "python", program=programs / "gli"))
    small.chmod(0o755)
    home = tmp_path / "home"
    prepare(home)
    path = os.pathsep.join([str(small.parent), str(programs), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}

    def execute(*command: str) -> None:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        print(f"{command[-1]}\n{said[-1500:]}")
        assert done.returncode == 0, f"{command[-1]}\n{said[-3000:]}"
        assert "Traceback" not in said

    for page in PAGES:
        for language, text in snippets(page):
            if language == "sh":
                lines = [line for line in text.splitlines() if is_run(line)]
                execute("bash", "-e", "-c", "\n".join(lines))
            elif "class Pull" in text or "register(" in text:
                with (home / "my_method.py").open("a") as file:  # Where the page says it belongs.
                    file.write(text)
            elif "gli.forget(" in text:
                continue  # test_the_snippets_that_forget_run_in_python runs it.
            else:
                (home / "snippet.py").write_text(f"import torch\nimages = torch.rand(2, 3, 32, 32)\n{text}")
                execute("python", "snippet.py")
