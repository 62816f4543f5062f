"""Every attack on three models and four images, worked out by hand, with one label and with two."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gli.auditing.attacks import attack
from gli.auditing.few_references import fleet_of
from gli.auditing.references import Fleet
from gli.auditing.run_audit import Model, _iam, _Relative, _rmia, _snapshots
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.klom import histogram_klom, normal_klom
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

TASKS = pytest.mark.parametrize("labels", [1, 2], ids=["multi-class", "multi-label"])
#: Images 0 and 1 are forgotten, 2 and 3 were never seen; each shows another person.
FOUR: Fleet = fleet_of({"forget": np.array(["a", "b"]), "unseen": np.array(["c", "d"])})


def model(*columns: list[float]) -> Model:
    """Return a model with margins of the four images, which are also the population; one column for each label."""
    margins = np.array(columns, dtype=np.float64).T
    return Model({"forget": margins[:2], "unseen": margins[2:], "test": margins}, 0.5)


def of_probabilities(*columns: list[float]) -> Model:
    return model(*([math.log(p / (1 - p)) for p in column] for column in columns))


@TASKS
def test_ulira(labels):
    """Image 1 in model 0, from models 1 and 2; variances come from images 0 (forgotten twice) and 2 (never seen twice).

    Forgotten: image 0 at 1 and 3, variance 2; image 1 at 4, so the variance of its prediction is 2 (1 + 1) = 4. Never
    seen: image 2 at 0 and 2, variance 2; image 1 at 6, variance 4. At 4.5: -.5^2 / 8 + 1.5^2 / 8 = .25; the second
    label is at 5.5 in model 0, which gives -.25, and the ratios are added.
    """
    first = np.array([[2, 4.5, 1, 7], [1, 4, 0, 7], [3, 6, 2, 7]])
    second = np.array([[2, 5.5, 1, 7], [1, 4, 0, 7], [3, 6, 2, 7]])
    states = np.array(
        [
            [FORGOTTEN, FORGOTTEN, NEVER_SEEN, OTHER],
            [FORGOTTEN, FORGOTTEN, NEVER_SEEN, OTHER],
            [FORGOTTEN, NEVER_SEEN, NEVER_SEEN, OTHER],
        ]
    )
    margins = np.stack([first, second][:labels], axis=-1)
    scores = ulira_scores(margins, states, np.arange(3))
    assert scores[0, 1] == pytest.approx(0.25 if labels == 1 else 0.0)
    assert np.isnan(scores[0, [0, 2, 3]]).all()  # Observed in one state only, or in none.


@TASKS
def test_rmia(labels):
    """R = p / ((1.5 mean + .5) / 2) for a = .5; a second label of probability .5 everywhere halves every p.

    One label: p .9, .5, .3, .8 against means .2, .4, .3, .8 give R 2.25, .909, .632, .941: image 0 is above the three
    others, image 3 above two, image 1 above one, image 2 above none. Two labels: .45, .25, .15, .4 against .1, .2, .15,
    .4 give 1.385, .625, .414, .727: the same order.
    """
    half = [[0.5] * 4][: labels - 1]
    target = of_probabilities([0.9, 0.5, 0.3, 0.8], *half)
    references = [of_probabilities([0.3, 0.3, 0.3, 0.7], *half), of_probabilities([0.1, 0.5, 0.3, 0.9], *half)]
    assert target.log_p("forget").tolist() == pytest.approx(np.log([0.9, 0.5] if labels == 1 else [0.45, 0.25]))
    assert _rmia(target, references, 0.5).tolist() == [0.75, 0.25, 0.0, 0.5]


@TASKS
def test_klom(labels):
    """References at 0 and 2, or 0 and 4: variances 2 and 8, shrunk to (2 + 8 * 5) / 9 and (8 + 8 * 5) / 9."""
    columns = [[1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 3.0, 6.0]][:labels]
    sides = [model(*([value] * labels)).margin("forget", "unseen") for value in ([0.0] * 4, [2.0, 4.0, 2.0, 4.0])]
    own = model(*columns).margin("forget", "unseen")[None]
    expected = [0, 0, 0.5 * 2**2 * 9 / 42, 0.5 * 4**2 * 9 / 48]
    assert normal_klom(own, np.array(sides)).tolist() == pytest.approx(expected)
    # A margin is the mean over labels: 1 and 3 are 2.
    assert model([1.0] * 4, [3.0] * 4).margin("forget").tolist() == [2, 2]
    # Published form: all of the model's mass is in one bin; it holds half of the references, or none of them.
    published = histogram_klom(own[:, [0, 3]] * 0 + [[2.0, 9.0]], np.array(sides)[:, [0, 2]])
    assert published.tolist() == pytest.approx([math.log(2), -math.log(1e-5)])


@TASKS
def test_iam(labels):
    """References at 0 and 2: mean 1, spread sqrt 2; with the original there too, the score is the CDF of Gumbel."""
    scale = math.sqrt(2) * math.sqrt(6) / math.pi
    own = [1.0, 1 + scale, 1 - scale, 1 + scale]
    unlearned, original = model(*[own] * labels), model(*[[1.0] * 4] * labels)
    references = [model(*[[value] * 4] * labels) for value in (0.0, 2.0)]
    out = np.array([each.margin("forget", "unseen") for each in references])
    scores = iam_scores(unlearned.margin("forget", "unseen"), original.margin("forget", "unseen"), out)
    high, middle, low = (math.exp(-math.exp(-value)) for value in (1, 0, -1))
    assert scores.tolist() == pytest.approx([middle, high, low, high])
    # Image 0 is above one of the two never seen, image 1 above one and equal to the other: (1 + 1.5) / 4.
    plain = _iam(unlearned, references, original)
    assert plain.tolist() == scores.tolist()
    assert attack(plain[None], FOUR).people.value == pytest.approx(0.625)


def test_a_score_counts_relative_to_what_references_get():
    """References score 1, 2 and 3 on every image; the target's 7 is 5 above their mean, they are -1.5, 0 and 1.5."""
    models = [model([float(number)] * 4) for number in (1, 2, 3)]
    relative = _Relative(lambda target, others: target.margin("forget", "unseen"), models)
    assert relative.of(model([7.0] * 4)).tolist() == [[5.0] * 4]
    assert relative.of_references().tolist() == [[-1.5] * 4, [0.0] * 4, [1.5] * 4]


