from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde

from gli.metrics.jensen_shannon import jensen_shannon_distance
from gli.speed import density as densities
from gli.speed.density import EXACT_UP_TO, bandwidth, binned_density, density
from tests.helpers.scores import summary

SHAPES = {
    "normal": lambda generator, count: generator.normal(5, 1, count),
    "exponential": lambda generator, count: generator.exponential(1, count),
    "long tail": lambda generator, count: generator.lognormal(0, 2, count),
    "longer tail": lambda generator, count: np.abs(generator.standard_t(1.5, count)),
    "memorised": lambda generator, count: generator.gamma(0.05, 1, count),
    "two humps": lambda generator, count: generator.choice([0.0, 9.0], count) + generator.normal(0, 0.01, count),
}


def grid_over(*sets: np.ndarray) -> np.ndarray:
    return np.linspace(min(one.min() for one in sets), max(one.max() for one in sets), 1000)


def test_up_to_the_published_sizes_the_density_is_scipys() -> None:
    losses = np.random.default_rng(0).exponential(1, 1500)
    assert (density(losses, grid_over(losses)) == gaussian_kde(losses)(grid_over(losses))).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_beyond_them_the_distance_is_within_a_millionth_of_the_exact_one(shape: str) -> None:
    generator = np.random.default_rng(1)
    forget, unseen = (SHAPES[shape](generator, EXACT_UP_TO + 5000) for _ in range(2))
    unseen = 1.05 * unseen + 0.1
    grid = grid_over(forget, unseen)
    exact = [gaussian_kde(losses)(grid) for losses in (forget, unseen)]
    for losses, right in zip((forget, unseen), exact, strict=True):
        ours = density(losses, grid)
        assert not (ours == right).all(), "the fast way was not taken"
        assert np.abs(ours - right).max() < 1e-6 * right.max()
    assert jensen_shannon_distance(forget, unseen) == pytest.approx(jensenshannon(*exact), abs=1e-6)


@given(
    losses=st.lists(st.floats(0, 50), min_size=20, max_size=200, unique=True),
    other=st.lists(st.floats(0, 50), min_size=20, max_size=200, unique=True),
)
def test_few_losses_anywhere_are_binned_within_a_millionth(losses: list[float], other: list[float]) -> None:
    sets = [np.array(losses), np.array(other)]
    grid = grid_over(*sets)
    parts = [int(np.ceil(densities.FINENESS * (grid[1] - grid[0]) / bandwidth(one))) for one in sets]
    exact = [gaussian_kde(one)(grid) for one in sets]
    ours = [binned_density(one, grid, part) for one, part in zip(sets, parts, strict=True)]
    for one, right in zip(ours, exact, strict=True):
        assert np.abs(one - right).max() < 5e-6 * right.max()
    assert jensenshannon(*ours) == pytest.approx(jensenshannon(*exact), abs=1e-6)


def test_a_bandwidth_too_small_for_the_finer_grid_is_left_to_scipy() -> None:
    generator = np.random.default_rng(2)
    losses, grid = generator.normal(0, 1e-9, EXACT_UP_TO + 1), np.linspace(-1, 1, 1000)
    assert (density(losses, grid) == gaussian_kde(losses)(grid)).all()


@pytest.mark.parametrize("scale", [1e-320, 1e160, 1e300])
def test_losses_out_of_all_range_end_as_with_few_of_them(scale: float) -> None:
    losses = scale * np.random.default_rng(3).random(EXACT_UP_TO + 1)
    with np.errstate(all="ignore"):
        many, few = summary(0.5, losses, losses[::-1]), summary(0.5, losses[:1000], losses[999::-1])
    assert np.isnan(many["jsd"]) == np.isnan(few["jsd"])


def test_a_million_losses_have_the_distance_of_their_distributions() -> None:
    generator = np.random.default_rng(4)
    forget, unseen = generator.exponential(1, 1_000_000), generator.exponential(1.2, 1_000_000)
    grid = np.linspace(0, 40, 400_001)
    truth = [np.exp(-grid / mean) / mean for mean in (1.0, 1.2)]
    assert jensen_shannon_distance(forget, unseen) == pytest.approx(jensenshannon(*truth), abs=2e-3)


def test_many_losses_are_faster_than_by_scipy_unless_the_switch_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = np.random.default_rng(5).exponential(1, 200_000)
    grid = grid_over(losses)
    seconds, densities = [], []
    for plain in ("", "1"):
        monkeypatch.setenv("GLI_PLAIN", plain)
        before = time.process_time()
        densities.append(density(losses, grid))
        seconds.append(time.process_time() - before)
    assert (densities[1] == gaussian_kde(losses)(grid)).all()
    assert (densities[0] != densities[1]).any()
    assert seconds[0] < seconds[1] / 3  # Ten to a hundred times, on an idle machine.
