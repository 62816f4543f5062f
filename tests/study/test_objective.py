import pytest

from gli.errors import SettingError
from gli.study.outcome import Objective


def _rows(*values):
    rows = [{"iteration": 0, "final_score": 0.6, "utility_drop": 0.0, "forgetting_score": 0.2}]
    return rows + [
        {"iteration": n, "final_score": final, "utility_drop": drop, "forgetting_score": 0.1}
        for n, (final, drop) in enumerate(values, start=1)
    ]


def test_the_best_allowed_audit_counts_or_else_the_one_with_the_smallest_drop():
    objective = Objective.named("final_score", 0.05)
    audit, allowed = objective.choose(_rows((0.7, 0.01), (0.9, 0.2)))
    assert (audit["iteration"], allowed) == (1, True)
    assert objective.violation(audit) == pytest.approx(-0.04)
    audit, allowed = objective.choose(_rows((0.7, 0.1), (0.9, 0.2)))
    assert (audit["iteration"], allowed) == (1, False)
    assert objective.violation(audit) == pytest.approx(0.05)
    assert objective.choose(_rows()) == (None, False)
    assert objective.choose(_rows((float("nan"), 0.0))) == (None, False)


def test_progress_is_the_best_score_so_far_of_the_allowed_audits():
    objective = Objective.named("final_score", 0.05)
    assert objective.progress(_rows((0.9, 0.2), (0.7, 0.01), (0.6, 0.0), (0.8, 0.0))) == {2: 0.7, 3: 0.7, 4: 0.8}


def test_two_objectives_are_two_values():
    objective = Objective.named("forgetting,utility", 1.0)
    assert objective.values(_rows((0.7, 0.01))[1]) == [0.1, 0.01]
    with pytest.raises(SettingError, match=r"--objective speed: expected one of final_score and forgetting,utility\."):
        Objective.named("speed", 1.0)
