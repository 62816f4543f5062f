from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gli.models.backbones import build_classifier
from gli.perturbation.perturb import perturb
from gli.speed import pixel_gradient
from gli.speed.pixel_gradient import PixelGradient


def gradients(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the pixels, as torch has it and inside ``PixelGradient``."""

    def gradient() -> Tensor:
        pixels = images.clone(memory_format=torch.preserve_format).requires_grad_(True)
        result = model(pixels)
        weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(0), dtype=result.dtype)
        return torch.autograd.grad((result * weights).sum(), pixels)[0]

    theirs = gradient()
    with PixelGradient():
        return theirs, gradient()


def random_images(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(7, 2, 3), (3, 2, 1), (4, 4, 0), (2, 2, 0), (3, 2, 0), (8, 4, 2), (5, 3, 4), (1, 2, 0), (16, 16, 0), (5, 2, 2)],
)
@pytest.mark.parametrize("sides", [(64, 64), (33, 48)])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_through_a_first_convolution_is_torch_s(
    kernel: int, stride: int, padding: int, sides: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, kernel, stride, padding, bias=bias).double()
    theirs, ours = gradients(layer, random_images(2, 3, *sides))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 5),
    padding=st.integers(0, 5),
    channels=st.integers(1, 5),
    height=st.integers(9, 30),
    width=st.integers(9, 30),
    dilation=st.integers(1, 2),
)
def test_any_convolution_gives_torch_s_gradient(
    kernel: int, stride: int, padding: int, channels: int, height: int, width: int, dilation: int
) -> None:
    if dilation * (kernel - 1) >= min(height, width) + 2 * padding:
        return
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 2, kernel, stride, padding, dilation).double()
    theirs, ours = gradients(layer, random_images(1, channels, height, width))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, (3, 5), 2, 1),
        nn.Conv2d(3, 6, 3, (2, 1), 1),
        nn.Conv2d(3, 6, 3, 2, (1, 0)),
        nn.Conv2d(3, 6, 3, 1, "same"),
        nn.Conv2d(3, 6, 5, 2, 2, padding_mode="reflect"),
        nn.Conv2d(3, 6, 5, 2, 2, dilation=2),
        nn.Conv2d(3, 6, 3, 2, 1, groups=3),
    ],
)
def test_convolutions_of_another_kind_are_torch_s(layer: nn.Module) -> None:
    theirs, ours = gradients(layer.double(), random_images(2, 3, 20, 22))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet18_slim", "efficientnet_b0", "convnext_atto", "resnet18d", "resnetv2_18"]
)
def test_gradient_through_a_network_is_torch_s(name: str) -> None:
    torch.manual_seed(0)
    model = build_classifier(name, 8).train()
    with torch.no_grad():
        for _ in range(3):
            model(random_images(8, 3, 64, 64, dtype=torch.float32))
    images = random_images(4, 64, 64, 3, dtype=torch.float32).permute(0, 3, 1, 2)
    theirs, ours = gradients(model.eval(), images)
    # On the processors that it was made for there is no difference at all; another may sum in another order.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))
    assert (ours.sign() == theirs.sign()).float().mean() > 0.9999


@pytest.mark.parametrize("plain", ["", "1"])
def test_perturb_takes_the_fast_way_unless_the_switch_is_off(monkeypatch: pytest.MonkeyPatch, plain: str) -> None:
    monkeypatch.setenv("GLI_PLAIN", plain)
    asked = []
    apply = pixel_gradient._Convolution.apply
    monkeypatch.setattr(pixel_gradient._Convolution, "apply", lambda *given: asked.append(given) or apply(*given))
    model = build_classifier("resnet18_slim", 8).eval()
    images = random_images(2, 3, 32, 32, dtype=torch.float32)
    perturb(model, images, lambda logits: logits.sum(), steps=2, step_size=0.01)
    assert len(asked) == (0 if plain else 2)  # The network's first convolution, in each step.


def test_parameters_of_the_convolution_get_no_gradient() -> None:
    model = build_classifier("resnet18_slim", 8).eval()
    images = random_images(2, 3, 32, 32, dtype=torch.float32).requires_grad_(True)
    with PixelGradient():
        model(images).sum().backward()
    assert images.grad is not None
    assert model.get_parameter("backbone.conv1.weight").grad is None
