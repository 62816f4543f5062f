"""The verdict of a batch, on made-up outputs of models: leaks are found, and too few people are too few."""

from __future__ import annotations

import numpy as np
import pytest

from gli.erasure.evaluate import Outputs
from gli.erasure.evidence import Audit, Models, detectable_auc, overall

IMAGES, REFERENCES = 3, 4


def outputs(generator, people, shift=0.0, difficulty=None, accuracy=0.7, first=0):
    """Margins of some people around a difficulty of each image, and hits."""
    count = people * IMAGES
    difficulty = generator.normal(0, 1.5, count) if difficulty is None else difficulty
    margins = difficulty + generator.normal(0, 0.5, count) + shift
    hits = (generator.random(count) < accuracy).astype(float)
    numbers = np.repeat(np.arange(first, first + people), IMAGES)
    return Outputs(margins[:, None], hits[:, None], numbers, np.arange(count) % 2)


def group(generator, people, before, after, accuracy=0.7):
    """Outputs before and after on a group, and of references that never saw it."""
    difficulty = generator.normal(0, 1.5, people * IMAGES)
    return Models(
        outputs(generator, people, before, difficulty),
        outputs(generator, people, after, difficulty, accuracy),
        [outputs(generator, people, 0.0, difficulty) for _ in range(REFERENCES)],
    )


def audit(people=60, after=0.0, *, strangers=80, exact=False, accuracy=0.7, earlier=None, seed=0):
    generator = np.random.default_rng(seed)
    return Audit(
        group(generator, people, 4.0, after),
        None if earlier is None else group(generator, 40, 0.0, earlier),
        group(generator, strangers, 0.0, 0.0, accuracy),
        group(generator, strangers, 0.0, 0.0, accuracy),
        0.15,
        0.1,
        exact,
        ("no", "yes"),
    )


def answers(findings):
    return {finding.name: finding.answer for finding in findings}


def test_a_model_that_forgot_passes_and_one_that_remembers_fails():
    forgot = audit(200, 0.0, strangers=200).findings()
    assert answers(forgot)["this batch"] == "pass"
    assert answers(forgot)["the worst single person"] == "cannot tell"  # 200 people ask for more strangers.
    remembers = audit(after=4.0).findings()
    assert answers(remembers)["this batch"] == "fail"
    assert overall(remembers) == "fail"
    over = audit(after=-4.0).findings()
    assert answers(over)["this batch"] == "fail"
    assert "over-unlearning" in over[0].sentence
    assert "Memory of these photographs: 1." in remembers[0].sentence or "0.9" in remembers[0].sentence


def test_a_single_person_who_stands_out_is_a_failure():
    findings = audit(2, 9.0).findings()
    assert answers(findings)["this batch"] == "cannot tell"
    assert answers(findings)["the worst single person"] == "fail"
    assert overall(findings) == "fail"
    findings = audit(2, 0.0, seed=3).findings()
    assert answers(findings)["the worst single person"] == "pass"
    few = audit(2, 9.0, strangers=6).findings()
    assert answers(few)["the worst single person"] == "cannot tell"


def test_few_people_cannot_be_judged_and_the_sentence_says_what_could_have_been_found():
    finding = audit(3).findings()[0]
    assert finding.answer == "cannot tell"
    assert f"below {detectable_auc(3, 80):.2f}" in finding.sentence
    assert detectable_auc(1, 20) == 1.0
    assert 0.6 < detectable_auc(30, 60) < detectable_auc(10, 60) < 1


def test_a_retrained_model_passes_unless_the_audit_contradicts():
    findings = audit(2, 0.0, exact=True).findings()
    assert findings[0].answer == "pass"
    assert "exact by construction" in findings[0].sentence
    assert audit(60, 4.0, exact=True).findings()[0].answer == "fail"


def test_people_erased_before_are_judged_again():
    assert answers(audit(earlier=0.0, seed=1).findings())["everybody erased before"] in ("pass", "cannot tell")
    findings = audit(earlier=4.0).findings()
    assert answers(findings)["everybody erased before"] == "fail"
    assert overall(findings) == "fail"


def test_a_loss_of_accuracy_is_a_failure_over_all_and_per_class():
    findings = audit(exact=True, accuracy=0.3).findings()
    by_name = answers(findings)
    assert by_name["utility"] == by_name["utility of no"] == "fail"
    kept = answers(audit(exact=True, strangers=400, accuracy=0.72).findings())
    assert kept["utility"] == "pass"
    assert all(finding.low is None or finding.low <= finding.high for finding in findings)


def test_without_references_the_margins_alone_are_compared():
    full = audit(exact=True)
    bare = {name: Models(each.before, each.after, []) for name, each in vars(full).items() if isinstance(each, Models)}
    findings = Audit(bare["forget"], None, bare["unseen"], bare["test"], 0.15, 0.1, True, ("no", "yes")).findings()
    assert findings[0].answer == "pass"


def test_the_worst_finding_decides():
    findings = audit().findings()
    assert overall([]) == "cannot tell"
    decisive = [finding for finding in findings if finding.decides]
    assert overall(findings) == overall(decisive)
    assert all(isinstance(value, (str, bool, float, int, type(None))) for value in findings[0].contents().values())


@pytest.mark.parametrize("seed", range(3))
def test_models_without_a_leak_rarely_fail(seed):
    assert answers(audit(60, 0.0, seed=seed).findings())["this batch"] != "fail"
