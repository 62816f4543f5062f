from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional

from gli.data import augment
from gli.data.augment import COLUMNS, Augmentation, adjust_brightness_, adjust_contrast_, adjust_saturation_, affine

FLIP, SHEAR, SCALE, BRIGHTNESS, CONTRAST, SATURATION, ORDER = range(COLUMNS)
#: Random numbers that change nothing: no flip, no shear, scale 1 (the middle of 0.8 and 1.2), all factors 1.
NEUTRAL = [0.99, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0]


def images(count: int = 8, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def neutral(count: int, **changes: float) -> Tensor:
    random_numbers = torch.tensor([NEUTRAL] * count)
    for name, value in changes.items():
        random_numbers[:, globals()[name.upper()]] = value
    return random_numbers


def expected_affine(image: Tensor, flip: bool, degrees: float, scale: float) -> Tensor:
    """Torchvision's flip, then its affine map as ``RandomAffine(0, shear=..., scale=...)`` calls it."""
    image = reference.hflip(image) if flip else image
    return reference.affine(
        image, 0.0, [0, 0], scale, [degrees, 0.0], interpolation=reference.InterpolationMode.NEAREST, fill=[0.0]
    )


# ---------------------------------------------------------------------------------------------------------------------
# Operations
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 15, 32])
@pytest.mark.parametrize(
    ("flips", "degrees", "scales"), [(True, 10, 0.2), (False, 10, 0), (False, 0, 0.2), (True, 0, 0)]
)
def test_affine_equals_torchvision(size: int, flips: bool, degrees: float, scales: float) -> None:
    generator = torch.Generator().manual_seed(size)
    batch = images(24, size)
    flip, shear, scale = torch.rand(3, 24, generator=generator)
    flip = (flip < 0.5) & flips
    shear, scale = degrees * (2 * shear - 1), 1 + scales * (2 * scale - 1)
    result = affine(batch, flip, torch.deg2rad(shear), scale)
    arguments = zip(batch, flip.tolist(), shear.tolist(), scale.tolist(), strict=True)
    assert torch.equal(result, torch.stack([expected_affine(*values) for values in arguments]))


def test_affine_equals_torchvision_on_images_that_are_not_square() -> None:
    batch = torch.rand(6, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    shear = torch.linspace(-10, 10, 6)
    result = affine(batch, torch.zeros(6, dtype=torch.bool), torch.deg2rad(shear), torch.full((6,), 1.13))
    expected = [
        expected_affine(image, False, degrees, 1.13) for image, degrees in zip(batch, shear.tolist(), strict=True)
    ]
    # Where two neighbours are equally near, rounding decides; this is rare.
    assert (result != torch.stack(expected)).float().mean() < 0.01


def test_shrinking_leaves_black_corners_and_keeps_the_middle() -> None:
    result = affine(torch.ones(1, 3, 10, 10), torch.tensor([False]), torch.zeros(1), torch.tensor([0.8]))
    expected = torch.zeros(1, 3, 10, 10)
    expected[..., 1:-1, 1:-1] = 1  # 8 of 10 pixels each way
    assert torch.equal(result, expected)


COLOURS: list[tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, float], Tensor]]] = [
    (adjust_brightness_, reference.adjust_brightness),
    (adjust_contrast_, reference.adjust_contrast),
    (adjust_saturation_, reference.adjust_saturation),
]


@pytest.mark.parametrize(("operation", "expected_operation"), COLOURS)
def test_colour_operation_equals_torchvision(
    operation: Callable[[Tensor, Tensor], Tensor], expected_operation: Callable[[Tensor, float], Tensor]
) -> None:
    factors = torch.tensor([0.0, 0.5, 0.8, 1.0, 1.2, 2.0])
    batch = images(len(factors))
    expected = torch.stack(
        [expected_operation(image, factor) for image, factor in zip(batch, factors.tolist(), strict=True)]
    )
    torch.testing.assert_close(operation(batch.clone(), factors), expected, rtol=0, atol=1e-6)


def test_colour_operations_by_hand() -> None:
    # Pixels red and black; grey values .2989 and 0, their mean .14945.
    image = torch.tensor([[[1.0, 0]], [[0.0, 0]], [[0.0, 0]]])[None]
    half = torch.tensor([0.5])
    assert adjust_brightness_(image.clone(), half).flatten().tolist() == [0.5, 0, 0, 0, 0, 0]
    mean, grey = 0.5 * 0.14945, 0.5 * 0.2989
    assert adjust_contrast_(image.clone(), half).flatten().tolist() == pytest.approx([0.5 + mean, *[mean] * 5])
    assert adjust_saturation_(image.clone(), half).flatten().tolist() == pytest.approx(
        [0.5 + grey, 0, grey, 0, grey, 0]
    )


