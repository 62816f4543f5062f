"""The examples run on tiny data, and give the numbers that the command gives on the same data and original."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from gli.callbacks import ForgettingAudit
from gli.engine.fit import run
from tests.helpers.tiny import EVERY

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"people": 24, "pictures": 5}
TRAINER = {"max_steps": 2, "val_check_interval": 1, "accelerator": "cpu"}
SETTINGS = {"trainer": TRAINER, "batch_size": 16}
COMMAND = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_steps=2", *EVERY]
DRAWN = ["--data=SyntheticFaces", "--data.people=24", "--data.pictures=5", "--data.image_size=32"]


def load(name: str, monkeypatch):
    """Import an example as its own module, as the command does."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def command_rows(model: str, data: list[str], original: Path) -> list[dict[str, float]]:
    """The audits of the command."""
    arguments = [f"--model={model}", *data, "--data.batch_size=16", f"--model.original={original}", *COMMAND]
    return ForgettingAudit.of(run(["fit", *arguments]).trainer).rows


@pytest.mark.parametrize(
    ("example", "backbone", "settings"),
    [
        ("torchvision_resnet", "torchvision_resnet:build", {"GLI": ["lr=0.01"], "CFk": ["k=3", "lr=0.01"]}),
        ("timm_vit", "timm_vit:NormalisedViT", {"GLI": ["lr=0.01", "steps=1"], "CFk": ["k=2", "lr=0.01"]}),
        ("own_cnn", "own_cnn:build", {"GLI": [], "CFk": ["k=1", "lr=0.01"]}),
    ],
)
def test_an_example_gives_the_numbers_of_the_command(example, backbone, settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    module = load(example, monkeypatch)
    if example == "own_cnn":
        (tmp_path / "photographs").mkdir()
        folder = module.draw(tmp_path / "photographs")
        given = folder
        data = ["--data=FaceTable", f"--data.root={folder}", "--data.split=given", "--data.image_size=16"]
    else:
        given, data = module.faces(**SMALL), DRAWN
    model, results = module.main(given, epochs=1, **SETTINGS)
    original = tmp_path / "original.pth"
    torch.save(model.state_dict(), original)
    assert set(results) == {"GLI", "SCRUB", "CF-k"}
    for name, result in results.items():
        method = name.replace("-", "")
        own = settings.get(method, ["lr=0.01"])
        arguments = [f"--model.backbone={backbone}", *(f"--model.{setting}" for setting in own)]
        rows = command_rows(method, [*data, *arguments], original)
        assert [row["iteration"] for row in rows] == [0, 1, 2]
        assert list(result.rows) == rows
        kept = {**max_row(rows), "retain_accuracy": result.audit.scores["retain_accuracy"]}
        assert result.audit.scores == {key: value for key, value in kept.items() if key != "iteration"}
        assert type(result.model) is type(model)
    printed = capsys.readouterr().out
    assert printed.count("final score") == 3


def max_row(rows):
    """The audit of the model that is kept."""
    return max(rows[1:], key=lambda row: row["final_score"])


@pytest.mark.parametrize("name", sorted({path.stem for path in EXAMPLES.glob("*.py")} - {"erasure"}))
def test_an_example_is_short_and_says_how_to_run_it(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 85
    assert f"python examples/{name}.py" in text
