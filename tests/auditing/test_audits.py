"""Planted cases: leaks of a known kind are found, and models without one pass."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gli.auditing import UPRIGHT
from gli.auditing.fleet import plan_draws
from gli.auditing.fleet_audit import NO_UNLEARNING, audit_fleets, memorisation, strata, ulira
from gli.auditing.verdict import exposures, judge
from gli.errors import SettingError
from gli.metrics.intervals import Interval, auc
from gli.metrics.membership_inference import membership_inference_accuracy
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER
from tests.helpers.fleets import fleet, shifted

POWERFUL, CLEAN = Interval(0.95, 0.9, 1.0, 0.02), Interval(0.5, 0.45, 0.55, 0.02)


def judged(change=None, **settings):
    attack = ulira(fleet(change=change, **settings))[UPRIGHT]
    return attack, judge(attack.people, POWERFUL, CLEAN)


def test_a_monotone_map_of_the_losses_fools_the_population_attack_and_not_this_one():
    """Memorised images are all easy; the map gives their margins the distribution of unseen ones, in the same order."""

    def planted(margins, states, generator):
        for row, state in zip(margins, states, strict=True):
            forgotten, unseen = state == FORGOTTEN, row[state == NEVER_SEEN]
            memorised = 5 + generator.normal(size=forgotten.sum())
            row[forgotten] = np.quantile(unseen, np.argsort(np.argsort(memorised)) / (forgotten.sum() - 1))
        return margins

    models = fleet(change=planted, people=60, images=5)
    losses, states = np.logaddexp(0, -models.margins[0, :, 0]), models.states[0]
    forgotten, unseen = losses[states == FORGOTTEN], losses[states == NEVER_SEEN]
    population = membership_inference_accuracy(forgotten, np.sort(unseen)[:: len(unseen) // len(forgotten)])
    assert population == pytest.approx(0.5, abs=0.1)
    attack, verdict = judged(planted, people=60, images=5)
    assert attack.people.low > 0.6
    assert verdict.answer == "fail"


def test_a_shift_per_person_that_averages_to_zero_is_found():
    """Half of the people get lower margins when forgotten, the others higher: the population attack sees nothing."""

    def planted(margins, states, generator):
        sign = np.where(np.arange(margins.shape[1]) // 5 % 2, 1.5, -1.5)
        return margins + sign * (states == FORGOTTEN)

    models = fleet(change=planted, people=60, images=5)
    forgotten, unseen = (models.margins[..., 0][models.states == state] for state in (FORGOTTEN, NEVER_SEEN))
    assert auc(forgotten, unseen) == pytest.approx(0.5, abs=0.03)
    attack, verdict = judged(planted, people=60, images=5)
    assert attack.people.low > 0.7
    assert verdict.answer == "fail"


def test_models_that_never_saw_the_people_pass():
    _, verdict = judged(people=150, images=3)
    assert verdict.answer == "pass"
    assert "does not distinguish forgotten from never seen people" in verdict.sentence


def test_without_unlearning_people_are_identified():
    attack, verdict = judged(shifted(2.0))
    assert attack.people.value > 0.8
    assert verdict.answer == "fail"
    assert "still identifies forgotten people" in verdict.sentence


def test_over_unlearning_is_found_with_its_direction():
    """The attack finds it, since it is fitted to models of the method; the degree of memory says which way."""
    originals, unlearned = fleet(change=shifted(2.0)), fleet(change=shifted(-2.0), noise=2)
    retrained = fleet(noise=3)
    audits = {audit.name: audit for audit in audit_fleets({"Over": unlearned}, originals, retrained)}
    assert audits["Over"].verdict.answer == "fail"
    assert audits["Over"].memory.high < 0
    assert audits[NO_UNLEARNING].memory.value == pytest.approx(1)
    assert audits["Over"].efficacy.people.low > 0.8
    assert audits["Over"].klom["forgotten"].low > 0
    assert audits["Over"].klom["never seen"].covers(0)


def test_a_leak_in_one_person_of_fifty_is_named_among_the_worst():
    def planted(margins, states, generator):
        return margins + 3.0 * ((states == FORGOTTEN) & (np.arange(margins.shape[1]) // 3 == 40))

    models = fleet(change=planted, people=60, images=3, seed=3)
    assert (models.states[:, 120] != OTHER).any()
    worst = [person.name for person in exposures(ulira(models)[UPRIGHT].trials, models.names)[:3]]
    assert "p040" in worst


def test_too_few_people_cannot_tell_and_say_what_would_have_been_found():
    attack, verdict = judged(people=20, images=1, originals=8, draws=1)
    assert verdict.answer == "cannot tell"
    assert f"{attack.people.detectable:.2f}" in verdict.sentence


def test_an_audit_without_power_or_with_a_failing_control_cannot_tell():
    weak = Interval(0.55, 0.48, 0.62, 0.03)
    assert "no power" in judge(CLEAN, weak, CLEAN).sentence
    biased = Interval(0.6, 0.55, 0.65, 0.02)
    assert "negative control fails" in judge(CLEAN, POWERFUL, biased).sentence
    assert judge(CLEAN, POWERFUL, biased).answer == "cannot tell"


def test_a_method_that_wrecks_everybody_alike_is_not_equal_to_retraining():
    """Inside the method nobody is identified; against retrained models everybody is."""

    def wrecked(margins, states, generator):
        return margins - 4.0

    originals, retrained = fleet(change=shifted(2.0)), fleet(noise=3)
    audits = {
        audit.name: audit for audit in audit_fleets({"Wreck": fleet(change=wrecked, noise=2)}, originals, retrained)
    }
    assert audits["Wreck"].privacy.people.covers(0.5)
    assert audits["Wreck"].efficacy.people.low > 0.9


def test_retrained_models_have_no_memory():
    originals, retrained = fleet(change=shifted(2.0)), fleet(noise=3)
    audits = {audit.name: audit for audit in audit_fleets({"Retrained": retrained}, originals, retrained)}
    assert audits["Retrained"].memory.covers(0)
    assert audits["Retrained"].efficacy.people.value == pytest.approx(0.5, abs=0.05)


def test_models_that_diverged_are_left_out_and_counted():
    def diverged(margins, states, generator):
        margins[:3] = np.nan
        return margins

    originals, retrained = fleet(change=shifted(2.0)), fleet(noise=3)
    (_, audit) = audit_fleets({"Half": fleet(change=diverged, noise=2)}, originals, retrained)
    assert audit.diverged == 3
    assert 3 not in audit.privacy.trials.originals or np.isfinite(audit.privacy.trials.scores).all()
    assert audit.privacy.people.covers(0.5)


def test_in_sample_scoring_finds_a_leak_where_there_is_none():
    """An attack that is fitted to its own target: here each margin is compared with means that contain it."""
    in_sample, left_out = [], []
    for seed in range(20):
        models = fleet(people=60, images=1, originals=8, draws=2, seed=seed)
        margins, states = models.margins[..., 0], models.states
        distances = []
        for state in (NEVER_SEEN, FORGOTTEN):
            chosen = states == state
            mean = np.where(chosen, margins, 0).sum(axis=0) / np.maximum(chosen.sum(axis=0), 1)
            distances.append((margins - mean) ** 2)
        scores, seen = distances[0] - distances[1], (states == FORGOTTEN).any(axis=0)
        in_sample.append(auc(scores[(states == FORGOTTEN) & seen], scores[(states == NEVER_SEEN) & seen]))
        left_out.append(ulira(models)[UPRIGHT].people.value)
    assert np.mean(in_sample) > 0.65
    assert np.mean(left_out) == pytest.approx(0.5, abs=0.03)


def test_calibration_of_the_whole_attack():
    intervals = [ulira(fleet(people=40, images=2, originals=8, seed=seed))[UPRIGHT].people for seed in range(100)]
    areas = [interval.value for interval in intervals]
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.std(areas) / 10)
    assert np.mean([interval.covers(0.5) for interval in intervals]) >= 0.92


def test_a_leak_in_one_view_alone_fails_the_method_and_is_named():
    """Upright, nothing is left of the people; transposed, everything is, inside the models and against retraining."""

    def in_views(margins, noise, leak=0.0):
        others = {"transposed": shown(change=shifted(leak), noise=noise), "grey": shown(noise=noise + 1)}
        return replace(margins, views={view: other.margins for view, other in others.items()})

    shown = partial(fleet, people=150)
    clean = shown(noise=2)
    originals, retrained = shown(change=shifted(2.0)), in_views(shown(noise=3), 30)
    methods = {"Upright": clean, "Leaky": in_views(clean, 40, leak=2.0), "Clean": in_views(clean, 50)}
    audits = {audit.name: audit for audit in audit_fleets(methods, originals, retrained)}
    assert audits["Upright"].verdict.answer == "pass"
    assert audits["Upright"].verdict.sentence.endswith("The attacker had only the upright view.")
    assert audits["Clean"].verdict.answer != "fail"
    assert audits["Leaky"].verdict.answer == "fail"
    assert "the strongest of 4 attacks in 3 views: transposed" in audits["Leaky"].verdict.sentence
    assert audits["Leaky"].views[UPRIGHT].people.covers(0.5)
    assert audits["Leaky"].efficacy.name == "transposed"
    assert audits["Leaky"].efficacy.people.low > 0.8 > audits["Clean"].efficacy.people.high


def test_the_third_that_was_memorised_most_leaks_most():
    strength = np.linspace(0, 4, 60)

    def memorised(margins, states, generator):
        return margins + np.repeat(strength, 3) * (states == FORGOTTEN)

    originals = fleet(change=memorised)
    values = memorisation(originals)
    known = np.isfinite(values)
    assert np.corrcoef(values[known], strength[known])[0, 1] > 0.9
    areas = strata(ulira(originals)[UPRIGHT].trials, originals)
    assert areas[0] < areas[1] < areas[2]


# -- who is in which model ---------------------------------------------------------------------------------------------


def test_everybody_is_in_half_of_the_originals_and_never_forgotten_twice_from_one():
    groups = [[f"p{number}"] for number in range(50)]
    draws = plan_draws(groups, 8, 3, seed=1)
    test = set(draws[0].test)
    for name in {group[0] for group in groups} - test:
        seen = [draw for draw in draws if name in draw.retain or name in draw.forget]
        assert len({draw.original for draw in seen}) == 4
        for original in range(8):
            assert sum(name in draw.forget for draw in draws if draw.original == original) <= 1
    for draw in draws:
        sets = [set(draw.retain), set(draw.forget), set(draw.unseen), set(draw.test)]
        assert sum(map(len, sets)) == len(set.union(*sets)) == 50
        assert set(draw.test) == test


def test_pairs_complement_each_other_and_groups_are_never_cut():
    groups = [[f"a{number}", f"b{number}"] for number in range(30)]
    draws = plan_draws(groups, 6, 1)
    assert set(draws[0].unseen) == {*draws[1].retain, *draws[1].forget}
    for draw in draws:
        for group in groups:
            for members in (draw.retain, draw.forget, draw.unseen, draw.test):
                assert len(set(group) & set(members)) in (0, 2)


@pytest.mark.parametrize(
    ("originals", "draws", "message"),
    [(7, 1, "even number"), (4, 1, "even number"), (6, 4, "twice"), (6, 0, "draws is 0")],
)
def test_plans_that_cannot_work_are_refused(originals, draws, message):
    with pytest.raises(SettingError, match=message):
        plan_draws([[f"p{number}"] for number in range(40)], originals, draws)
    with pytest.raises(SettingError, match="too few"):
        plan_draws([["a"], ["b"]], 6, 1)