# ---------------------------------------------------------------------------------------------------------------------
# Random numbers
# ---------------------------------------------------------------------------------------------------------------------


def test_random_numbers_are_uniform_and_columns_are_not_correlated() -> None:
    random_numbers = Augmentation().sample(np.random.default_rng(0), 2000)
    assert (random_numbers.shape, random_numbers.dtype) == ((2000, COLUMNS), np.float32)
    for column in range(COLUMNS - 1):
        assert stats.kstest(random_numbers[:, column], "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(random_numbers[:, :-1].T) - np.eye(COLUMNS - 1)).max() < 0.1
    assert (random_numbers >= 0).all()
    assert (random_numbers < 1).all()


def test_order_is_the_same_within_a_batch_and_uniform_over_batches() -> None:
    generator = np.random.default_rng(0)
    orders = [Augmentation().sample(generator, 4)[:, ORDER] for _ in range(600)]
    assert all(len(set(order.tolist())) == 1 for order in orders)
    assert stats.kstest([order[0] for order in orders], "uniform").pvalue > 1e-3


def test_random_numbers_depend_on_the_generator_alone() -> None:
    first, again, other = (Augmentation().sample(np.random.default_rng(seed), 5) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# ---------------------------------------------------------------------------------------------------------------------
# The whole augmentation
# ---------------------------------------------------------------------------------------------------------------------


def test_defaults_are_the_published_recipe() -> None:
    assert Augmentation() == Augmentation(enabled=True, flip=0.5, shear=10, scale=(0.8, 1.2), jitter=0.2)


@pytest.mark.parametrize("order", range(6))
def test_augmentation_equals_torchvision_in_the_sampled_order(order: int) -> None:
    batch = images(12, seed=order)
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(order), 12))
    random_numbers[:, ORDER] = (order + 0.5) / 6
    expected = []
    for image, row in zip(batch, random_numbers.tolist(), strict=True):
        augmented = expected_affine(image, row[FLIP] < 0.5, 10 * (2 * row[SHEAR] - 1), 0.8 + 0.4 * row[SCALE])
        for step in list(permutations((BRIGHTNESS, CONTRAST, SATURATION)))[order]:
            augmented = COLOURS[step - BRIGHTNESS][1](augmented, 0.8 + 0.4 * row[step])
        expected.append(augmented)
    torch.testing.assert_close(Augmentation()(batch, random_numbers), torch.stack(expected), rtol=0, atol=1e-6)


def test_order_of_the_colour_operations_matters() -> None:
    batch = images(2)
    results = []
    for order in range(6):
        random_numbers = neutral(2, brightness=0.99, contrast=0.01, saturation=0.99, order=(order + 0.5) / 6)
        results.append(Augmentation()(batch, random_numbers))
    assert sum(torch.allclose(a, b, atol=1e-6) for a in results for b in results) < 36


@pytest.mark.parametrize("order", [0.0, 0.99999994])
def test_smallest_and_largest_random_numbers_select_an_order(order: float) -> None:
    batch = images(3)
    torch.testing.assert_close(Augmentation()(batch, neutral(3, order=order)), batch, rtol=0, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    flip=st.floats(0, 1),
    shear=st.floats(0, 45),
    low=st.floats(0.3, 1),
    high=st.floats(1, 3),
    jitter=st.floats(0, 1),
)
def test_result_is_a_new_image_with_values_in_0_to_1(
    seed: int, flip: float, shear: float, low: float, high: float, jitter: float
) -> None:
    batch = images(4, 8, seed)
    before = batch.clone()
    augmentation = Augmentation(flip=flip, shear=shear, scale=(low, high), jitter=jitter)
    random_numbers = torch.from_numpy(augmentation.sample(np.random.default_rng(seed), 4))
    result = augmentation(batch, random_numbers)
    assert (result.shape, result.dtype) == (batch.shape, batch.dtype)
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(batch, before)
    assert torch.equal(augmentation(batch, random_numbers), result)


def test_augmentation_of_zero_strength_is_the_identity() -> None:
    batch = images()
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(0), len(batch)))
    assert torch.equal(Augmentation(flip=0, shear=0, scale=(1, 1), jitter=0)(batch, random_numbers), batch)


