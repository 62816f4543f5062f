"""The verdict of a batch, on made-up outputs of models: leaks are found, and too few people are too few."""

from __future__ import annotations

import numpy as np
import pytest

from gli.erasure.evidence import Evidence, Models, Outputs, _loss, detectable_auc, gather_evidence

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
    return gather_evidence(
        group(generator, people, 4.0, after),
        None if earlier is None else group(generator, 40, 0.0, earlier),
        group(generator, strangers, 0.0, 0.0, accuracy),
        group(generator, strangers, 0.0, 0.0, accuracy),
        0.15,
        0.1,
        exact,
        ("no", "yes"),
    )


def answers(evidence):
    return {finding.name: finding.answer for finding in evidence.findings}


def test_a_model_that_forgot_passes_and_one_that_remembers_fails():
    forgot = audit(200, 0.0, strangers=200)
    assert answers(forgot)["this batch"] == "pass"
    assert answers(forgot)["the worst single person"] == "cannot tell"  # 200 people ask for more strangers.
    assert forgot.attack == "RMIA relative to reference models, only the upright view"
    remembers = audit(after=4.0)
    assert answers(remembers)["this batch"] == "fail"
    assert remembers.answer == "fail"
    over = audit(after=-4.0)
    assert answers(over)["this batch"] == "fail"
    assert "over-unlearning" in over.findings[0].sentence
    sentence = remembers.findings[0].sentence
    assert "Memory of these photographs: 1." in sentence or "0.9" in sentence


def test_a_single_person_who_stands_out_is_a_failure():
    evidence = audit(2, 9.0)
    assert answers(evidence)["this batch"] == "cannot tell"
    assert answers(evidence)["the worst single person"] == "fail"
    assert evidence.findings[1].images == evidence.findings[0].images > 0
    assert evidence.answer == "fail"
    forgotten, powerless = audit(2, 0.0, seed=3), audit(3, 0.0)
    assert (answers(forgotten)["the worst single person"], forgotten.powered) == ("pass", True)
    assert (answers(powerless)["the worst single person"], powerless.powered) == ("cannot tell", False)
    assert answers(audit(2, 9.0, strangers=6))["the worst single person"] == "cannot tell"


def test_few_people_cannot_be_judged_and_the_sentence_says_what_could_have_been_found():
    finding = audit(3).findings[0]
    assert finding.answer == "cannot tell"
    assert f"below {detectable_auc(3, 80):.2f}" in finding.sentence
    assert detectable_auc(1, 20) == 1.0
    assert 0.6 < detectable_auc(30, 60) < detectable_auc(10, 60) < 1


def test_a_retrained_model_is_exact_unless_the_audit_contradicts():
    evidence = audit(2, 0.0, exact=True, strangers=400, accuracy=0.72)
    assert [finding.answer for finding in evidence.findings[:2]] == ["exact by construction"] * 2
    assert evidence.answer == "exact by construction"
    assert "trained without these people" in evidence.findings[1].sentence
    assert audit(60, 4.0, exact=True).findings[0].answer == "fail"


def test_a_test_without_power_never_passes():
    """Every combination of few people, few strangers and either route, for models without and with a leak."""
    for people in (1, 2, 4, 5):
        for strangers in (2, 4, 5, 9):
            for exact in (False, True):
                evidence = audit(people, 0.0, strangers=strangers, exact=exact, earlier=0.0 if people == 2 else None)
                tests = [finding for finding in evidence.findings if not finding.name.startswith("utility")]
                weak = [
                    finding
                    for finding in tests
                    if finding.name == "the worst single person"
                    or min(finding.people, strangers) < 5
                    or detectable_auc(finding.people, strangers) == 1
                ]
                assert weak
                expected = "exact by construction" if exact else "cannot tell"
                assert {finding.answer for finding in weak} == {expected}, (people, strangers, exact)
                assert not evidence.powered


def test_people_erased_before_are_judged_again():
    assert answers(audit(earlier=0.0, seed=1))["everybody erased before"] in ("pass", "cannot tell")
    evidence = audit(earlier=4.0)
    assert answers(evidence)["everybody erased before"] == "fail"
    assert evidence.answer == "fail"


def test_a_loss_of_accuracy_is_a_failure_over_all_and_per_class():
    evidence = audit(exact=True, accuracy=0.3)
    assert answers(evidence)["utility"] == answers(evidence)["utility of no"] == "fail"
    assert answers(audit(exact=True, strangers=400, accuracy=0.72))["utility"] == "pass"
    assert all(finding.low is None or finding.low <= finding.high for finding in evidence.findings)
    # Twelve people on whom nothing has changed do not show that nobody else is affected.
    people = np.arange(12)
    unchanged = [_loss("utility", np.zeros(12), people, margin, 0.95, True) for margin in (0.05, 0.3)]
    assert [(finding.answer, finding.high) for finding in unchanged] == [("cannot tell", 0.25), ("pass", 0.25)]


def test_without_references_the_margins_alone_are_compared_and_the_verdict_says_so():
    generator = np.random.default_rng(0)
    groups = [group(generator, people, before, 0.0) for people, before in ((60, 4.0), (80, 0.0), (80, 0.0))]
    forget, unseen, test = (Models(each.before, each.after, []) for each in groups)
    exact, judged = (gather_evidence(forget, None, unseen, test, 0.15, 0.1, by_retraining, ("no", "yes"))
                     for by_retraining in (True, False))  # fmt: skip
    assert exact.findings[0].answer in ("pass", "exact by construction")
    assert exact.attack == judged.attack == "margins of the audited model alone, only the upright view"
    assert "With fewer than 3 reference models" in judged.findings[0].sentence


def test_the_worst_finding_decides():
    evidence = audit()
    assert Evidence([], "").answer == "cannot tell"
    decisive = [finding for finding in evidence.findings if finding.decides]
    assert evidence.answer == Evidence(decisive, "").answer
    contents = evidence.findings[0].contents()
    assert all(isinstance(value, (str, bool, float, int, type(None))) for value in contents.values())


@pytest.mark.parametrize("seed", range(3))
def test_models_without_a_leak_rarely_fail(seed):
    assert answers(audit(60, 0.0, seed=seed))["this batch"] != "fail"
