"""Exported files give the logits of the checkpoint; others are refused."""

from __future__ import annotations

import json

import pytest
import torch

from gli.commands.main import main
from gli.errors import CheckpointError, SettingError
from gli.models import export as exporting
from gli.models.backbones import build_classifier
from gli.models.checkpoints import load_classifier
from gli.models.export import export

BACKBONE = "test_resnet"
DESCRIPTION = {"backbone": BACKBONE, "outputs": ["no", "maybe", "yes"], "normalize": True}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(build_classifier(BACKBONE, 3).backbone.state_dict(), tmp_path / "classifier.pth")
    return tmp_path / "classifier.pth"


def test_exported_weights_give_the_same_logits(weights, tmp_path):
    paths = export(weights, tmp_path / "out", ["safetensors", "torch"], description=DESCRIPTION, image_size=32)
    assert [path.name for path in paths] == ["model.safetensors", "model.pt"]
    classifier = load_classifier(paths[1])
    assert classifier.normalize
    from safetensors import safe_open

    with safe_open(paths[0], "pt") as file:
        assert json.loads(file.metadata()["gli"])["outputs"] == DESCRIPTION["outputs"]
    first = [path.read_bytes() for path in paths]
    export(weights, tmp_path / "out", ["safetensors", "torch"], description=DESCRIPTION, image_size=32)
    assert [path.read_bytes() for path in paths] == first


def test_onnx_is_checked_against_pytorch(weights, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    (path,) = export(weights, tmp_path / "out", ["onnx"], description=DESCRIPTION, image_size=32)
    classifier = build_classifier(BACKBONE, 3, normalize=True).eval()
    classifier.backbone.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.rand(5, 3, 32, 32)
    session = runtime.InferenceSession(path)
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), classifier(images), rtol=1e-4, atol=1e-4)
    assert str(tmp_path).encode() not in path.read_bytes()
    assert b"/site-packages/" not in path.read_bytes()


def test_a_file_that_gives_other_logits_is_not_written(weights, tmp_path, monkeypatch):
    def other(data, kind):
        return {name: value + 1 if name.endswith("bias") else value for name, value in read(data, kind).items()}

    read = exporting._read
    monkeypatch.setattr(exporting, "_read", other)
    with pytest.raises(CheckpointError, match="gives other logits"):
        export(weights, tmp_path / "out", ["safetensors"], description=DESCRIPTION, image_size=32)
    assert not list((tmp_path / "out").iterdir())


def test_wrong_exports_are_one_message(weights, tmp_path):
    with pytest.raises(SettingError, match="no such format"):
        export(weights, tmp_path, ["pickle"], description=DESCRIPTION)
    with pytest.raises(CheckpointError, match="no description"):
        export(weights, tmp_path, ["torch"])
    with pytest.raises(CheckpointError, match="has 3 outputs"):
        export(weights, tmp_path, ["torch"], description={**DESCRIPTION, "outputs": ["no", "yes"]})


def test_the_command_exports_beside_the_checkpoint(weights, capsys):
    arguments = ["export", str(weights), "--formats", "torch", "--image-size", "32"]
    assert main([*arguments, "--backbone", BACKBONE, "--outputs", "a", "b", "c", "--name", "small"]) == 0
    assert capsys.readouterr().out.split() == [str(weights.parent / "small.pt")]
    assert main(arguments) == 2
    assert "no description" in capsys.readouterr().err
    assert main([*arguments, "--name", "../x"]) == 2
    assert "--output" in capsys.readouterr().err
    assert main([*arguments, "--backbone", BACKBONE]) == 2
    assert "--outputs" in capsys.readouterr().err
