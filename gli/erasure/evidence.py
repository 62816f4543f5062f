"""What the audit of a batch finds: this batch, everybody erased before, the worst single person, utility.

Pure functions of outputs of models. The attack is RMIA against retrained reference models, person by person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gli.auditing.few_references import LEAST_REFERENCES
from gli.auditing.verdict import CHANCE, auc_in_words, judge
from gli.erasure.evaluate import Outputs
from gli.erasure.ledger import counted
from gli.erasure.store import LEAST_PEOPLE
from gli.metrics.iam import degree_of_memory
from gli.metrics.intervals import (
    Answer,
    Interval,
    Trials,
    auc,
    auc_interval,
    equivalence,
    mean_interval,
    people_means,
)
from gli.metrics.power import null_error
from gli.metrics.rmia import calibrate, likelihood_ratios, rmia_scores

Array = npt.NDArray[np.float64]
#: Two-sided 5 % level and 80 % power of a normal test.
DETECTION = 1.959964 + 0.841621
#: Level at which a single person counts as recognised; much smaller where the model is exact by construction.
LEVEL, LEVEL_EXACT = 0.05, 0.001


@dataclass(frozen=True)
class Finding:
    """One result of an audit. It names nobody.

    Attributes:
        name: What was tested.
        answer: ``pass``, ``fail``, ``cannot tell``, or ``not tested``.
        sentence: What was found, in one sentence.
        decides: Whether the answer is part of the verdict.
        value: The estimate; None where there is none.
        low: Lower limit of its 95 % interval.
        high: Upper limit.
        margin: Margin declared beforehand.
        people: Number of people.
        images: Number of images.
    """

    name: str
    answer: str
    sentence: str
    decides: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    people: int = 0
    images: int = 0

    def contents(self) -> dict[str, Any]:
        """Return the finding as plain values, numbers rounded to six digits."""
        return {
            name: round(value, 6)
            if isinstance(value, float) and math.isfinite(value)
            else None
            if isinstance(value, float)
            else value
            for name, value in asdict(self).items()
        }


def overall(findings: Sequence[Finding]) -> Answer:
    """Return the verdict: fail if anything fails, else cannot tell if anything cannot be told, else pass."""
    answers = {finding.answer for finding in findings if finding.decides}
    return "fail" if "fail" in answers else "cannot tell" if "cannot tell" in answers or not answers else "pass"


def detectable_auc(people: int, strangers: int) -> float:
    """Return the smallest AUC that an attack on some people can show with a probability of 80 %.

    The variance is that of the Mann-Whitney statistic without a leak; 1 if not even a perfect attack can be shown.

    Args:
        people: Number of forgotten people.
        strangers: Number of people who were never seen.
    """
    return min(1.0, CHANCE + DETECTION * null_error(people, strangers))


@dataclass(frozen=True)
class Models:
    """Outputs of the classifier before, of the new one, and of the reference models, on one group of photographs."""

    before: Outputs
    after: Outputs
    references: Sequence[Outputs]

    @property
    def out(self) -> Array:
        """Log p under the reference models, shape ``(models, images)``."""
        return np.array([model.log_p for model in self.references])


def _scores(target: Array, out: Array, population: tuple[Array, Array], a: float) -> Array:
    """Return the attack's score of each image: RMIA, or log p itself where there are no references."""
    if not len(out):
        return target
    return rmia_scores(likelihood_ratios(target, out, a), likelihood_ratios(population[0], population[1], a))


def _trials(own: Array, own_people: npt.NDArray[np.int64], other: Array, other_people: npt.NDArray[np.int64]) -> Trials:
    """Return the trials of people: mean scores of forgotten people and of strangers."""
    forgotten, _ = people_means(own, own_people)
    strangers, _ = people_means(other, other_people)
    count = len(forgotten) + len(strangers)
    positive = np.arange(count) < len(forgotten)
    return Trials(np.concatenate([forgotten, strangers]), positive, np.arange(count), np.zeros(count, dtype=np.int64))


