"""Attacks and distances: tiny cases worked out by hand, and simulations with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.klom import PRIOR, excess_klom, histogram_klom, normal_klom
from gli.metrics.rmia import calibrate, likelihood_ratios, log_confidence, rmia_scores
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

# -- U-LiRA ------------------------------------------------------------------------------------------------------------

#: Three models of three pairs, four images.
MARGINS = np.array([[1.0, 2.0, 0.0, 4.0], [3.0, 1.0, 2.0, 5.0], [5.0, 0.0, 1.0, 9.0]])
STATES = np.array(
    [
        [FORGOTTEN, NEVER_SEEN, FORGOTTEN, OTHER],
        [FORGOTTEN, FORGOTTEN, NEVER_SEEN, NEVER_SEEN],
        [NEVER_SEEN, NEVER_SEEN, FORGOTTEN, FORGOTTEN],
    ]
)


def test_images_without_enough_observations_have_no_score():
    scores = ulira_scores(MARGINS, STATES, np.arange(3))
    assert np.isnan(scores[1, 2])  # The others have it forgotten twice, and never seen in none.
    assert np.isnan(scores[0, 3])  # Neither forgotten nor never seen.
    assert np.isnan(scores[0, 0])  # Outside of this model no image was seen twice in one state: no variance.


def test_ulira_of_three_models_and_four_images_worked_out_by_hand():
    """Image 0 in model 0: forgotten elsewhere at 3, 5 and 5, never seen at 0 and 4; variances pooled over images."""
    margins = np.vstack([MARGINS, MARGINS[1:] + np.array([2, 0, 0, 0]), [[0, 1, 1, 1], [4, 3, 1, 2]]])
    states = np.vstack([STATES, STATES[1:], np.full((2, 4), NEVER_SEEN)])
    states[2], states[4] = FORGOTTEN, OTHER
    scores = ulira_scores(margins, states, np.arange(7))
    own = [[3, 5, 5], [1, 0, 1], [1], [9]]  # Margins of each image where it is forgotten, outside of model 0.
    unseen = [[0, 4], [1, 3], [2, 2, 1, 1], [5, 5, 1, 2]]
    moments = []
    for side in (own, unseen):
        squares = sum(len(values) * np.var(values) for values in side)
        freedom = sum(len(values) - 1 for values in side)
        moments.append((np.mean(side[0]), math.sqrt(squares / freedom * (1 + 1 / len(side[0])))))
    expected = norm.logpdf(1, *moments[0]) - norm.logpdf(1, *moments[1])
    assert scores[0, 0] == pytest.approx(expected)


def test_ulira_with_two_observations_worked_out_by_hand():
    # One image in five models of five pairs: forgotten at 1, 2, 4, never seen at 7 and 9; the target is the first.
    margins = np.array([[1.0], [2.0], [4.0], [7.0], [9.0]])
    states = np.array([[FORGOTTEN], [FORGOTTEN], [FORGOTTEN], [NEVER_SEEN], [NEVER_SEEN]])
    scores = ulira_scores(margins, states, np.arange(5))
    # Both sides have two observations at a distance of 2: variance 2, widened by 1 + 1/2.
    spread = math.sqrt(2 * 1.5)
    assert scores[0, 0] == pytest.approx(norm.logpdf(1, 3, spread) - norm.logpdf(1, 8, spread))


def test_labels_are_added():
    margins = np.array([[1.0], [2.0], [4.0], [7.0], [9.0]])
    states = np.array([[FORGOTTEN], [FORGOTTEN], [FORGOTTEN], [NEVER_SEEN], [NEVER_SEEN]])
    one = ulira_scores(margins, states, np.arange(5))
    two = ulira_scores(np.stack([margins, margins], axis=-1), states, np.arange(5))
    np.testing.assert_allclose(two, 2 * one)


def test_the_target_s_pair_is_left_out():
    margins = np.array([[1.0], [2.0], [4.0], [7.0], [9.0]])
    states = np.array([[FORGOTTEN], [FORGOTTEN], [FORGOTTEN], [NEVER_SEEN], [NEVER_SEEN]])
    before = ulira_scores(margins, states, np.array([0, 1, 1, 2, 2]))
    margins[2] = 100  # Of the same pair as model 1.
    after = ulira_scores(margins, states, np.array([0, 1, 1, 2, 2]))
    assert before[1, 0] == pytest.approx(after[1, 0]) or (np.isnan(before[1, 0]) and np.isnan(after[1, 0]))
    assert before[0, 0] != pytest.approx(after[0, 0])


def test_margins_that_are_not_finite_are_left_out():
    margins = np.array([[1.0], [2.0], [4.0], [7.0], [9.0], [np.nan]])
    states = np.array([[FORGOTTEN], [FORGOTTEN], [FORGOTTEN], [NEVER_SEEN], [NEVER_SEEN], [NEVER_SEEN]])
    scores = ulira_scores(margins, states, np.arange(6))
    np.testing.assert_array_equal(scores[:5], ulira_scores(margins[:5], states[:5], np.arange(5)))
    assert np.isnan(scores[5, 0])


# -- RMIA --------------------------------------------------------------------------------------------------------------


def test_rmia_worked_out_by_hand():
    """Three models, four images: R(x) = p(x) / ((1.5 mean + 0.5) / 2) for a = 0.5."""
    target = np.log(np.array([0.9, 0.5, 0.2, 0.8]))
    references = np.log(np.array([[0.3, 0.5, 0.2, 0.6], [0.1, 0.3, 0.4, 0.8]]))
    expected = [0.9 / ((1.5 * 0.2 + 0.5) / 2), 0.5 / ((1.5 * 0.4 + 0.5) / 2), 0.2 / ((1.5 * 0.3 + 0.5) / 2)]
    ratios = likelihood_ratios(target, references, 0.5)
    assert ratios[:3].tolist() == pytest.approx(expected)
    # Image 0 dominates both population images, image 2 none; image 1 dominates one of them.
    assert rmia_scores(ratios[:3], np.array([0.5, 1.2])).tolist() == [1.0, 0.5, 0.0]


def test_the_mean_is_over_references_that_never_saw_the_image():
    references = np.log(np.array([[1e-9, 0.5], [0.4, 0.5]]))
    masked = references.copy()
    masked[0, 0] = np.nan
    assert likelihood_ratios(np.log([0.4, 0.5]), masked, 1.0).tolist() == pytest.approx([1.0, 1.0])
    masked[1, 0] = np.nan
    with pytest.raises(ValueError, match="no reference model"):
        likelihood_ratios(np.log([0.4, 0.5]), masked, 1.0)


def test_confidences_do_not_saturate():
    assert log_confidence(np.array([-800.0, 0.0, 40.0])).tolist() == pytest.approx([-800, -math.log(2), -math.exp(-40)])


def test_calibration_finds_the_correction_that_separates():
    generator = np.random.default_rng(0)
    difficulty = generator.normal(size=400)
    references = log_confidence(difficulty + 0.3 * generator.normal(size=(4, 400)))
    target = log_confidence(difficulty + 0.3 * generator.normal(size=400) + np.repeat([0.5, 0.0], 200))
    a = calibrate(target[:200], target[200:], references[:, :200], references[:, 200:])
    assert 0 <= a <= 1


# -- KLoM --------------------------------------------------------------------------------------------------------------


def test_normal_klom_worked_out_by_hand():
    unlearned, references = np.array([[1.0], [3.0], [2.0]]), np.array([[0.0], [2.0], [4.0]])
    # One image: the pooled variance is its own.
    expected = 0.5 * (math.log(4 / 1) + (1 + 0) / 4 - 1)
    assert normal_klom(unlearned, references).tolist() == pytest.approx([expected])
    # One unlearned model has the variance of the references.
    assert normal_klom(np.array([[6.0]]), references).tolist() == pytest.approx([0.5 * 16 / 4])


def test_variances_are_shrunk_towards_their_mean():
    references = np.array([[0.0, 0.0], [2.0, 4.0]])  # Variances 2 and 8, mean 5.
    own = np.array([1 * 2 + PRIOR * 5, 1 * 8 + PRIOR * 5]) / (1 + PRIOR)
    expected = 0.5 * np.array([1.0, 1.0]) ** 2 / own
    np.testing.assert_allclose(normal_klom(np.array([[2.0, 3.0]]), references), expected)


def test_excess_klom_of_equal_distributions_is_zero():
    excesses = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        distances, floor = excess_klom(generator.normal(size=(8, 40)), generator.normal(size=(8, 40)), seed=seed)
        excesses.append((distances - floor).mean())
    error = np.std(excesses, ddof=1) / math.sqrt(len(excesses))
    assert abs(np.mean(excesses)) < 3 * error
    shifted, floor = excess_klom(generator.normal(size=(8, 40)) + 2, generator.normal(size=(8, 40)))
    assert (shifted - floor).mean() > 1


def test_the_published_histogram_is_biased_for_few_models():
    generator = np.random.default_rng(0)
    medians = [
        np.median(histogram_klom(generator.normal(size=(count, 200)), generator.normal(size=(count, 200))))
        for count in (4, 16, 512)
    ]
    assert medians[0] > 5
    assert medians[0] > medians[1] > medians[2]
    assert medians[2] < 0.2


def test_few_references_are_refused():
    with pytest.raises(ValueError, match="three reference models"):
        excess_klom(np.zeros((1, 3)), np.zeros((2, 3)))


# -- IAM ---------------------------------------------------------------------------------------------------------------


def test_degree_of_memory_worked_out_by_hand():
    reference, original = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert degree_of_memory(original, original, reference) == 1
    assert degree_of_memory(reference, original, reference) == 0
    assert degree_of_memory(np.array([1.0, 1.0]), original, reference) == pytest.approx(2 / 8)
    assert degree_of_memory(np.array([-1.0, 0.0]), original, reference) < 0
    assert math.isnan(degree_of_memory(reference, reference, reference))


def test_iam_scores_grow_with_the_margin_and_lie_between_zero_and_one():
    references = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    scores = iam_scores(np.array([-3.0, 0.5, 6.0]), np.full(3, 4.0), references)
    assert (np.diff(scores) > 0).all()
    assert scores[0] > 0
    assert scores[2] < 1
