"""The last line of a run: each rule on a run that it is about, and on one beside it."""

from __future__ import annotations

import math
import re

import pytest
from lightning import Trainer

from gli.auditing.conclusion import RULES, Ended, conclude
from gli.engine.fit import CALLBACKS
from gli.methods import GLI, SSD, TransposeDistil
from gli.system.explain import settings_of

SCORES = {"accuracy": 0.4, "mia_accuracy": 0.8, "jsd": 0.05, "final_score": 0.4, "loss_forget": 1.0, "loss_unseen": 2.0}


def row(iteration: int, **changes: float) -> dict[str, float]:
    return {"iteration": iteration, **SCORES, **changes}


def ended(*rows: dict[str, float], best: int | None = -1, **changes) -> Ended:
    """A run of NegGrad: the original, then the given audits."""
    audits = [row(0), *rows]
    return Ended("NegGrad", audits, None if best is None else audits[best], **changes)


RUNS = {
    "diverged after iteration 2: lower --model.lr": ended(row(2), row(4, final_score=math.nan), best=1, finite=False),
    "the run was interrupted before its first audit": ended(best=None, interrupted=True),
    "the run ended before its first audit": ended(best=None),
    "trained from scratch: accuracy 0.30": ended(row(9, accuracy=0.3), from_scratch=True),
    "nothing to forget: the original's MIA accuracy is 0.80 (retrained: 0.79)": ended(
        row(2), retrained={"mia_accuracy": 0.79}
    ),
    "collapsed at iteration 18, accuracy 0.11 of 0.40: NegGrad needs a stop, such as --early_stopping.patience 3 "
    "(iteration 16 is kept)": ended(
        row(14, accuracy=0.1), row(16), row(18, accuracy=0.11), row(20, accuracy=0.05), best=2
    ),
    "nothing to forget: the original's MIA accuracy is 0.50 (an attacker who guesses has 0.50). The original is right "
    "about 21 % of its own training images: is normalisation missing": Ended(
        "SCRUB", [row(0, mia_accuracy=0.5, forget_accuracy=0.21), row(2)], row(2)
    ),
    "accuracy came back to 0.11 of 0.40 only: NegGrad first puts the network out of use, and then needs more "
    "iterations (--trainer.max_epochs)": ended(row(2, accuracy=0.11), rebuilds=True),
    "(an attacker who guesses has 0.50): lower --model.alpha": ended(row(2, mia_accuracy=0.79), more=SSD.more),
    "forgot next to nothing, MIA accuracy 0.79 of 0.80 (an attacker who guesses has 0.50): raise --model.lr": ended(
        row(2, mia_accuracy=0.79)
    ),
    "forgot next to nothing, MIA accuracy 0.59 of 0.61": Ended(
        "SCRUB", [row(0, mia_accuracy=0.61), row(2, mia_accuracy=0.59)], row(2, mia_accuracy=0.59)
    ),
    "over-unlearned (MIA accuracy 0.35": ended(row(2, mia_accuracy=0.35)),
    "over-unlearned (MIA accuracy 0.52": ended(row(2, mia_accuracy=0.52, jsd=0.3, loss_forget=3.5)),
    "and lost 0.10 of 0.40 accuracy": ended(row(2, mia_accuracy=0.51, accuracy=0.3)),
    "forgot in part: MIA accuracy 0.65, 50 % of the way from 0.80 to 0.50 (guessing)": ended(row(2, mia_accuracy=0.65)),
    "forgot in part: MIA accuracy 0.65, 75 % of the way from 0.80 to 0.60 (retrained)": ended(
        row(2, mia_accuracy=0.65), retrained={"mia_accuracy": 0.6, "loss_forget": 2.0}
    ),
    "forgot on average (MIA accuracy 0.50, an attacker who guesses has 0.50) and kept the accuracy": ended(
        row(2, mia_accuracy=0.5)
    ),
}


@pytest.mark.parametrize("meant", RUNS)
def test_a_run_ends_in_the_sentence_about_it(meant):
    assert meant in conclude(RUNS[meant])
    assert not conclude(RUNS[meant]).endswith(".")  # Whoever shows it ends the sentence.


def test_every_rule_is_tried_by_a_run():
    """The rule that gives each sentence above is found; none is left over."""
    used = set()
    for run in RUNS.values():
        used.add(next(rule.__name__ for rule in RULES if rule(run) is not None))
    assert used == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("meant", RUNS)
def test_settings_in_a_sentence_exist(meant):
    known = [*settings_of("model", GLI), *settings_of("model", SSD), *settings_of("trainer", Trainer)]
    known += [name for key, owner in CALLBACKS.items() for name in settings_of(key, owner)]
    for name in re.findall(r"--([\w.]*\w)", conclude(RUNS[meant])):
        assert name in known


def test_methods_say_what_makes_them_forget_more():
    assert "--model.lr" not in SSD.more + SSD.less  # It has none.
    assert TransposeDistil.rebuilds


def test_a_rule_of_ones_own_comes_first(monkeypatch):
    monkeypatch.setattr("gli.auditing.conclusion.RULES", [lambda run: f"{run.method}!", *RULES])
    assert conclude(ended(row(2))) == "NegGrad!"