@TASKS
def test_memory(labels):
    """Original 2 above the reference everywhere, unlearned 1 above on one image of two: (1 * 2 + 0 * 2) / (2 * 2^2)."""
    original, reference, unlearned = (
        model(*[value] * labels).margin("forget") for value in ([2.0, 3.0, 0, 0], [0.0, 1.0, 0, 0], [1.0, 1.0, 0, 0])
    )
    assert degree_of_memory(unlearned, original, reference) == pytest.approx(0.25)


@TASKS
def test_two_snapshots(labels):
    """The margins of the forgotten moved by 3 and 1, those of others by 2 and 0: three of four pairs are in order."""
    before = model(*[[5.0, 5.0, 5.0, 5.0]] * labels)
    after = model(*[[2.0, 6.0, 7.0, 5.0]] * labels)
    assert _snapshots(before, [after], FOUR).value == pytest.approx(0.75)
    # On average over two models the first moved by 1.5 only.
    assert _snapshots(before, [after, before], FOUR).value == pytest.approx(0.75)


def test_people_who_differ_are_not_mistaken_for_people_who_were_trained_on():
    """The forgotten are easier than the never seen: plain scores tell them apart in a model that saw neither."""
    plain, relative, found = [], [], []
    numbers = np.array([f"{number:03d}" for number in range(120)])
    for seed in range(40):
        generator = np.random.default_rng(seed)
        difficulty = 2 * generator.normal(size=120) + np.repeat([1.0, 0.0], 60)
        models = []
        for shift in [0.0] * 9 + [2.0]:
            margins = difficulty + 0.7 * generator.normal(size=120) + shift * np.repeat([1, 0], 60)
            models.append(
                Model({"forget": margins[:60, None], "unseen": margins[60:, None], "test": margins[60:, None]}, 0.5)
            )
        references, retrained, original = models[:8], models[8], models[9]
        fleet = fleet_of({"forget": numbers[:60], "unseen": numbers[60:]})
        scores = _Relative(lambda target, others: _rmia(target, others, 0.3), references)
        plain.append(attack(_rmia(retrained, references, 0.3)[None], fleet).people.value)
        relative.append(attack(scores.of(retrained), fleet).people)
        found.append(attack(scores.of(original), fleet).people.value)
    assert abs(np.mean(plain) - 0.5) > 0.06
    assert abs(np.mean([area.value for area in relative]) - 0.5) < 0.03
    assert np.mean([area.covers(0.5) for area in relative]) >= 0.9
    assert np.mean(found) > 0.75
