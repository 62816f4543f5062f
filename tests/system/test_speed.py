from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gli.models.backbones import build_classifier
from gli.system import speed
from gli.system.speed import SWITCH, SmallMaps


def results(model: nn.Module, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and gradients of the images and of all parameters, as torch has them and inside ``SmallMaps``."""

    def compute() -> list[Tensor]:
        pixels = images.clone(memory_format=torch.preserve_format).requires_grad_(True)
        result = model(pixels)
        weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(0), dtype=result.dtype)
        return [result.detach(), *torch.autograd.grad((result * weights).sum(), [pixels, *model.parameters()])]

    theirs = compute()
    with SmallMaps():
        return theirs, compute()


@settings(deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    sides=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    count=st.integers(0, 3),
    last=st.booleans(),
)
def test_any_convolution_is_torch_s(kernel, stride, padding, dilation, groups, bias, sides, count, last):
    if any(dilation * (k - 1) >= side + 2 * p for k, side, p in zip(kernel, sides, padding, strict=True)):
        return
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups, bias).double()
    images = torch.rand(count, 4, *sides, dtype=torch.float64)
    if last:
        layer, images = layer.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_LEAST_PAIRS", 1)
        patch.setattr(speed, "_TYPES", (torch.float64,))
        theirs, ours = results(layer, images)
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


def test_resnet_has_the_same_logits_and_gradients(monkeypatch):
    """The switch changes the last block at 64x64, and nothing but rounding."""
    torch.manual_seed(0)
    model = build_classifier("resnet18", 8).eval()
    images = torch.rand(8, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    used = []
    convolve = speed._convolve
    monkeypatch.setattr(speed, "_convolve", lambda *a, **k: used.append(convolve(*a, **k)) or used[-1])
    monkeypatch.setenv(SWITCH, "0")
    ours = [logits := model(images), *torch.autograd.grad(logits.sum(), list(model.parameters()))]
    # The three convolutions of layer4 from 512 channels, the two with which it begins, and those of layer3 on 4x4.
    assert sum(each is not None for each in used) >= 5
    monkeypatch.setenv(SWITCH, "1")
    count = len(used)
    theirs = [logits := model(images), *torch.autograd.grad(logits.sum(), list(model.parameters()))]
    assert len(used) == count
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))
        assert own.stride() == other.stride()


def test_double_precision_and_traces_keep_torch_s_convolution():
    layer = nn.Conv2d(256, 256, 3, padding=1)
    images = torch.rand(2, 256, 2, 2)
    with SmallMaps():
        double = layer.double()(images.double())
    torch.testing.assert_close(double, layer(images.double()), rtol=0, atol=0)
    model = build_classifier("resnet18", 8).eval()
    program = torch.export.export(model, (torch.rand(2, 3, 64, 64),))
    convolutions = sum("conv2d" in str(node.target) for node in program.graph.nodes)
    assert convolutions == sum(isinstance(module, nn.Conv2d) for module in model.modules())
