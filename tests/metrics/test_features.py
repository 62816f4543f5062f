"""Features, probes, answers around a picture, and excesses over references: tiny cases by hand, and calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gli.metrics.features import (
    excess_over_references,
    probe_hits,
    rank_one_hits,
    residual_knowledge,
    verification_areas,
)

#: Four images of two people and one of a third, as directions in a plane: degrees 0, 10 | 20, 90 | 12.
DEGREES = np.radians([0, 10, 20, 90, 12])
FEATURES = np.stack([np.cos(DEGREES), np.sin(DEGREES)], axis=1) * [[1], [3], [2], [1], [5]]
PEOPLE = np.array([0, 0, 1, 1, 2])


def test_verification_worked_out_by_hand():
    # Image 0: its own is at 10 degrees, others at 20, 90 and 12: all farther. Image 1: own at 10, others at 10 (image
    # 2), 80 and 2. Image 2: own at 70, others at 20, 10 and 8. Image 3: own at 70, others at 90, 80 and 78.
    expected = [1, (1 + 0.5) / 3, 0, 1, math.nan]
    np.testing.assert_allclose(verification_areas(FEATURES, PEOPLE), expected)


def test_rank_one_worked_out_by_hand():
    # The nearest of images 0 to 3: image 1 (same), image 4, image 4, image 2 (same).
    np.testing.assert_array_equal(rank_one_hits(FEATURES, PEOPLE), [1, 0, 0, 1, np.nan])


def test_one_person_alone_cannot_be_told_from_others():
    one = np.zeros(5, np.int64)
    assert np.isnan(verification_areas(FEATURES, one)).all()
    assert np.isnan(rank_one_hits(FEATURES, one)).all()


def test_a_probe_reads_the_label_of_people_it_was_not_fitted_to():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    people = np.repeat(np.arange(100), 3)
    features = generator.normal(size=(300, 6))
    assert probe_hits(features, labels, people).mean() < 0.5
    features[:, 0] += 10 * (labels == 1)
    features[:, 1] += 10 * (labels == 2)
    assert probe_hits(features, labels, people).mean() > 0.95


def test_a_probe_does_not_recognise_people_whom_it_was_fitted_to():
    """Each person has features and a label of their own: only a fold that divides people could read the label."""
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 5)
    labels = generator.integers(0, 2, 60)[people]
    features = generator.normal(size=(60, 40))[people] + 0.01 * generator.normal(size=(300, 40))
    assert abs(probe_hits(features, labels, people).mean() - 0.5) < 0.2


def test_the_probe_of_several_labels_is_their_mean():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 2)
    labels = np.stack([generator.integers(0, 2, 60), np.ones(60, np.int64)], axis=1)
    features = generator.normal(size=(60, 3))
    both, first = probe_hits(features, labels, people), probe_hits(features, labels[:, 0], people)
    np.testing.assert_allclose(both, (first + 1) / 2)  # The second is always 1, and there is nothing to fit.
    with pytest.raises(ValueError, match="two people"):
        probe_hits(features, labels, np.zeros(60, np.int64))


def test_residual_knowledge_worked_out_by_hand():
    assert residual_knowledge(np.array([1.0, 0.5]), np.array([[0.5, 0.5], [0.25, 0.25]])) == pytest.approx(2)
    assert residual_knowledge(np.array([0.5]), np.array([[0.5], [0.5]])) == 1
    assert math.isnan(residual_knowledge(np.array([1.0]), np.zeros((2, 1))))


def test_an_excess_worked_out_by_hand():
    # Two people, two references with means 1 and 3; differences 4 - 2 and 6 - 2.
    interval = excess_over_references(np.array([4.0, 6.0]), np.array([[1.0, 1.0], [3.0, 3.0]]))
    of_people, of_models = 2 / 2, 2 * 1.5
    assert interval.value == 3
    assert interval.error == pytest.approx(math.sqrt(of_people + of_models))
    with pytest.raises(ValueError, match="two references"):
        excess_over_references(np.zeros(2), np.zeros((1, 2)))


def test_the_interval_of_an_excess_covers_zero_for_one_more_retrained_model():
    covered = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        person = generator.normal(size=60)
        models = person + 0.2 * generator.normal(size=(9, 1)) + 0.5 * generator.normal(size=(9, 60))
        covered += excess_over_references(models[0], models[1:]).covers(0)
    assert 0.92 <= covered / 300 <= 0.99
    assert not excess_over_references(models[0] + 1.5, models[1:]).covers(0)
