"""Classifiers as folders, the way Hugging Face saves them; nothing is uploaded."""

from __future__ import annotations

import json

import pytest
import torch

import gli
from gli.errors import CheckpointError, SettingError
from gli.models import HubClassifier
from gli.models.backbones import build_classifier


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    model = HubClassifier("resnet18_slim", ["child", "adult"], normalize=True).eval()
    assert model.save_pretrained(folder) is None
    return model, folder


def test_a_folder_gives_the_same_classifier_again(saved):
    model, folder = saved
    images = torch.rand(2, 3, 32, 32)
    for loaded in (HubClassifier.from_pretrained(folder), gli.load(folder)):
        assert torch.equal(loaded(images), model(images))
        assert loaded.outputs == ("child", "adult")
        assert not loaded.training
    assert json.loads((folder / "config.json").read_text())["backbone"] == "resnet18_slim"
    assert "personal data" in (folder / "README.md").read_text()


def test_the_classifier_of_a_checkpoint_is_saved(tmp_path):
    torch.manual_seed(1)
    classifier = build_classifier("resnet18_slim", 2).eval()
    description = {"backbone": "resnet18_slim", "outputs": ["a", "b"], "normalize": False}
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": classifier.state_dict(), "classifier": description}, path)
    HubClassifier.from_checkpoint(path).save_pretrained(tmp_path / "folder")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(gli.load(tmp_path / "folder")(images), classifier(images))


def test_nothing_is_uploaded_unless_the_call_says_that_it_may_be(saved, monkeypatch):
    model, _ = saved
    sent = []
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.ModelHubMixin.push_to_hub",
        lambda self, repo_id, **settings: sent.append((repo_id, settings["private"])) or "done",
    )
    with pytest.raises(SettingError, match="personal data"):
        model.push_to_hub("someone/faces")
    assert sent == []
    assert model.push_to_hub("someone/faces", personal_data=True) == "done"
    assert sent == [("someone/faces", True)]


def test_saving_with_an_upload_is_refused_too(saved, tmp_path):
    with pytest.raises(SettingError, match="personal data"):
        saved[0].save_pretrained(tmp_path, push_to_hub=True)


def test_a_folder_may_not_name_code_to_run(saved, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"backbone": "os:system", "outputs": ["a"], "normalize": False}))
    with pytest.raises(SettingError, match="is an import path"):
        gli.load(tmp_path)


def test_a_checkpoint_may_not_name_code_to_run_unless_the_caller_does(tmp_path, monkeypatch):
    network = "nn.Sequential(nn.Flatten(), nn.Linear(12, outputs))"
    (tmp_path / "my_network.py").write_text(f"from torch import nn\n\n\ndef build(outputs):\n    return {network}\n")
    monkeypatch.syspath_prepend(tmp_path)
    description = {"backbone": "my_network:build", "outputs": ["a", "b"], "normalize": False}
    state = build_classifier("my_network:build", 2).state_dict()
    torch.save({"state_dict": state, "classifier": description}, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="importing it runs its code"):
        gli.load(tmp_path / "best.ckpt")
    assert gli.load(tmp_path / "best.ckpt", backbone="my_network:build")(torch.rand(1, 3, 2, 2)).shape == (1, 2)
