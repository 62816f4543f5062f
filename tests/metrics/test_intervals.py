from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gli.metrics.intervals import (
    Interval,
    Trials,
    auc,
    auc_interval,
    equivalence,
    mean_interval,
    people_means,
    true_positive_rate,
)


def test_area_worked_out_by_hand():
    # Pairs: (3, 1), (3, 2), (2, 1) right, (2, 2) equal, (0, 1), (0, 2) wrong.
    assert auc(np.array([3.0, 2, 0]), np.array([1.0, 2])) == pytest.approx(3.5 / 6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_area_is_that_of_scikit_learn(positives, negatives):
    labels = [1] * len(positives) + [0] * len(negatives)
    ours = auc(np.array(positives, dtype=float), np.array(negatives, dtype=float))
    assert ours == pytest.approx(roc_auc_score(labels, positives + negatives))


def test_true_positive_rate_worked_out_by_hand():
    negatives = np.arange(20.0)  # One of 20 may be above the threshold: the threshold is 18.
    assert true_positive_rate(np.array([17.0, 18.0, 18.5, 30.0]), negatives, 0.05) == 0.5


def test_means_of_people():
    means, numbers = people_means(np.array([1.0, 3.0, 5.0]), np.array([7, 7, 2]))
    assert (numbers.tolist(), means.tolist()) == ([2, 7], [5.0, 2.0])


def simulate(generator, people: int, models: int, leak: float, of_person: float, of_model: float) -> Trials:
    """People in models, half of them forgotten, with effects of people and of models on the scores."""
    shape = (models, people)
    positive = generator.random(shape) < 0.5
    scores = (
        leak * positive
        + of_person * generator.normal(size=people)
        + of_model * generator.normal(size=(models, 1))
        + generator.normal(size=shape)
    )
    rows, columns = np.indices(shape)
    return Trials(scores.ravel(), positive.ravel(), columns.ravel(), rows.ravel())


@pytest.mark.parametrize(
    ("people", "models", "of_person", "of_model"), [(50, 16, 0, 0), (50, 16, 1, 0), (40, 12, 0.5, 0.5), (100, 16, 1, 1)]
)
def test_intervals_without_a_leak_cover_one_half_in_92_to_98_percent(people, models, of_person, of_model):
    covered, areas = 0, []
    for seed in range(300):
        interval = auc_interval(simulate(np.random.default_rng(seed), people, models, 0, of_person, of_model))
        covered += interval.covers(0.5)
        areas.append(interval.value)
    assert 0.92 <= covered / 300 <= 0.985
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.std(areas) / np.sqrt(300))


def test_intervals_of_one_model_cover_one_half():
    covered = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        positive = np.arange(80) < 30
        trials = Trials(generator.normal(size=80), positive, np.arange(80), np.zeros(80, dtype=int))
        covered += auc_interval(trials).covers(0.5)
    assert 0.92 <= covered / 300 <= 0.985


def test_the_equivalence_test_passes_wrongly_in_at_most_five_percent_at_the_margin():
    # Two normal distributions at this distance have an AUC of 0.6: just not within a margin of 0.1.
    from scipy.stats import norm

    leak = np.sqrt(2) * norm.ppf(0.6)
    answers = [
        equivalence(auc_interval(simulate(np.random.default_rng(seed), 100, 16, leak, 0, 0)), 0.5, 0.1)
        for seed in range(300)
    ]
    assert answers.count("pass") <= 15
    assert answers.count("fail") <= 15


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.45, 0.58, "pass"),
        (0.61, 0.7, "fail"),
        (0.2, 0.39, "fail"),
        (0.55, 0.65, "cannot tell"),
        (0, 1, "cannot tell"),
    ],
)
def test_answers(low, high, answer):
    assert equivalence(Interval((low + high) / 2, low, high, 0.01), 0.5, 0.1) == answer


def test_a_perfect_attack_has_an_interval_of_positive_width():
    trials = Trials(np.arange(10.0), np.arange(10) >= 5, np.arange(10), np.zeros(10, dtype=int))
    interval = auc_interval(trials)
    assert interval.value == interval.high == 1
    assert 0.5 < interval.low < 1


def test_the_interval_of_a_mean_is_students():
    interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert interval.value == 2
    assert interval.high - interval.value == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    with pytest.raises(ValueError, match="two values"):
        mean_interval(np.array([1.0]))


def test_impossible_trials_are_refused():
    with pytest.raises(ValueError, match="never seen"):
        Trials(np.zeros(2), np.ones(2, dtype=bool), np.arange(2), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="not finite"):
        Trials(np.array([np.nan, 1]), np.array([True, False]), np.arange(2), np.zeros(2, dtype=int))
