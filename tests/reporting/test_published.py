"""Published scores are scores of the registry, of methods and data sets that exist, and agree with each other."""

from __future__ import annotations

import pytest

from gli import data, methods
from gli.metrics.registry import SCORES, scores_among
from gli.reporting.published import PUBLISHED
from gli.runs.read import FIXED

TABLES = pytest.mark.parametrize("name", PUBLISHED)


@TABLES
def test_every_published_score_is_registered_and_in_the_report(name):
    names = {score for scores in PUBLISHED[name].values() for score in scores}
    assert names <= set(SCORES)
    assert {score.name for score in scores_among(names, "report")} == names


@TABLES
def test_every_published_method_and_data_set_exists(name):
    assert hasattr(data, name)
    assert all(hasattr(methods, method) for method in PUBLISHED[name].keys() - {FIXED})


@TABLES
def test_published_scores_agree_with_each_other(name):
    """Final score = (accuracy + 1 - 2 forgetting) / 2 as printed, but for the two that the module names."""
    differing = set()
    for method, scores in PUBLISHED[name].items():
        computed = (scores["accuracy"] + 1 - 2 * scores["forgetting_score"]) / 2
        if abs(computed - scores["final_score"]) >= 0.002:
            differing.add(method)
    assert differing == ({"BadTeaching", "EUk"} if name == "MUFAC" else set())