@dataclass(frozen=True)
class Audit:
    """An audit of one batch.

    Attributes:
        forget: Outputs on the photographs of this batch.
        earlier: Outputs on the photographs of people erased before that are still in the table; None if there are none.
        unseen: Outputs on held-out people whom the attacked people are compared with.
        test: Outputs on the other held-out people.
        margin: Margin of the AUC.
        utility_margin: Margin of the accuracy.
        exact: Whether the new model was retrained without the people.
        classes: Names of the classes or labels.
    """

    forget: Models
    earlier: Models | None
    unseen: Models
    test: Models
    margin: float
    utility_margin: float
    exact: bool
    classes: Sequence[str]

    def _a(self) -> float:
        if not len(self.forget.references):
            return 0.0
        return calibrate(self.forget.before.log_p, self.unseen.before.log_p, self.forget.out, self.unseen.out)

    def _attack(self, group: Models, which: str, a: float) -> Trials:
        """Return the trials of an attack on the model ``before`` or ``after``."""
        target, stranger, population = (getattr(each, which) for each in (group, self.unseen, self.test))
        known = (population.log_p, self.test.out)
        return _trials(
            _scores(target.log_p, group.out, known, a),
            target.people,
            _scores(stranger.log_p, self.unseen.out, known, a),
            stranger.people,
        )

    def _control(self, a: float) -> Interval | None:
        """Return the attack on each reference with the others as references; None with fewer than three."""
        count = len(self.forget.references)
        if count < LEAST_REFERENCES:
            return None
        totals = []
        for number in range(count):
            others = [each for each in range(count) if each != number]
            known = (self.test.out[number], self.test.out[others])
            own = _scores(self.forget.out[number], self.forget.out[others], known, a)
            strangers = _scores(self.unseen.out[number], self.unseen.out[others], known, a)
            totals.append(_trials(own, self.forget.after.people, strangers, self.unseen.after.people))
        scores = np.mean([trials.scores for trials in totals], axis=0)
        first = totals[0]
        return auc_interval(Trials(scores, first.positive, first.people, first.originals))

    def findings(self) -> list[Finding]:
        """Return all findings, those that decide in front."""
        a = self._a()
        trials = self._attack(self.forget, "after", a)
        found = [self._batch(trials, a), self._worst(trials)]
        if self.earlier is not None:
            found.append(self._earlier(self.earlier, a))
        return [*found, *self._utility()]

    def _batch(self, trials: Trials, a: float) -> Finding:
        people = int(trials.positive.sum())
        strangers = len(trials.positive) - people
        interval = auc_interval(trials)
        shown = auc_in_words(interval)
        answer: Answer = "cannot tell"
        least = detectable_auc(people, strangers)
        if people < LEAST_PEOPLE or strangers < LEAST_PEOPLE:
            sentence = (
                f"{counted(people)} against {strangers} who were never seen cannot show an AUC below {least:.2f}: too "
                f"few for an answer (the attack's AUC is {interval.value:.2f})."
            )
        else:
            positive = auc_interval(self._attack(self.forget, "before", a))
            verdict = judge(interval, positive, self._control(a), self.margin)
            answer, sentence = verdict.answer, verdict.sentence
        if self.exact and answer != "fail":
            checked = f"An audit finds nothing against it ({shown}; it can show an AUC from {least:.2f} on)."
            answer, sentence = "pass", f"The model was retrained without these people: exact by construction. {checked}"
        memory = ""
        if len(self.forget.references):
            mean = np.mean([each.margins for each in self.forget.references], axis=0).mean(axis=1)
            degree = degree_of_memory(
                self.forget.after.margins.mean(axis=1), self.forget.before.margins.mean(axis=1), mean
            )
            memory = f" Memory of these photographs: {degree:.2f} (1 as before, 0 as retrained)."
        return Finding(
            "this batch",
            answer,
            sentence + memory,
            True,
            interval.value,
            interval.low,
            interval.high,
            self.margin,
            people,
            len(self.forget.after.people),
        )

    def _worst(self, trials: Trials) -> Finding:
        """Return whether a single person stands out from all strangers, by a rank test over all people."""
        people, strangers = trials.scores[trials.positive], trials.scores[~trials.positive]
        above = [(1 + int((strangers >= score).sum())) / (1 + len(strangers)) for score in people]
        below = [(1 + int((strangers <= score).sum())) / (1 + len(strangers)) for score in people]
        chances = [min(1.0, 2 * min(pair) * len(people)) for pair in zip(above, below, strict=True)]
        worst, least = min(chances), min(1.0, 2 * len(people) / (1 + len(strangers)))
        level = LEVEL_EXACT if self.exact else LEVEL
        if worst < level:
            answer, text = "fail", "One person can be told from everybody who was never seen"
        elif least >= level and not self.exact:
            answer, text = "cannot tell", f"With {len(strangers)} strangers, not even a certain leak would show"
        else:
            answer, text = "pass", "No single person stands out"
        sentence = f"{text} (corrected p {worst:.3f}; the smallest possible is {least:.3f})."
        areas = [auc(np.array([score]), strangers) for score in people]
        value = max(areas, key=lambda area: abs(area - CHANCE))
        return Finding("the worst single person", answer, sentence, True, float(value), people=len(people))

    def _earlier(self, group: Models, a: float) -> Finding:
        trials = self._attack(group, "after", a)
        interval = auc_interval(trials)
        people = int(trials.positive.sum())
        shown = auc_in_words(interval)
        least = detectable_auc(people, len(trials.positive) - people)
        if people < LEAST_PEOPLE:
            answer, sentence = "cannot tell", f"{counted(people)} cannot show an AUC below {least:.2f} ({shown})."
        else:
            answer = equivalence(interval, CHANCE, self.margin)
            sentence = f"People erased before, under the new model: {shown}."
        if self.exact and answer != "fail":
            answer = "pass"
            sentence = f"People erased before were not in training either: exact by construction ({shown})."
        return Finding(
            "everybody erased before",
            answer,
            sentence,
            True,
            interval.value,
            interval.low,
            interval.high,
            self.margin,
            people,
            len(group.after.people),
        )

    def _utility(self) -> list[Finding]:
        """Return the loss of accuracy on held-out people, over all and per class."""
        hits = [np.concatenate([getattr(each, which).hits for each in (self.test, self.unseen)]) for which in ENDS]
        shift = self.test.after.people.max() + 1
        people = np.concatenate([self.test.after.people, self.unseen.after.people + shift])
        labels = np.concatenate([self.test.after.labels, self.unseen.after.labels])
        lost = hits[0] - hits[1]
        found = [_loss("utility", lost.mean(axis=1), people, self.utility_margin, 0.95, True)]
        level = 1 - 0.05 / max(1, len(self.classes))
        for number, name in enumerate(self.classes):
            rows = labels == number if lost.shape[1] == 1 else np.ones(len(labels), dtype=bool)
            column = 0 if lost.shape[1] == 1 else number
            finding = _loss(f"utility of {name}", lost[rows, column], people[rows], self.utility_margin, level, False)
            found.append(finding)
        return found


