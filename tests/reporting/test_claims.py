"""Claims: read from texts and settings, or refused with what is wrong."""

from __future__ import annotations

import pytest

from gli.errors import SettingError
from gli.reporting.claims import Comparison, parse_comparisons, read_comparison
from gli.runs.read import read_run


@pytest.fixture
def runs(make_run):
    fixed, warm = ({"initial": initial, "final": 1000.0} for initial in (1000.0, 200.0))
    folders = [make_run("GLI", class_weight=weight) for weight in (fixed, warm)]
    return [read_run(folder) for folder in (*folders, make_run("LI"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "GLI (class_weight.initial 200)>LI:accuracy@end",
            Comparison("GLI (class_weight.initial 200)", "LI", "accuracy", "end"),
        ),
        (" LI > Original : jsd ", Comparison("LI", "Original", "jsd")),
        ("GLI with fixed weight>LI:final_score@best", Comparison("GLI with fixed weight", "LI", "final_score", "best")),
    ],
)
def test_a_text_names_methods_score_and_state(text, expected, runs):
    assert parse_comparisons([text], runs) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GLI better than LI", "cannot be read. Write OF>WITH:SCORE@STATE"),
        ("GLI>LI", "cannot be read"),
        (
            "GLI>LI:accuracy",
            "'GLI' has several rows in the table of methods. Its rows: GLI (class_weight.initial 1000)",
        ),
        ("LII>Original:accuracy", "there is no 'LII' in the table of methods. Did you mean 'LI'?"),
        ("LI>Original:acuracy", "there is no score 'acuracy'. Did you mean 'accuracy'?"),
        ("LI>Original:accuracy@last", "there is no state 'last' of a run; expected one of reported, best, end"),
    ],
)
def test_another_text_is_refused(text, message, runs):
    with pytest.raises(SettingError) as caught:
        parse_comparisons([text], runs)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--compare {text}: ")


def test_settings_name_the_same():
    settings = {"of": "GLI", "with": "LI", "score": "accuracy", "at": "end", "claim": "GLI keeps the accuracy"}
    assert read_comparison(settings) == Comparison("GLI", "LI", "accuracy", "end", "GLI keeps the accuracy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("GLI>LI", "expected names as of, with, score, at and claim"),
        ({"of": 3, "with": "LI", "score": "accuracy"}, "expected names"),
        ({"of": "GLI", "with": "LI"}, "the setting 'score' is missing"),
        ({"of": "GLI", "wth": "LI", "score": "accuracy"}, "there is no setting 'wth'. Did you mean 'with'?"),
        ({"of": "GLI", "with": "LI", "score": "luck"}, "there is no score 'luck'"),
    ],
)
def test_other_settings_are_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        read_comparison(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        ("accuracy", "GLI has a higher test accuracy than LI"),
        ("forgetting_score", "GLI has a lower forgetting score than LI"),
        ("mia_accuracy", "GLI differs in MIA accuracy from LI"),
        ("accuracy_smiling", "GLI has a higher accuracy smiling than LI"),
    ],
)
def test_a_claim_is_made_from_the_registry(score, sentence):
    assert Comparison("GLI", "LI", score).sentence == sentence
