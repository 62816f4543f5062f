from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.perturbation.class_weight import ClassWeight, linear
from gli.perturbation.distances import DISTANCES, DistanceName


@pytest.mark.parametrize(
    ("index", "expected"),
    # 200 + (1000 - 200) / (5 - 1) * i
    [(0, 200), (1, 400), (2, 600), (3, 800), (4, 1000)],
)
def test_warm_up_by_hand(index: int, expected: float) -> None:
    assert linear(200, 1000, index, 5) == expected


def test_warm_up_stays_at_its_final_weight() -> None:
    assert [linear(1, 3, index, 3) for index in (2, 3, 50)] == [3, 3, 3]


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("index", [0, 4])
def test_warm_up_of_length_one_is_its_initial_weight(length: int, index: int) -> None:
    assert linear(200, 1000, index, length) == 200


def test_warm_up_may_decrease() -> None:
    assert [linear(1, 0, index, 3) for index in range(3)] == [1, 0.5, 0]


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(2, 200))
def test_warm_up_is_a_line_between_its_ends(initial: float, final: float, length: int) -> None:
    weights = [linear(initial, final, index, length) for index in range(length)]
    assert (weights[0], weights[-1]) == pytest.approx((initial, final), rel=1e-12, abs=1e-9)
    step = (final - initial) / (length - 1)
    assert [b - a for a, b in pairwise(weights)] == pytest.approx([step] * (length - 1), abs=1e-7)


@pytest.mark.parametrize(
    ("over", "expected"),
    # Over 3 batches: 0, 5, 10; over 6 steps: 0, 2, 4, 6, 8, 10.
    [("batches", 5), ("steps", 8)],
)
def test_weight_grows_over_batches_or_inner_steps(over: str, expected: float) -> None:
    weight = ClassWeight(0, 10, over=over)  # type: ignore[arg-type]
    assert weight.at(batch=1, batches=3, step=4, steps=6) == expected


def test_defaults_are_the_released_weights() -> None:
    assert ClassWeight() == ClassWeight(initial=200, final=1000, form="class", over="batches")


def test_equal_ends_are_a_fixed_weight() -> None:
    weight = ClassWeight(7, 7)
    assert {weight.at(batch, 9, 0, 2) for batch in range(12)} == {7}


@pytest.mark.parametrize(
    ("form", "weight", "expected"),
    [
        ("class", 3.0, 3 * 2 - 5),
        ("class", 0.0, -5),
        ("convex", 0.25, 0.25 * 2 - 0.75 * 5),
        ("convex", 0.0, -5),
        ("convex", 1.0, 2),
    ],
)
def test_combined_loss_by_hand(form: str, weight: float, expected: float) -> None:
    class_weight = ClassWeight(0, 1, form=form)  # type: ignore[arg-type]
    assert class_weight.combine(weight, torch.tensor(2.0), torch.tensor(5.0)).item() == expected


@pytest.mark.parametrize(
    ("form", "initial", "final"),
    [("class", -1, 5), ("class", 1, -5), ("convex", 1.1, 0.5), ("convex", 0.5, 2), ("convex", -0.1, 0.5)],
)
def test_weights_out_of_range_are_refused(form: str, initial: float, final: float) -> None:
    name = "initial" if not 0 <= initial <= (1 if form == "convex" else 1e9) else "final"
    with pytest.raises(ValueError, match=rf"class_weight\.{name}"):
        ClassWeight(initial, final, form=form)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_ends_of_the_convex_range_are_allowed(weight: float) -> None:
    assert ClassWeight(weight, weight, form="convex").at(0, 1, 0, 1) == weight


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("c", [0.0, 0.3, 1.0, 20.0, 1000.0])
def test_both_forms_move_an_image_equally(name: DistanceName, c: float) -> None:
    """c * CE - d and w * CE - (1 - w) * d differ by the factor 1 + c if w = c / (1 + c)."""
    generator = torch.Generator().manual_seed(0)
    logits, others = torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)
    labels = torch.arange(6) % 4
    gradients = []
    for form, weight in (("class", c), ("convex", c / (1 + c))):
        variable = logits.clone().requires_grad_(True)
        class_loss = torch.nn.functional.cross_entropy(variable, labels)
        class_weight = ClassWeight(0, 1, form=form)  # type: ignore[arg-type]
        loss = class_weight.combine(weight, class_loss, DISTANCES[name](variable, others))
        gradients.append(torch.autograd.grad(loss, variable)[0])
    assert gradients[0].count_nonzero() == logits.numel()
    assert torch.equal(gradients[0].sign(), gradients[1].sign())
    torch.testing.assert_close(gradients[0], (1 + c) * gradients[1], rtol=1e-9, atol=1e-12)
