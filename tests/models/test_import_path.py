"""Backbones by import path."""

from __future__ import annotations

import pytest
from torch import nn

from gli.errors import SettingError
from gli.models.backbones import backbone_key, build_classifier
from gli.models.blocks import blocks

SOURCE = """
from torch import nn


def build(outputs):
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Flatten(), nn.Linear(144, outputs))


class Wrapper(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.network = build(outputs)


def two(outputs, width):
    return build(outputs)


def nothing(outputs):
    return None


number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_backbone.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_backbone", raising=False)
    return tmp_path / "own_backbone.py"


def test_a_function_or_class_is_called_with_the_number_of_outputs(own):
    classifier = build_classifier("own_backbone:build", 5)
    assert classifier.backbone[2].out_features == 5
    assert [[type(module) for module in block] for block in blocks(classifier)] == [[nn.Sequential], [nn.Linear]]
    assert len(blocks(build_classifier("own_backbone:Wrapper", 5))) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_backbon:build", "there is no module 'own_backbon'"),
        ("own_backbone:bild", "Did you mean 'build'"),
        ("own_backbone:two", "called with one argument, the number of outputs"),
        ("own_backbone:nothing", "returned a NoneType"),
        ("own_backbone:number", "is a int, not a function or class"),
        ("own backbone:build", "is not an import path"),
        ("own_backbone:", "is not an import path"),
    ],
)
def test_mistakes_are_named(own, name, said):
    with pytest.raises(SettingError, match=said):
        build_classifier(name, 2)


def test_a_module_that_lacks_something_says_what(own):
    own.write_text("import not_installed_here\n")
    with pytest.raises(SettingError, match="not_installed_here"):
        build_classifier("own_backbone:build", 2)


def test_weights_of_its_own_are_its_own_matter(own):
    with pytest.raises(SettingError, match="loads its own weights"):
        build_classifier("own_backbone:build", 2, pretrained=True)


def test_another_content_of_the_file_is_another_backbone(own):
    first = backbone_key("own_backbone:build")
    own.write_text(f"{SOURCE}\n# changed\n")
    assert backbone_key("own_backbone:build") != first
    assert backbone_key("resnet18") == "resnet18"
