from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.perturbation.distances import DISTANCES, DistanceName, cosine, l1, l2, mse

NAMES = sorted(DISTANCES)
# Differences (3, -4) and (0, 0).
FEATURES = torch.tensor([[4.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
OTHERS = torch.tensor([[1.0, 4.0], [1.0, 2.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 3.5),  # (7 + 0) / 2
        ("l2", 2.5),  # (5 + 0) / 2
        ("mse", 6.25),  # (9 + 16 + 0 + 0) / 4
        ("cosine", (1 - 4 / (4 * 17**0.5)) / 2),  # cosines 4 / (4 * sqrt 17) and 1
    ],
)
def test_distance_by_hand(name: DistanceName, expected: float) -> None:
    value = DISTANCES[name](FEATURES, OTHERS)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, abs=1e-12)


def test_table_holds_every_distance_by_name() -> None:
    assert {"l1": l1, "l2": l2, "mse": mse, "cosine": cosine} == DISTANCES


@pytest.mark.parametrize("name", NAMES)
def test_distance_is_a_mean_over_the_batch(name: DistanceName) -> None:
    generator = torch.Generator().manual_seed(0)
    features, others = torch.randn(2, 6, 5, dtype=torch.float64, generator=generator)
    pairs = [DISTANCES[name](features[i : i + 1], others[i : i + 1]).item() for i in range(6)]
    assert DISTANCES[name](features, others).item() == pytest.approx(sum(pairs) / 6, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5), width=st.integers(1, 6), scale=st.floats(1e-2, 1e3))
def test_distance_is_symmetric_not_negative_and_zero_at_equality(
    name: DistanceName, seed: int, batch: int, width: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, others = scale * torch.randn(2, batch, width, dtype=torch.float64, generator=generator)
    value = DISTANCES[name](features, others).item()
    assert value >= -1e-12
    assert DISTANCES[name](others, features).item() == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert DISTANCES[name](features, features).item() == pytest.approx(0, abs=1e-12)


def test_cosine_depends_on_the_direction_only() -> None:
    features = torch.tensor([[1.0, 2.0]])
    assert cosine(features, 5 * features).item() == pytest.approx(0, abs=1e-6)
    assert cosine(features, torch.tensor([[-2.0, 1.0]])).item() == pytest.approx(1, abs=1e-6)
    assert cosine(features, -3 * features).item() == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_finite_where_features_are_equal(name: DistanceName) -> None:
    features = FEATURES.clone().requires_grad_(True)
    DISTANCES[name](features, FEATURES).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