def test_flip_of_probability_1_mirrors_left_and_right() -> None:
    batch = images()
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(0), len(batch)))
    augmentation = Augmentation(flip=1, shear=0, scale=(1, 1), jitter=0)
    assert torch.equal(augmentation(batch, random_numbers), batch.flip(3))


def test_flips_occur_with_their_probability() -> None:
    batch = images(1, 4).expand(1000, -1, -1, -1)
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(0), 1000))
    result = Augmentation(flip=0.25, shear=0, scale=(1, 1), jitter=0)(batch, random_numbers)
    flipped = (result == batch.flip(3)).flatten(1).all(dim=1)
    # The standard error is sqrt(.25 * .75 / 1000) = .014.
    assert flipped.float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert (flipped | (result == batch).flatten(1).all(dim=1)).all()


@pytest.mark.parametrize(("random_number", "factor"), [(0.0, 0.8), (0.5, 1.0), (0.75, 1.1)])
def test_jitter_multiplies_by_a_factor_between_1_minus_and_1_plus_its_strength(
    random_number: float, factor: float
) -> None:
    batch = images() / 2  # So that nothing is clipped at 1.
    result = Augmentation()(batch, neutral(len(batch), brightness=random_number))
    torch.testing.assert_close(result, factor * batch, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_of_the_images_is_kept(dtype: torch.dtype) -> None:
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(0), 2))
    assert Augmentation()(images(2).to(dtype), random_numbers).dtype == dtype


def test_each_image_is_augmented_by_its_own_random_numbers() -> None:
    """An image has the same result in any batch, so it does not depend on how processes divide a batch."""
    batch = images(6)
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(2), 6))
    whole = Augmentation()(batch, random_numbers)
    single = [Augmentation()(batch[i : i + 1], random_numbers[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(single), whole, rtol=0, atol=1e-6)
    assert len({image.sum().item() for image in single}) == 6


def plain(batch: Tensor, random_numbers: Tensor) -> Tensor:
    """The straightforward implementation: torch's own grid, and new memory for every operation."""

    def blend(images: Tensor, others: Tensor | float, factor: Tensor) -> Tensor:
        return (factor * images + (1 - factor) * others).clamp(0, 1)

    def grey(images: Tensor) -> Tensor:
        return torch.einsum("bchw,c->bhw", images, torch.tensor([0.2989, 0.587, 0.114]))[:, None]

    flip, shear, scale, *factors, order = random_numbers.unbind(dim=1)
    shear, scale = torch.deg2rad((2 * shear - 1) * 10.0), 0.8 + (1.2 - 0.8) * scale
    mirror, zeros = torch.where(flip < 0.5, -1.0, 1.0), torch.zeros(len(batch))
    slant = torch.tan(shear) * batch.shape[2] / batch.shape[3]
    first = torch.stack([mirror / scale, mirror * slant / scale, zeros], dim=1)
    second = torch.stack([zeros, 1 / scale, zeros], dim=1)
    grid = functional.affine_grid(torch.stack([first, second], dim=1), list(batch.shape), align_corners=False)
    batch = functional.grid_sample(batch, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    brightness, contrast, saturation = ((1 + 0.2 * (2 * factor - 1))[:, None, None, None] for factor in factors)
    for step in list(permutations(range(3)))[int(order[0] * 6)]:
        if step == 0:
            batch = blend(batch, 0.0, brightness)
        elif step == 1:
            batch = blend(batch, grey(batch).mean(dim=(1, 2, 3), keepdim=True), contrast)
        else:
            batch = blend(batch, grey(batch), saturation)
    return batch


@pytest.mark.parametrize("shape", [(64, 3, 64, 64), (5, 3, 31, 31), (9, 3, 20, 48)])
@pytest.mark.parametrize("chunk_pixels", [augment.CHUNK_PIXELS, 2000])
@pytest.mark.parametrize("seed", range(3))
def test_augmentation_equals_the_straightforward_implementation(
    shape: tuple[int, ...], chunk_pixels: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "CHUNK_PIXELS", chunk_pixels)
    batch = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    random_numbers = torch.from_numpy(Augmentation().sample(np.random.default_rng(seed), shape[0]))
    pixels = (255 * batch).to(torch.uint8)
    assert torch.equal(Augmentation()(pixels, random_numbers), Augmentation()(pixels / 255, random_numbers))
    # Where two neighbours are equally near, rounding decides, and it differs between processors.
    differs = (Augmentation()(batch, random_numbers) - plain(batch, random_numbers)).abs() > 1e-6
    assert differs.float().mean() < 1e-3
