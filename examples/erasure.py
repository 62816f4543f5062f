"""Erasure requests from end to end, on drawn faces: four requests, two batches, a near-copy, a restored backup.

    python examples/erasure.py [FOLDER] [--small] [--planned]

The program draws people, writes them as a folder of pictures with two tables, and trains a classifier in plain PyTorch
that knows nothing of gli. Then it runs the commands of ``gli erase`` one after the other, as an engineer would type
them, and prints each with its output. docs/erasure.md follows it step by step. With ``--planned``, gli trains a
classifier that is planned for erasure, and one person is erased from it exactly.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import shutil
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import yaml
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional

from gli.commands.main import main as gli
from gli.data import drawing

FIRST_NAMES = ("anna", "ben", "carla", "david", "elif", "farid", "grace", "hugo", "ines", "jonas", "kira", "liam")
AGES = ("child", "adult", "old")
#: Age in years from which each class begins.
STARTS = (0, 20, 55)


@dataclass(frozen=True)
class Size:
    """How large the example is.

    Attributes:
        trained: Number of people that the classifier is trained on.
        held_out: Number of people that it never sees.
        pictures: Pictures of each person.
        side: Side of the images in pixels.
        epochs: Epochs of the training.
        references: Reference models of the audit of an unlearned model.
        utility_margin: Loss of accuracy that does not matter.
        network: Name of the network, of torchvision or timm.
    """

    trained: int = 60
    held_out: int = 48
    pictures: int = 3
    side: int = 32
    epochs: int = 8
    references: int = 3
    utility_margin: float = 0.15
    network: str = "resnet18"


SMALL = Size(trained=24, held_out=12, pictures=2, side=32, epochs=1, utility_margin=0.9, network="test_resnet")


def draw(folder: Path, size: Size) -> None:
    """Write pictures of drawn people, ``faces.csv`` (in training) and ``held_out.csv`` (never seen)."""
    tables: dict[str, list[tuple[str, str, str]]] = {"faces.csv": [], "held_out.csv": []}
    for number in range(size.trained + size.held_out):
        generator = np.random.default_rng([7, number])
        name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]}_{number // len(FIRST_NAMES)}"
        person = drawing.sample_person(generator)
        (folder / "photos" / name).mkdir(parents=True)
        for picture in range(size.pictures):
            look = drawing.sample_picture(person, generator)
            file = f"{name}/{picture}.png"
            Image.fromarray(drawing.draw(person, look, 96)).save(folder / "photos" / file)
            age = AGES[int(np.searchsorted(STARTS, look.age, side="right")) - 1]
            tables["faces.csv" if number < size.trained else "held_out.csv"].append((file, name, age))
    # A smaller, mirrored JPEG of one of anna's pictures, under another name.
    with Image.open(folder / "photos/anna_0/0.png") as image:
        ImageOps.mirror(image).resize((72, 72)).save(folder / "photos/ben_0/holiday.jpg", quality=80)
    tables["faces.csv"].append(("ben_0/holiday.jpg", "ben_0", tables["faces.csv"][0][2]))
    for name, rows in tables.items():
        write_table(folder / name, rows)


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table with the columns file, identity and age."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "identity", "age"), *rows])


def read_table(path: Path) -> list[list[str]]:
    """Return the rows of a table below its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def train(folder: Path, size: Size) -> None:
    """Train a network on ``faces.csv`` in plain PyTorch, and write ``classifier.pth``."""
    torch.manual_seed(0)
    rows = read_table(folder / "faces.csv")
    pictures = [
        Image.open(folder / "photos" / file).convert("RGB").resize((size.side, size.side)) for file, _, _ in rows
    ]
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255
    classes = sorted(AGES)
    labels = torch.tensor([classes.index(age) for _, _, age in rows])
    if size.network == "resnet18":
        model: nn.Module = torchvision.models.resnet18(num_classes=len(classes))
    else:
        model = timm.create_model(size.network, num_classes=len(classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(size.epochs):
        for chosen in torch.randperm(len(rows)).split(32):
            if len(chosen) > 1:
                optimizer.zero_grad()
                functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
                optimizer.step()
    torch.save(model.state_dict(), folder / "classifier.pth")


def policy_of(size: Size) -> dict[str, object]:
    """Return the policy of the store, which is declared before the first request."""
    return {
        "route": "auto",
        "retrain_minutes": 30,
        "references": size.references,
        "utility_margin": size.utility_margin,
        "method": "SCRUB",
        "method_settings": {"lr": 0.01},
        "recipe": {"lr": 0.02, "momentum": 0.9, "epochs": size.epochs, "milestones": []},
        "data_settings": {"batch_size": 32},
        "trainer_settings": {"accelerator": "cpu"},
    }


def step(*arguments: str, expect: int = 0) -> None:
    """Print a command and run it.

    Raises:
        RuntimeError: If its exit status is not the expected one.
    """
    print(f"\n$ gli {shlex.join(arguments)}", flush=True)
    status = gli(arguments)
    if status:
        print(f"(exit status {status})")
    if status != expect:
        raise RuntimeError(f"gli {arguments[0]} {arguments[1]}: exit status {status}, not {expect}")


def remove_person(name: str) -> None:
    """Do what only the owner of the photographs can do: delete them and their rows."""
    write_table(Path("faces.csv"), [row for row in read_table(Path("faces.csv")) if row[1] != name])
    shutil.rmtree(Path("photos") / name)


def days_ago(days: int) -> str:
    """Return the day of some days ago."""
    return str((datetime.now(UTC) - timedelta(days=days)).date())


def run(folder: Path, size: Size) -> None:
    """Run the whole example in a folder."""
    draw(folder, size)
    train(folder, size)
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy_of(size), sort_keys=False))
    with chdir(folder):
        init = ["erase", "init", "--weights", "classifier.pth", "--backbone", size.network, "--table", "faces.csv"]
        init += ["--held-out", "held_out.csv", "--root", "photos", "--image-size", str(size.side)]
        step(*init, "--policy", "policy.yaml")

        print("\n# The first two requests. One picture of anna_0 is also in the table under another name.")
        shutil.copytree("photos/anna_0", "backup/anna_0")
        shutil.copy("faces.csv", "backup/faces.csv")
        step("erase", "add", "--subject", "anna_0", "--received", days_ago(20))
        step("erase", "add", "--subject", "carla_0", "--received", days_ago(18))
        step("erase", "add", "--accept", "ben_0/holiday.jpg")
        step("erase", "plan")
        step("erase", "run")
        step("erase", "purge", "--dry-run")
        step("erase", "purge", "--exception", "tape backup of the photographs, overwritten on 2027-01-15")
        step("erase", "release", "--formats", "safetensors", "torch")
        step("erase", "verify", "erasures/releases/batch-1/certificate.json")

        print("\n# Now delete the photographs of anna_0. Those of carla_0 are kept a little longer.")
        remove_person("anna_0")
        write_table(Path("faces.csv"), [row for row in read_table(Path("faces.csv")) if row[0] != "ben_0/holiday.jpg"])
        Path("photos/ben_0/holiday.jpg").unlink()

        print("\n# The next two requests. This time the classifier is changed by unlearning.")
        step("erase", "add", "--subject", "david_1", "--received", days_ago(2))
        step("erase", "add", "--subject", "elif_1", "--received", days_ago(1))
        step("erase", "plan", "--no-measure")

        print("\n# Somebody restores a backup of the photographs: anna_0 is back.")
        shutil.copytree("backup/anna_0", "photos/anna_0")
        anna = [row for row in read_table(Path("backup/faces.csv")) if row[1] == "anna_0"]
        write_table(Path("faces.csv"), [*read_table(Path("faces.csv")), *anna])
        step("erase", "run", expect=2)
        remove_person("anna_0")

        step("erase", "run", "--route", "unlearn", expect=3)
        reason = "two people are too few for an answer; both were asked and agree"
        step("erase", "purge", "--accept-risk", reason)
        step("erase", "release")
        step("erase", "verify", "erasures/releases/batch-2/certificate.json")
        step("erase", "status", "--fail-if-due-in", "7d")

        print("\n# One byte of the deployed file is changed.")
        data = bytearray(Path("erasures/releases/batch-2/model.safetensors").read_bytes())
        data[len(data) // 2] ^= 1
        Path("changed.safetensors").write_bytes(data)
        certificate = "erasures/releases/batch-2/certificate.json"
        step("erase", "verify", certificate, "--weights", "changed.safetensors", expect=4)


def run_planned(folder: Path, size: Size) -> None:
    """Erase one person from a classifier that is planned for erasure."""
    draw(folder, replace(size, held_out=2 * size.held_out))
    # Cohorts of twenty people teach little: the accuracy changes by chance, which is not what is shown here.
    policy = {**policy_of(size), "cohort_images": size.pictures, "utility_margin": SMALL.utility_margin}
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    with chdir(folder):
        init = ["erase", "init", "--cohorts", "3", "--backbone", size.network, "--table", "faces.csv"]
        init += ["--held-out", "held_out.csv", "--root", "photos", "--image-size", str(size.side)]
        step(*init, "--policy", "policy.yaml")
        step("erase", "add", "--subject", "carla_0", "--received", days_ago(20))
        step("erase", "plan")
        step("erase", "run")
        step("erase", "purge")
        step("erase", "release")
        step("erase", "verify", "erasures/releases/batch-1/certificate.json", "--ledger", "erasures")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the example; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("erasure_example"), help="a new folder to work in")
    parser.add_argument("--small", action="store_true", help="a few tiny pictures and one epoch: seconds")
    parser.add_argument("--planned", action="store_true", help="one person, from a classifier planned for erasure")
    options = parser.parse_args(arguments)
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty; name a new folder")
    options.folder.mkdir(parents=True, exist_ok=True)
    (run_planned if options.planned else run)(options.folder, SMALL if options.small else Size())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
