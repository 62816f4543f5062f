"""Three faults of forgetting by ``gli fit`` alone, in terms of the command only, so that this file runs on any version.

At 46524cf all of them fail: an audit that is void says nothing, a second request teaches the model the first one again,
and the forgotten stay on disk. Options and commands that a version does not have are left out.
"""

from __future__ import annotations

import csv
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.nn import functional

NAMES = [f"pn{number:02d}x" for number in range(30)]
FIRST, SECOND = ("pn03x", "pn07x", "pn11x"), "pn20x"
AGES = ("adult", "child")
SIDE = 24
Run = Callable[..., tuple[int, str]]


def write_picture(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_table(path: Path, names: Sequence[str]) -> None:
    rows = [(f"{name}/{number}.png", name, AGES[number]) for name in names for number in range(2)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "identity", "age"), *rows])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "photos"
    for number, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for picture in range(2):
            write_picture(folder / name / f"{picture}.png", 10 * number + picture)
    write_table(folder / "faces.csv", NAMES)
    return folder


@pytest.fixture
def photos(photographs, tmp_path, monkeypatch) -> Path:
    """Photographs of 30 people and their table, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(photographs, tmp_path / "photos"))


@pytest.fixture
def gli(monkeypatch, capsys) -> Run:
    """Run a command; return its exit status and all that it printed."""

    def gli(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["gli", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("gli", run_name="__main__")
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out + shown.err

    return gli


def fit(gli: Run, logs: str, *arguments: str) -> tuple[Path, str]:
    """Forget by one step of fine-tuning; return the folder of the run and what was printed."""
    tiny = ["--data=FaceTable", "--data.root=photos", f"--data.image_size={SIDE}", "--data.batch_size=16"]
    tiny += ["--data.recipe.epochs=1", "--data.cache_dir=cache", "--model.backbone=test_resnet"]
    tiny += ["--trainer.accelerator=cpu", "--trainer.max_steps=1", "--trainer.enable_progress_bar=false"]
    status, shown = gli("fit", "--model=FineTune", *tiny, f"--trainer.default_root_dir={logs}", *arguments)
    assert status == 0, shown
    (run,) = (path.parent for path in Path(logs).rglob("metrics.csv") if "original_" not in str(path))
    return run, shown


def sets_of(run: Path) -> dict[str, set[str]]:
    """Return the people of each evaluation set."""
    with np.load(run / "audits/people.npz") as people:
        return {name: set(people[name].tolist()) for name in people.files}


def if_offered(gli: Run, option: str, value: str) -> list[str]:
    """Return an option of the data, or nothing where this version does not have it."""
    _, text = gli("fit", "--data.help=FaceTable")
    return [f"--data.{option}={value}"] if f"--data.{option} " in text else []


def listed(names: Sequence[str]) -> str:
    return f"[{','.join(names)}]"


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=False, map_location="cpu")["state_dict"]


def test_a_void_audit_is_not_silent(photos, gli):
    """The classifier was trained elsewhere on everybody, so that "unseen" people are members."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2)
    paths = sorted(photos.glob("*/*.png"))
    images = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in paths])).permute(0, 3, 1, 2) / 255
    labels = torch.tensor([int(path.stem) for path in paths])
    functional.cross_entropy(model(images), labels).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.save(model.state_dict(), "classifier.pth")
    _, shown = fit(gli, "logs", "--model.original=classifier.pth", f"--data.forget_identities={listed(FIRST)}")
    assert "mean nothing" in shown, "nothing was said of an audit whose unseen people were trained on"


def test_a_second_request_does_not_teach_the_first_one_again(photos, gli):
    """The second model must not depend on the photographs of those who were forgotten first."""
    first, _ = fit(gli, "first", f"--data.forget_identities={listed(FIRST)}")
    again = [f"--model.original={first / 'checkpoints/last.ckpt'}", f"--data.forget_identities={listed([SECOND])}"]
    again += if_offered(gli, "erased", listed(FIRST))
    second, _ = fit(gli, "second", *again)
    for name in FIRST:
        for path in (photos / name).iterdir():
            write_picture(path, 1000 * int(name[2:4]) + int(path.stem))
    other, _ = fit(gli, "other", *again)
    one, two = weights_of(second), weights_of(other)
    changed = [key for key in one if not torch.equal(one[key], two[key])]
    assert not changed, f"{len(changed)} of {len(one)} tensors depend on photographs of people who were forgotten"


def test_nobody_who_was_trained_on_becomes_unseen_when_rows_go(photos, gli):
    stable = ["--data.split=stable"] if "stable" in gli("fit", "--data.help=FaceTable")[1] else []
    stable += ["--data.test_share=0.25", "--data.unseen_share=0.25"]
    first, _ = fit(gli, "first", f"--data.forget_identities={listed(FIRST)}", *stable)
    sets = sets_of(first)
    trained = set(NAMES) - sets["test"] - sets["unseen"]
    write_table(photos / "faces.csv", [name for name in NAMES if name not in FIRST])
    forget = next(name for name in sorted(trained) if name not in FIRST)
    start = f"--model.original={first / 'checkpoints/last.ckpt'}"
    second, _ = fit(gli, "second", start, f"--data.forget_identities={listed([forget])}", *stable)
    sets = sets_of(second)
    wrong = sorted((sets["test"] | sets["unseen"]) & trained)
    assert not wrong, f"{len(wrong)} people on whom the model was trained count as never seen"


def test_the_forgotten_do_not_stay_on_disk(photos, gli):
    fit(gli, "logs", f"--data.forget_identities={listed(FIRST)}")
    _, commands = gli("--help")
    folders = ["logs/lightning_logs", "cache"]
    if "purge" in commands:
        given = ["--names", *FIRST, "--table", "photos/faces.csv", "--root", "photos"]
        status, shown = gli("purge", *folders, *given)
        assert status == 0, shown
    wanted = {f"the name of {name}": name.encode() for name in FIRST}
    wanted |= {f"the name of {name} in an array": name.encode("utf-32-le") for name in FIRST}
    for name in FIRST:
        rows = np.asarray(Image.open(photos / name / "0.png"))
        wanted[f"pixels of {name}"] = rows[3].tobytes()
    left = []
    for path in (each for folder in folders for each in Path(folder).rglob("*") if each.is_file()):
        data = path.read_bytes()
        if data[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                data = b"\0".join(archive.read(each) for each in archive.namelist())
        left += [f"{what} in {path}" for what, text in wanted.items() if text in data]
    assert not left, f"{len(left)} traces, such as {sorted(left)[:3]}"
