"""Bootstrap of people: intervals of one audit, and differences of pairs of audits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gli.auditing.record import Record
from gli.auditing.resample import Pair, bootstrap_intervals, resampled_differences
from tests.helpers.audits import make_audit, make_people


def test_intervals_cover_the_score_and_are_the_same_for_the_same_seed():
    audit = make_audit()
    intervals = bootstrap_intervals(audit, make_people(), resamples=20)
    assert intervals.keys() == audit.scores().keys()
    for name, value in audit.scores().items():
        low, high = intervals[name]
        assert low <= high
        if name in ("accuracy", "jsd"):
            assert low <= value <= high
    assert bootstrap_intervals(audit, make_people(), resamples=20) == intervals
    assert bootstrap_intervals(audit, make_people(), resamples=20, seed=1) != intervals


def test_people_are_resampled_and_not_images():
    """With alike pictures, the accuracy of 20 people is as uncertain as 20 coin tosses, not as 80."""
    generator = np.random.default_rng(0)
    hits = np.repeat(generator.integers(0, 2, 20), 4).astype(float)
    audit = make_audit()
    values = {**audit.values, "test": {"loss": audit.values["test"]["loss"], "accuracy": hits}}
    low, high = bootstrap_intervals(Record(0, values), make_people(), resamples=100)["accuracy"]
    of_people = 2 * 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 20)
    assert high - low == pytest.approx(of_people, rel=0.35)


def test_intervals_without_resamples_are_refused():
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        bootstrap_intervals(make_audit(), make_people(), resamples=0)


# -- pairs -------------------------------------------------------------------------------------------------------------


def with_hits(hits: np.ndarray) -> Record:
    audit = make_audit()
    return Record(0, {**audit.values, "test": {"loss": audit.values["test"]["loss"], "accuracy": hits}})


def make_pair(seed: int, prefix: str = "") -> Pair:
    first, second = (with_hits(np.random.default_rng([seed, side]).integers(0, 2, 80).astype(float)) for side in (0, 1))
    return Pair(first, second, {name: np.char.add(prefix, own) for name, own in make_people().items()})


def per_person(pair: Pair) -> np.ndarray:
    """Return the difference of the accuracies of each person."""
    both = [audit.values["test"]["accuracy"].reshape(20, 4).mean(axis=1) for audit in (pair.first, pair.second)]
    return both[0] - both[1]


def test_a_person_is_drawn_alike_in_both_audits_and_in_all_pairs():
    """The covariance of the resampled differences is that of the people's means, which both pairs share."""
    pairs = [make_pair(0), make_pair(1)]
    samples = resampled_differences(pairs, "accuracy", resamples=2000)
    expected = np.cov([per_person(pair) for pair in pairs], bias=True) / 20
    assert samples.mean(axis=0) == pytest.approx([pair.difference("accuracy") for pair in pairs], abs=0.01)
    assert np.cov(samples.T) == pytest.approx(expected, abs=0.1 * expected.max())
    twice = resampled_differences([pairs[0], pairs[0]], "accuracy", resamples=5)
    assert (twice[:, 0] == twice[:, 1]).all()
    assert len(np.unique(twice)) > 1


def test_other_people_are_drawn_independently():
    same = make_pair(0)
    samples = resampled_differences([same, make_pair(0, "other/")], "accuracy", resamples=2000)
    assert np.corrcoef(samples.T)[0, 1] == pytest.approx(0, abs=0.1)
    assert samples.std(axis=0) == pytest.approx(np.full(2, per_person(same).std() / math.sqrt(20)), rel=0.15)


def test_a_model_does_not_differ_from_itself_whoever_is_drawn():
    audit = make_audit()
    pair = Pair(audit, audit, make_people())
    for score in ("accuracy", "final_score"):
        assert (resampled_differences([pair], score, resamples=5) == 0).all()
