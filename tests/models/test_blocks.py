"""The blocks of every kind of backbone, and the effects of freezing and reinitialising them."""

import pytest
import torch
from torch import nn

from gli.errors import SettingError
from gli.models.backbones import TORCHVISION, build_classifier
from gli.models.blocks import blocks, freeze_except, frozen_modules, last_blocks, reinitialise


def names(model, blocks_of_model):
    """Return the names of the modules in each block."""
    name_of = {module: name for name, module in model.backbone.named_modules()}
    return [[name_of[module] for module in block] for block in blocks_of_model]


@pytest.mark.parametrize("name", ["resnet18", "resnet18_slim", "resnet34"])
def test_the_last_three_blocks_of_a_resnet_are_the_benchmarks_cf_3(name):
    model = build_classifier(name, 8)
    assert names(model, last_blocks(model, 3)) == [["layer3"], ["layer4"], ["fc"]]
    assert names(model, blocks(model))[0] == ["conv1", "bn1"]
    assert len(blocks(model)) == 6


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("efficientnet_b0", 10, ["classifier"]),
        ("vit_tiny_patch16_224", 14, ["head"]),
        ("mobilenetv3_small_050", 9, ["classifier"]),
        ("convnext_atto", 6, ["head"]),
        ("swin_tiny_patch4_window7_224", 6, ["head"]),
        ("beit_base_patch16_224", 14, ["head"]),
    ],
)
def test_other_backbones_are_divided_into_blocks(name, count, last):
    with torch.device("meta"):  # The test needs no weights.
        model = build_classifier(name, 8)
    assert len(blocks(model)) == count
    assert names(model, blocks(model))[-1] == last


@pytest.mark.parametrize("name", [*TORCHVISION, "vit_tiny_patch16_224"])
def test_blocks_share_no_weights_and_freeze_except_freezes_all_others(name):
    model = build_classifier(name, 8)
    in_blocks = [id(weight) for block in blocks(model) for module in block for weight in module.parameters()]
    assert len(in_blocks) == len(set(in_blocks))
    freeze_except(model, last_blocks(model, 2))
    expected = {id(weight) for block in blocks(model)[-2:] for module in block for weight in module.parameters()}
    assert {id(weight) for weight in model.parameters() if weight.requires_grad} == expected


def test_frozen_modules_are_the_largest_without_trained_parameters():
    model = build_classifier("resnet18", 8)
    freeze_except(model, last_blocks(model, 3))
    name_of = {module: name for name, module in model.backbone.named_modules()}
    assert [name_of[module] for module in frozen_modules(model)] == ["conv1", "bn1", "layer1", "layer2"]
    assert list(frozen_modules(build_classifier("resnet18", 8))) == []


def test_a_norm_without_weights_is_frozen_with_its_block():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    assert list(frozen_modules(model)) == [model[0]]


def test_statistics_without_weights_are_frozen_unless_inside_a_trained_block():
    outside, inside = nn.BatchNorm2d(4, affine=False), nn.BatchNorm1d(2, affine=False)
    last = nn.Sequential(nn.LazyLinear(2), inside)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), outside, nn.ReLU(), nn.Flatten(), last)
    model(torch.rand(2, 3, 4, 4))
    assert list(frozen_modules(model)) == []
    model[0].requires_grad_(False)
    assert list(frozen_modules(model)) == [model[0], outside]


def test_reinitialise_copies_weights_and_statistics_of_these_blocks_only():
    model, fresh = build_classifier("resnet18_slim", 8), build_classifier("resnet18_slim", 8)
    for buffer in model.buffers():
        buffer.fill_(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reinitialise(last_blocks(model, 2), last_blocks(fresh, 2))
    for name, value in model.state_dict().items():
        last = name.startswith(("backbone.layer4", "backbone.fc"))
        assert torch.equal(value, fresh.state_dict()[name] if last else before[name]), name
        if last and value.ndim > 1:
            assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("k", [0, -1, 7])
def test_k_out_of_range_is_refused_with_the_range(k):
    with pytest.raises(SettingError, match=rf"model.k is {k}.*from 1 to 6"):
        last_blocks(build_classifier("resnet18_slim", 8), k)
