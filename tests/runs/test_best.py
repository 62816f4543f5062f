from __future__ import annotations

import math

import pytest

from gli.runs.read import best_audit


def row(iteration: float, final_score: float, utility_drop: float = 0.0, **scores: float) -> dict[str, float]:
    return {"iteration": iteration, "final_score": final_score, "utility_drop": utility_drop, **scores}


def test_the_best_final_score_after_iteration_0_wins():
    rows = [row(0, 0.99), row(1, 0.5), row(2, 0.7), row(3, 0.6)]
    assert best_audit(rows) == rows[2]


def test_audits_with_too_large_a_utility_drop_are_left_out():
    rows = [row(0, 0.1), row(1, 0.5, 0.04), row(2, 0.7, 0.06)]
    assert best_audit(rows, 1.0) == rows[2]
    assert best_audit(rows, 0.06) == rows[2]
    assert best_audit(rows, 0.05) == rows[1]
    assert best_audit(rows, 0.03) is None


def test_the_drop_of_a_model_without_an_original_counts_as_none():
    assert best_audit([{"iteration": 1, "final_score": 0.5}], 0.0) is not None


@pytest.mark.parametrize(("mode", "iteration"), [("max", 2), ("min", 1)])
def test_another_score_can_rank_in_either_direction(mode, iteration):
    rows = [row(1, 0.9, jsd=0.1), row(2, 0.1, jsd=0.4), row(3, 0.5)]
    best = best_audit(rows, score="jsd", mode=mode)
    assert best is not None
    assert best["iteration"] == iteration


def test_an_audit_without_a_final_score_never_wins():
    diverged = row(1, math.nan, jsd=0.0)
    assert best_audit([diverged, row(2, 0.1)]) == row(2, 0.1)
    assert best_audit([diverged], score="jsd", mode="min") is None
    assert best_audit([]) is None
