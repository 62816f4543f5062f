"""The candidates of a rehearsal: what was measured of each, and which one is chosen. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli.erasure.settings import Candidate
from gli.erasure.words import counted

CHANCE = 0.5
HEADINGS = ("method", "settings", "AUC (95 % interval)", "|AUC - 0.5|", "loss of accuracy", "minutes")


@dataclass(frozen=True)
class Outcome:
    """Measurements of a candidate in a rehearsal.

    Attributes:
        candidate: The candidate.
        auc: AUC of the attack on the people who play *forget*, with the limits of its 95 % interval; None for a
            candidate without a model, whose losses were not finite.
        loss: Loss of accuracy on the held-out people of the rehearsal, as a share; None likewise.
        minutes: Minutes of training; None where they are not known.
    """

    candidate: Candidate
    auc: tuple[float, float, float] | None = None
    loss: float | None = None
    minutes: float | None = None

    @property
    def distance(self) -> float:
        """Distance of the AUC from chance; 0.5 without a model."""
        return abs(self.auc[0] - CHANCE) if self.auc is not None else CHANCE

    def contents(self) -> dict[str, Any]:
        """Return the outcome as plain values, numbers rounded to six digits."""
        return {
            **contents_of(self.candidate),
            "auc": None if self.auc is None else [round(each, 6) for each in self.auc],
            "loss": None if self.loss is None else round(self.loss, 6),
            "minutes": None if self.minutes is None else round(self.minutes, 2),
        }

    @classmethod
    def read(cls, contents: Mapping[str, Any]) -> Outcome:
        """Return the outcome that :meth:`contents` wrote into the ledger."""
        auc = contents["auc"]
        candidate = Candidate(contents["method"], contents["settings"])
        return cls(candidate, None if auc is None else (auc[0], auc[1], auc[2]), contents["loss"], contents["minutes"])


def contents_of(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as plain values."""
    return {"method": candidate.method, "settings": dict(candidate.settings)}


def choose_candidate(outcomes: Sequence[Outcome], utility_margin: float) -> Outcome | None:
    """Return the outcome whose AUC is nearest to 0.5 among those that keep the accuracy; None where none does.

    Of equally near ones it is the one that loses less accuracy, then the one that was named first.

    Args:
        outcomes: The outcomes.
        utility_margin: Largest loss of accuracy that does not matter, as a share.
    """
    keep = within(outcomes, utility_margin)
    return min(keep, key=lambda each: (each.distance, each.loss), default=None)


def within(outcomes: Sequence[Outcome], utility_margin: float) -> list[Outcome]:
    """Return the outcomes whose loss of accuracy does not matter."""
    return [each for each in outcomes if each.loss is not None and each.loss <= utility_margin]


def choice_sentence(outcomes: Sequence[Outcome], utility_margin: float) -> str:
    """Return which candidate is chosen and why, or that none is."""
    chosen, keep = choose_candidate(outcomes, utility_margin), within(outcomes, utility_margin)
    margin = f"at most {100 * utility_margin:g} points of accuracy"
    tried = counted(len(outcomes), "candidate", "candidates")
    if chosen is None:
        return f"None of {tried} loses {margin}. Retrain instead: it is exact."
    name = f"{chosen.candidate.method} {chosen.candidate.words}".strip()
    if len(keep) == 1:
        return f"{name}: the only one of {tried} that loses {margin}."
    among = "all" if len(keep) == len(outcomes) else f"the {len(keep)} of"
    return f"{name}: the AUC nearest to 0.5 among {among} {len(outcomes)} candidates that lose {margin}."


def table_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the outcomes as the lines of a table with headings."""
    rows = [HEADINGS, *map(_cells, outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    texts = 2  # Method and settings are left-aligned, numbers right-aligned.
    return [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cells(outcome: Outcome) -> tuple[str, ...]:
    candidate, minutes = outcome.candidate, outcome.minutes
    first = (candidate.method, candidate.words, *(("no model: losses not finite",) if outcome.auc is None else ()))
    if outcome.auc is None or outcome.loss is None:
        return (*first, "", "", "")
    value, low, high = outcome.auc
    return (
        *first,
        f"{value:.2f} ({low:.2f} to {high:.2f})",
        f"{outcome.distance:.2f}",
        f"{100 * outcome.loss:.1f} points",
        "" if minutes is None else f"{minutes:.2f}",
    )


def found_words(candidates: int, people: int, shared: int) -> str:
    """Return how the settings of a method were found.

    Args:
        candidates: Number of candidates.
        people: Number of rehearsal people who played *forget*.
        shared: Number of them who are among the people that a batch erases or audits again.
    """
    tried = counted(candidates, "candidate", "candidates")
    who = counted(people, "rehearsal person", "rehearsal people")
    if shared:
        among = f"{shared} of whom {'is' if shared == 1 else 'are'} among the people erased"
        return f"chosen among {tried} on {who}, {among}"
    return f"chosen among {tried} on {who}, who are neither the people erased nor those compared with"
