from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gli.auditing.plots import densities, draw_curves, perturbations, save, utility_drop
from gli.metrics.registry import shown_in

ROWS = [
    {"iteration": 0, "accuracy": 0.8, "mia_accuracy": 0.9, "final_score": 0.5},
    {"iteration": 2, "accuracy": 0.7, "mia_accuracy": 0.6},
]


def test_curves_are_those_of_the_registered_scores_with_gaps_where_there_is_no_value():
    (axes,) = utility_drop(ROWS, "GLI").axes
    scores = shown_in("curves")
    assert [score.name for score in scores] == ["accuracy", "mia_accuracy", "final_score"]
    for line, score in zip(axes.lines, scores, strict=False):
        assert line.get_label() == score.heading
        np.testing.assert_array_equal(line.get_xdata(), [0, 2])
        np.testing.assert_array_equal(line.get_ydata(), [row.get(score.name, math.nan) for row in ROWS])
    assert len({line.get_color() for line in axes.lines[: len(scores)]}) == len(scores)
    assert axes.get_title() == "GLI"


def test_curves_are_compared_with_the_original_and_a_guessing_attacker():
    axes = Figure().subplots()
    draw_curves(axes, ROWS)
    original, guess = axes.lines[-2:]
    assert set(original.get_ydata()) == {0.8}
    assert set(guess.get_ydata()) == {0.5}
    empty = Figure().subplots()
    draw_curves(empty, [])
    assert len(empty.lines) == len(axes.lines) - 1


def test_densities_span_both_sets_of_losses():
    generator = np.random.default_rng(0)
    forget, unseen = generator.gamma(2, size=50), generator.gamma(3, size=60)
    (axes,) = densities(forget, unseen).axes
    assert [line.get_label() for line in axes.lines] == ["forget", "unseen"]
    for line in axes.lines:
        grid = line.get_xdata()
        assert grid.min() == pytest.approx(min(forget.min(), unseen.min()))
        assert grid.max() == pytest.approx(max(forget.max(), unseen.max()))
        assert (line.get_ydata() >= 0).all()


def test_losses_that_are_not_finite_are_named_instead_of_drawn():
    (axes,) = densities([1.0, math.nan], [1.0, 2.0]).axes
    assert not axes.lines
    assert "forget losses hold 1 values that are not finite" in axes.texts[0].get_text()


def test_perturbations_are_scaled_to_the_largest_change():
    before = np.full((2, 4, 4, 3), 0.5)
    after = before.copy()
    after[1, 0, 0, 0] += 0.25
    figure = perturbations(before, after, "batch 1")
    retain, scaled, trained = (
        [axes.get_images()[0].get_array() for axes in figure.axes[row : row + 2]] for row in (0, 2, 4)
    )
    np.testing.assert_allclose(retain, before)
    np.testing.assert_allclose(trained, after)
    assert scaled[1][0, 0, 0] == 1.0
    assert np.delete(np.ravel(scaled), 48).tolist() == [0.5] * 95
    assert "full 0.250" in figure.axes[2].get_ylabel()


def test_images_that_did_not_change_are_drawn():
    images = np.full((1, 4, 4, 3), 0.5)
    assert (perturbations(images, images).axes[1].get_images()[0].get_array() == 0.5).all()


def test_a_figure_is_saved_as_png(tmp_path):
    path = save(utility_drop(ROWS), tmp_path / "new/utility_drop.png")
    assert path == tmp_path / "new/utility_drop.png"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (720, 432))
    assert [file.name for file in path.parent.iterdir()] == ["utility_drop.png"]