#: The two models that utility compares.
ENDS = ("before", "after")


def _loss(name: str, lost: Array, people: npt.NDArray[np.int64], margin: float, level: float, decides: bool) -> Finding:
    """Return a finding about a loss of accuracy; of a class, only a failure decides."""
    means = people_means(lost, people)[0] if len(lost) else np.empty(0)
    if len(means) < LEAST_PEOPLE:
        sentence = f"{len(means)} held-out people are too few to measure a loss of accuracy."
        return Finding(name, "cannot tell", sentence, decides, margin=margin, people=len(means), images=len(lost))
    interval = mean_interval(means, level)
    answer = "fail" if interval.low > margin else "pass" if interval.high <= margin else "cannot tell"
    sentence = (
        f"The accuracy on held-out people falls by {100 * interval.value:.1f} points ({100 * level:.3g} % interval "
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}); the margin is {100 * margin:g}."
    )
    return Finding(
        name,
        answer,
        sentence,
        decides or answer == "fail",
        interval.value,
        interval.low,
        interval.high,
        margin,
        len(means),
        len(lost),
    )


def baseline_interval(trained: Outputs, held_out: Outputs) -> Interval:
    """Return the AUC, per person, of people in training against held-out people, by their margins alone."""
    return auc_interval(
        _trials(trained.margins.mean(axis=1), trained.people, held_out.margins.mean(axis=1), held_out.people)
    )
