"""Bad data, from the command line: one message that says what to do, exit status 2, no traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gli.commands.main import main

SMALL = [
    "--data.image_size=32",
    "--data.cache_dir=cache",
    "--model.backbone=resnet18_slim",
    "--trainer.accelerator=cpu",
]


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Change the first match in a text file."""
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert changed != text
    path.write_text(changed)


def refused(capsys, *arguments: str) -> str:
    assert main(["fit", "--model=GLI", *SMALL, *arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return re.sub(r"\s+", " ", said)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def first_image(root: Path, folder: str) -> Path:
    return next(path for path in sorted((root / folder).iterdir()) if path.suffix.lower() == ".jpg")


def unlink(root: Path) -> None:
    first_image(root, "train_images").unlink()


def truncate(root: Path) -> None:
    image = first_image(root, "train_images")
    image.write_bytes(image.read_bytes()[:200])


TRAIN = "custom_train_dataset.csv"
MUFAC_FAULTS = {
    "missing column": (lambda root: edit(root / TRAIN, "person_id", "person"), "the column 'person_id' is missing"),
    "extra column": (
        lambda root: (root / TRAIN).write_text(
            "\n".join(f"{line},x" for line in (root / TRAIN).read_text().splitlines())
        ),
        "unexpected column 'x'. Remove it",
    ),
    "age class": (lambda root: edit(root / TRAIN, r",[a-h],", ",z,"), "line 2: unknown age class 'z'; it is one of"),
    "absent image": (unlink, "the table lists this image but it is not there"),
    "truncated image": (truncate, "this image cannot be read"),
}


@pytest.mark.parametrize("fault", MUFAC_FAULTS)
def test_spoiled_mufac(fault, make_mufac, tmp_path, capsys):
    root = make_mufac(tmp_path / "mufac")
    spoil, said = MUFAC_FAULTS[fault]
    spoil(root)
    assert said in refused(
        capsys, "--data=MUFAC", f"--data.root={root}", "--data.split=identity", "--data.batch_size=4"
    )


MUCAC_FAULTS = {
    "attribute": ("CelebA-HQ-attribute.txt", r"( -?1){3}$", " 1 1 0", "an attribute is 1 or -1"),
    "identity": ("CelebA-HQ-identity.txt", r"^1\.jpg \d+\n", "", "1.jpg of CelebA-HQ-attribute.txt has no identity"),
}


@pytest.mark.parametrize("fault", MUCAC_FAULTS)
def test_spoiled_mucac(fault, make_mucac, tmp_path, capsys):
    root = make_mucac(tmp_path / "mucac")
    name, pattern, replacement, said = MUCAC_FAULTS[fault]
    edit(root / name, pattern, replacement)
    assert said in refused(capsys, "--data=MUCAC", f"--data.root={root}")


def test_a_person_in_two_sets(jpeg, tmp_path, capsys):
    lines = ["file,identity,age,split"]
    for number, split in enumerate(("retain", "forget", "test", "unseen") * 2):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
        lines.append(f"{number}.jpg,p{number % 3},{number % 2},{split}")
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    said = refused(capsys, "--data=FaceTable", f"--data.root={tmp_path}", "--data.split=given")
    assert "The same people or files are in two sets" in said
    assert "data.split to 'identity'" in said


@pytest.mark.parametrize("data", ["MUFAC", "MUCAC"])
def test_a_missing_folder(data, capsys):
    said = refused(capsys, f"--data={data}", "--data.root=nowhere")
    assert "nowhere: no such folder" in said
    assert "point --data.root to" in said
