"""The verdict of an audit: pass, fail, or cannot tell, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from gli.metrics.intervals import Answer, Interval, equivalence

#: AUC of an attacker who guesses.
CHANCE = 0.5
#: Largest difference of the AUC from 0.5 that counts as no leak, declared before the audit.
MARGIN = 0.1


@dataclass(frozen=True)
class Verdict:
    """The answer of an audit, and a sentence that says why."""

    answer: Answer
    sentence: str


def auc_in_words(area: Interval) -> str:
    """Return an AUC with its interval, as sentences show it."""
    return f"AUC {area.value:.2f}, 95 % interval {area.low:.2f} to {area.high:.2f}"


def judge(attack: Interval, positive: Interval, negative: Interval | None, margin: float = MARGIN) -> Verdict:
    """Judge a method from an attack and its controls.

    Args:
        attack: AUC of the attack on the unlearned models.
        positive: AUC of the same attack on the originals, which have forgotten nobody.
        negative: AUC of the same attack on retrained models, which never saw anybody; None if there are none.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
    """
    shown = auc_in_words(attack)
    if positive.low <= CHANCE + margin:
        return Verdict(
            "cannot tell",
            f"The audit has no power: even without unlearning its AUC is {positive.value:.2f} ({positive.low:.2f} to "
            f"{positive.high:.2f}). Audit more people, or more models.",
        )
    if negative is not None and not negative.covers(CHANCE):
        return Verdict(
            "cannot tell",
            f"The negative control fails: retrained models have an AUC of {negative.value:.2f} ({negative.low:.2f} to "
            f"{negative.high:.2f}) where nothing can be told. Audit with other seeds.",
        )
    answer = equivalence(attack, CHANCE, margin)
    if answer == "pass":
        return Verdict(
            answer,
            f"People who were forgotten can be told from people who were never seen by no more than the margin allows "
            f"({shown}, within {CHANCE - margin:.2f} to {CHANCE + margin:.2f}; a difference of {attack.detectable:.2f} "
            "from 0.5 would have been found).",
        )
    if answer == "fail" and attack.value > CHANCE:
        return Verdict(answer, f"The people who were forgotten can still be told ({shown}).")
    if answer == "fail":
        return Verdict(
            answer,
            f"The people who were forgotten stand out in the other direction: over-unlearning ({shown}).",
        )
    if not attack.covers(CHANCE):
        return Verdict(
            answer,
            f"There is a leak, but whether it is larger than the margin of {margin:g} cannot be told ({shown}). Audit "
            "more people.",
        )
    return Verdict(
        answer,
        f"The interval is too wide for an answer ({shown}); with these people and models, a leak of "
        f"{attack.detectable:.2f} above or below 0.5 would have been found. Audit more people.",
    )
