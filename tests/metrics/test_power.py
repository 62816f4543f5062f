"""The power of an audit: against the published formula's values, and against simulated audits without a leak."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gli.metrics.intervals import Trials, auc, auc_interval, detectable_difference, null_error, people_for_margin


@pytest.mark.parametrize(("people", "error"), [(20, 0.092), (50, 0.058), (100, 0.041), (300, 0.024)])
def test_the_error_without_a_leak(people, error):
    assert null_error(people, people) == pytest.approx(error, abs=5e-4)


def test_the_error_is_that_of_simulated_audits():
    generator = np.random.default_rng(0)
    areas = [auc(generator.normal(size=15), generator.normal(size=40)) for _ in range(2000)]
    assert np.std(areas) == pytest.approx(null_error(15, 40), rel=0.05)


def test_the_detectable_difference_is_that_of_an_audit_without_a_leak():
    generator = np.random.default_rng(1)
    found = []
    for _ in range(30):
        scores, positive = generator.normal(size=120), np.arange(120) < 60
        found.append(auc_interval(Trials(scores, positive, np.arange(120), np.zeros(120, dtype=np.int64))).detectable)
    assert np.mean(found) == pytest.approx(detectable_difference(60, 60), rel=0.05)
    assert detectable_difference(3, 3) > 0.5


def test_a_margin_needs_enough_people():
    people = people_for_margin(0.1)
    assert 60 < people < 70
    assert 1.97 * null_error(people, people) < 0.1 < 1.99 * null_error(people - 1, people - 1)
    assert people_for_margin(0.05) > 4 * people - 10


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="people on both sides"):
        null_error(0, 3)
    for margin in (0, 0.6, math.nan):
        with pytest.raises(ValueError, match="must lie in"):
            people_for_margin(margin)
