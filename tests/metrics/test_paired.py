"""Paired comparisons: intervals cover known differences, with few and with many seeds."""

from __future__ import annotations

import numpy as np
import pytest

from gli.metrics.intervals import Interval
from gli.metrics.paired import decide, paired_interval

DIFFERENCE, PEOPLE = 0.05, 30


def simulate(number: int, seeds: int, noise: tuple[float, float, float], shared: bool) -> Interval:
    """Return the interval of a simulated comparison.

    Args:
        number: Number of the simulation.
        seeds: Number of seeds.
        noise: Standard deviations of what a seed, a person in all seeds, and a person in one seed add.
        shared: Whether all seeds have the same people.
    """
    generator = np.random.default_rng([number, seeds])
    of_seed, of_person, of_both = noise
    values = (
        DIFFERENCE
        + of_seed * generator.normal(size=seeds)
        + of_person * generator.normal(size=(PEOPLE, 1 if shared else seeds))
        + of_both * generator.normal(size=(PEOPLE, seeds))
    )
    drawn = generator.integers(0, PEOPLE, (1 if shared else seeds, 100, PEOPLE))
    resampled = [values[drawn[0 if shared else seed], seed].mean(axis=1) for seed in range(seeds)]
    return paired_interval(values.mean(axis=0), np.stack(resampled, axis=1), PEOPLE)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("shared", [True, False], ids=["the same people", "other people"])
@pytest.mark.parametrize("noise", [(1, 0.1, 0.1), (0.3, 1, 1), (0.05, 1, 0.3), (0, 0, 1)], ids=str)
def test_intervals_cover_a_known_difference(noise, shared, seeds):
    """At least 95 % but for chance: 300 simulations have a standard error of 1.3 %."""
    intervals = [simulate(number, seeds, noise, shared) for number in range(300)]
    covered = sum(interval.covers(DIFFERENCE) for interval in intervals) / 300
    assert covered >= 0.92
    claims = [decide(interval, seeds, 1) for interval in intervals]
    assert claims.count("no") <= 12  # Half of those that do not cover, at most.


def test_ignoring_shared_people_would_not_cover():
    """The simulation notices an interval that takes the people of each seed for other people."""
    covered = 0
    for number in range(300):
        whole = simulate(number, 10, (0.05, 1, 0.3), shared=True)
        generator = np.random.default_rng([number, 10])
        values = DIFFERENCE + 0.05 * generator.normal(size=10) + generator.normal(size=(PEOPLE, 1))
        values = values + 0.3 * generator.normal(size=(PEOPLE, 10))
        means = values.mean(axis=0)
        width = 2.26 * means.std(ddof=1) / np.sqrt(10)
        covered += abs(means.mean() - DIFFERENCE) <= width
        assert whole.value == pytest.approx(means.mean())
    assert covered / 300 < 0.6


def test_three_seeds_give_students_interval_where_people_add_nothing():
    interval = paired_interval(np.array([0.1, 0.2, 0.3]), np.tile([0.1, 0.2, 0.3], (5, 1)), 10)
    assert interval.value == pytest.approx(0.2)
    assert interval.high - interval.value == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=1e-4)


def test_seeds_that_agree_by_chance_leave_the_interval_over_people():
    resampled = np.random.default_rng(0).normal(0.2, 0.1, size=(500, 3))
    interval = paired_interval(np.array([0.2, 0.2, 0.2]), resampled, 1000)
    assert interval.high - interval.value == pytest.approx(1.96 * 0.1 / np.sqrt(3), rel=0.1)


def test_one_seed_has_an_interval_over_people():
    resampled = np.random.default_rng(0).normal(0.2, 0.1, size=(2000, 1))
    interval = paired_interval(np.array([0.2]), resampled, 1000)
    assert (interval.value, interval.error) == (pytest.approx(0.2), pytest.approx(0.1, rel=0.1))


def test_resamples_without_a_score_are_left_out():
    resampled = np.random.default_rng(0).normal(0.2, 0.1, size=(100, 2))
    with_gaps = np.concatenate([resampled, [[np.nan, 0.2]]])
    differences = np.array([0.1, 0.3])
    assert paired_interval(differences, with_gaps, 10) == paired_interval(differences, resampled, 10)


@pytest.mark.parametrize(
    ("differences", "resampled", "people", "message"),
    [
        ([np.nan], [[0.1], [0.2]], 10, "not finite"),
        ([], np.empty((3, 0)), 10, "not finite"),
        ([0.1], [[0.1], [0.2]], 1, "two people"),
        ([0.1], [[0.1], [np.nan]], 10, "two finite resamples"),
    ],
)
def test_what_gives_no_interval_is_refused(differences, resampled, people, message):
    with pytest.raises(ValueError, match=message):
        paired_interval(np.array(differences), np.array(resampled), people)


@pytest.mark.parametrize(
    ("low", "high", "seeds", "sign", "answer"),
    [
        (0.1, 0.3, 3, 1, "yes"),
        (0.1, 0.3, 3, -1, "no"),
        (-0.3, -0.1, 3, 1, "no"),
        (-0.3, -0.1, 3, -1, "yes"),
        (-0.1, 0.3, 3, 1, "cannot tell"),
        (0, 0.3, 3, 1, "cannot tell"),
        (0.1, 0.3, 1, 1, "cannot tell"),
        (-0.3, -0.1, 2, 0, "yes"),
    ],
)
def test_answers(low, high, seeds, sign, answer):
    assert decide(Interval((low + high) / 2, low, high, 0.1), seeds, sign) == answer
