from __future__ import annotations

import math

import numpy as np
import pytest

from gli.reporting.plots import correlated, density_grid, pearson, scatter, utility_grid

ROWS = [{"iteration": 0, "accuracy": 0.8, "mia_accuracy": 0.9}, {"iteration": 2, "accuracy": 0.7, "final_score": 0.6}]


def test_pearsons_correlation_is_that_of_numpy_over_the_finite_pairs():
    points = [(0.1, 0.3), (0.2, 0.1), (0.4, 0.9), (math.nan, 1.0)]
    assert pearson(points) == pytest.approx(np.corrcoef(np.array(points[:3]).T)[0, 1])


@pytest.mark.parametrize("points", [[], [(0.1, 0.3), (0.2, 0.1)], [(1.0, 2.0)] * 4, [(1.0, 2.0), (1.0, 3.0), (1.0, 4)]])
def test_pearsons_correlation_is_undefined_for_few_points_or_without_spread(points):
    assert pearson(points) is None


def test_points_of_a_scatter_are_the_scores_and_its_title_their_correlation():
    points = [(f"method {place}", 0.1 * place, 0.2 * place + 0.05) for place in range(9)]
    (axes,) = correlated(points, "forgetting score", "JSD").axes
    drawn = [tuple(collection.get_offsets().tolist()[0]) for collection in axes.collections]
    assert drawn == [pytest.approx((x, y)) for _, x, y in points]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [label for label, _, _ in points]
    assert axes.get_title() == "Pearson's r = 1.00 over 9 models"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("forgetting score", "JSD")


def test_points_of_one_label_look_alike_and_are_named_once():
    (axes,) = scatter([("GLI", 0, 1), ("LI", 1, 1), ("GLI", 2, 1)], "x", "y", gid="run-").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["GLI", "LI"]
    colours = [tuple(point.get_facecolor()[0]) for point in axes.collections]
    assert colours[0] == colours[2] != colours[1]
    assert [point.get_gid() for point in axes.collections] == ["run-0", "run-1", "run-2"]


def test_a_scatter_of_nothing_is_drawn():
    (axes,) = correlated([], "x", "y").axes
    assert not axes.collections
    assert not axes.get_title()


def test_each_run_has_a_panel_of_curves_in_the_grid():
    figure = utility_grid({"GLI": ROWS, "LI": ROWS[:1]}, columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["GLI", "LI"]
    accuracy, attack, final = (line.get_ydata() for line in figure.axes[0].lines[:3])
    np.testing.assert_array_equal(accuracy, [0.8, 0.7])
    np.testing.assert_array_equal(attack, [0.9, math.nan])
    np.testing.assert_array_equal(final, [math.nan, 0.6])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:3] == ["test accuracy", "MIA accuracy", "final score"]


def test_the_last_row_of_a_grid_may_have_empty_panels():
    figure = utility_grid({name: ROWS for name in "abcd"}, columns=3)
    assert [axes.axison for axes in figure.axes] == [True] * 4 + [False] * 2


def test_densities_are_drawn_for_finite_losses_and_others_are_named():
    generator = np.random.default_rng(0)
    losses = generator.gamma(2, size=50), generator.gamma(3, size=50)
    good, bad = density_grid({"GLI": losses, "LI": ([math.nan], losses[1])}, columns=2).axes
    assert [line.get_label() for line in good.lines] == ["forget", "unseen"]
    assert not bad.lines
    (text,) = bad.texts
    assert "not finite" in text.get_text()
