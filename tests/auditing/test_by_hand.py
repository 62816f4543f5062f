"""Every attack on three models and four images, worked out by hand, with one label and with two."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gli.auditing.reference_audit import Margins, People, Relative, iam, log_p, mean_margins, rmia, snapshots
from gli.metrics.iam import degree_of_memory, iam_scores
from gli.metrics.klom import histogram_klom, normal_klom
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER, ulira_scores

TASKS = pytest.mark.parametrize("labels", [1, 2], ids=["multi-class", "multi-label"])
#: Images 0 and 1 are forgotten, 2 and 3 were never seen; each shows another person.
FOUR = People({"forget": np.array(["a", "b"]), "unseen": np.array(["c", "d"])})


def model(*columns: list[float]) -> Margins:
    """Return a model with margins of the four images, which are also the population; one column for each label."""
    margins = np.array(columns, dtype=np.float64).T
    return {"forget": margins[:2], "unseen": margins[2:], "test": margins}


def of_probabilities(*columns: list[float]) -> Margins:
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
def testrmia(labels):
    """R = p / ((1.5 mean + .5) / 2) for a = .5; a second label of probability .5 everywhere halves every p.

    One label: p .9, .5, .3, .8 against means .2, .4, .3, .8 give R 2.25, .909, .632, .941: image 0 is above the three
    others, image 3 above two, image 1 above one, image 2 above none. Two labels: .45, .25, .15, .4 against .1, .2, .15,
    .4 give 1.385, .625, .414, .727: the same order.
    """
    half = [[0.5] * 4][: labels - 1]
    target = of_probabilities([0.9, 0.5, 0.3, 0.8], *half)
    references = [of_probabilities([0.3, 0.3, 0.3, 0.7], *half), of_probabilities([0.1, 0.5, 0.3, 0.9], *half)]
    assert log_p(target["forget"]).tolist() == pytest.approx(np.log([0.9, 0.5] if labels == 1 else [0.45, 0.25]))
    assert rmia(target, references, 0.5).tolist() == [0.75, 0.25, 0.0, 0.5]


@TASKS
def test_klom(labels):
    """References at 0 and 2, or 0 and 4: variances 2 and 8, shrunk to (2 + 8 * 5) / 9 and (8 + 8 * 5) / 9."""
    columns = [[1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 3.0, 6.0]][:labels]
    references = [0.0] * 4, [2.0, 4.0, 2.0, 4.0]
    sides = [mean_margins(model(*([value] * labels)), "forget", "unseen") for value in references]
    own = mean_margins(model(*columns), "forget", "unseen")[None]
    expected = [0, 0, 0.5 * 2**2 * 9 / 42, 0.5 * 4**2 * 9 / 48]
    assert normal_klom(own, np.array(sides)).tolist() == pytest.approx(expected)
    # A margin is the mean over labels: 1 and 3 are 2.
    assert mean_margins(model([1.0] * 4, [3.0] * 4), "forget").tolist() == [2, 2]
    # Published form: all of the model's mass is in one bin; it holds half of the references, or none of them.
    published = histogram_klom(own[:, [0, 3]] * 0 + [[2.0, 9.0]], np.array(sides)[:, [0, 2]])
    assert published.tolist() == pytest.approx([math.log(2), -math.log(1e-5)])


@TASKS
def testiam(labels):
    """References at 0 and 2: mean 1, spread sqrt 2; with the original there too, the score is the CDF of Gumbel."""
    scale = math.sqrt(2) * math.sqrt(6) / math.pi
    own = [1.0, 1 + scale, 1 - scale, 1 + scale]
    unlearned, original = model(*[own] * labels), model(*[[1.0] * 4] * labels)
    references = [model(*[[value] * 4] * labels) for value in (0.0, 2.0)]
    out = np.array([mean_margins(each, "forget", "unseen") for each in references])
    scores = iam_scores(mean_margins(unlearned, "forget", "unseen"), mean_margins(original, "forget", "unseen"), out)
    high, middle, low = (math.exp(-math.exp(-value)) for value in (1, 0, -1))
    assert scores.tolist() == pytest.approx([middle, high, low, high])
    # Image 0 is above one of the two never seen, image 1 above one and equal to the other: (1 + 1.5) / 4.
    plain = iam(unlearned, references, original)
    assert plain.tolist() == scores.tolist()
    assert FOUR.attack("IAM", plain[None]).people.value == pytest.approx(0.625)


def test_a_score_counts_relative_to_what_references_get():
    """References score 1, 2 and 3 on every image; the target's 7 is 5 above their mean, they are -1.5, 0 and 1.5."""
    models = [model([float(number)] * 4) for number in (1, 2, 3)]
    relative = Relative(lambda target, others: mean_margins(target, "forget", "unseen"), models)
    assert relative.of(model([7.0] * 4)).tolist() == [[5.0] * 4]
    assert relative.of_references().tolist() == [[-1.5] * 4, [0.0] * 4, [1.5] * 4]


@TASKS
def test_memory(labels):
    """Original 2 above the reference everywhere, unlearned 1 above on one image of two: (1 * 2 + 0 * 2) / (2 * 2^2)."""
    values = [2.0, 3.0, 0, 0], [0.0, 1.0, 0, 0], [1.0, 1.0, 0, 0]
    original, reference, unlearned = (mean_margins(model(*[value] * labels), "forget") for value in values)
    assert degree_of_memory(unlearned, original, reference) == pytest.approx(0.25)


@TASKS
def test_twosnapshots(labels):
    """The margins of the forgotten moved by 3 and 1, those of others by 2 and 0: three of four pairs are in order."""
    before = model(*[[5.0, 5.0, 5.0, 5.0]] * labels)
    after = model(*[[2.0, 6.0, 7.0, 5.0]] * labels)
    assert snapshots(FOUR, before, [after]).value == pytest.approx(0.75)
    # With a second model, in which nothing moved: 10 of 16 pairs.
    assert snapshots(FOUR, before, [after, before]).value == pytest.approx(0.625)
