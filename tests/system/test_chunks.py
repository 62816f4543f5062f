from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gli.data.loading import Batch
from gli.data.tasks import MultiClass
from gli.methods import FineTune, module
from gli.models.backbones import build_classifier
from gli.system.chunks import in_chunks


@given(count=st.integers(0, 20), side=st.integers(1, 6), pixels=st.integers(1, 200))
def test_pieces_are_the_batch_in_its_order(count: int, side: int, pixels: int) -> None:
    images, factors = torch.rand(count, 3, side, side), torch.rand(count)
    sizes = []

    def work(images: Tensor, factors: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.sum(dim=(1, 2, 3)) * factors

    assert torch.equal(in_chunks(work, images, factors, pixels=pixels), images.sum(dim=(1, 2, 3)) * factors)
    assert sum(sizes) == count
    assert all(size * side**2 <= pixels or size == 1 for size in sizes if count)
    assert len(sizes) <= max(1, -(-count // max(1, pixels // side**2)))


def test_an_accelerator_gets_the_whole_batch() -> None:
    sizes = []
    images = torch.empty(9, 3, 4, 4, device="meta")
    in_chunks(lambda images: sizes.append(len(images)) or images, images, pixels=16)
    assert sizes == [9]


@pytest.mark.parametrize("pixels", [1, 32**2, 3 * 32**2, 7 * 32**2])
def test_an_evaluated_batch_is_the_same_in_pieces(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    method = FineTune(backbone="resnet18_slim")
    method.model = build_classifier("resnet18_slim", 3).eval()
    monkeypatch.setattr(FineTune, "task", MultiClass(("a", "b", "c")))
    images = torch.rand(20, 32, 32, 3).permute(0, 3, 1, 2)
    batch = Batch(images, torch.randint(0, 3, (20,)), torch.arange(20), None)
    with torch.no_grad():
        whole = method.validation_step(batch, 0)
        seen = []
        method.model.register_forward_hook(lambda module, given, logits: seen.append(len(logits)))
        monkeypatch.setattr(module, "CHUNK_PIXELS", pixels)
        pieces = method.validation_step(batch, 0)
    assert max(seen) == max(1, pixels // 32**2)
    for name, values in whole.items():
        torch.testing.assert_close(pieces[name], values, rtol=0, atol=1e-6)
