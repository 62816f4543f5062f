"""Claims that one method is better than another: read from a command line or from the configuration of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from gli.errors import SettingError, did_you_mean
from gli.metrics.registry import SCORES, Score, score_of
from gli.reporting.results import labels
from gli.runs.read import Run

State = Literal["reported", "best", "end"]
#: States of a run that methods are compared at, in words.
STATES: Mapping[State, str] = {
    "reported": "at the reported audit",
    "best": "at the audit with the best final score",
    "end": "at the end of the run",
}
PATTERN = re.compile(r"(?P<of>[^>]+)>(?P<baseline>.+):\s*(?P<score>\w+)\s*(?:@\s*(?P<at>\w+))?")
#: Rows of the table that a message names.
MOST_ROWS = 12
EXAMPLE = "Write OF>WITH:SCORE@STATE, such as 'GLI>LI:accuracy@end'."


@dataclass(frozen=True)
class Comparison:
    """A claim that one method is better than another.

    Attributes:
        of: Name of the method or variant that is said to be better.
        baseline: Name of the one that it is compared with.
        score: Name of the score.
        at: State of the runs: ``reported`` (the audit that the report shows), ``best`` or ``end``.
        claim: The claim in words; made from the names by default.
    """

    of: str
    baseline: str
    score: str
    at: State = "reported"
    claim: str = ""

    def __post_init__(self) -> None:
        """Check the score and the state.

        Raises:
            SettingError: If either is unknown.
        """
        if score_of(self.score) is None:
            raise SettingError(
                f"there is no score {self.score!r}.{did_you_mean(self.score, SCORES)} Known: {', '.join(SCORES)}."
            )
        if self.at not in STATES:
            raise SettingError(f"there is no state {self.at!r} of a run; expected one of {', '.join(STATES)}.")

    @property
    def scored(self) -> Score:
        """The score."""
        return cast("Score", score_of(self.score))

    @property
    def sentence(self) -> str:
        """The claim in words."""
        better = {1: "has a higher {} than", -1: "has a lower {} than", 0: "differs in {} from"}[self.scored.sign]
        return self.claim or f"{self.of} {better.format(self.scored.heading)} {self.baseline}"


def parse_comparisons(texts: Sequence[str], runs: Sequence[Run]) -> list[Comparison]:
    """Return comparisons from texts such as ``GLI>LI:accuracy@end``.

    Args:
        texts: The texts.
        runs: The runs; a method is named as in the table of methods, or by its class where it has one row only.

    Raises:
        SettingError: If a text has another form, or names a method, score or state that does not exist.
    """
    label_of = labels(runs)
    known = {name: 1 for name in (*label_of.values(), "Original")}
    for run in runs:
        for name in {run.method, run.kind} - known.keys():
            known[name] = len({label_of[other.folder] for other in runs if name in (other.method, other.kind)})
    comparisons = []
    for text in texts:
        match = PATTERN.fullmatch(text.strip())
        if match is None:
            raise SettingError(f"--compare {text}: cannot be read. {EXAMPLE}")
        names = {key: value.strip() for key, value in match.groupdict(default="reported").items()}
        for name in (names["of"], names["baseline"]):
            if known.get(name) != 1:
                reason = f"{name!r} has several rows" if name in known else f"there is no {name!r}"
                rows = list(dict.fromkeys(label_of.values()))
                shown = ", ".join(rows[:MOST_ROWS]) + (", ..." if len(rows) > MOST_ROWS else "")
                hint = did_you_mean(name, known) if name not in known else ""
                raise SettingError(f"--compare {text}: {reason} in the table of methods.{hint} Its rows: {shown}.")
        try:
            comparisons.append(Comparison(**cast("dict[str, Any]", names)))
        except SettingError as error:
            raise SettingError(f"--compare {text}: {error}") from error
    return comparisons


def read_comparison(settings: object) -> Comparison:
    """Return a comparison from settings such as ``{of: GLI, with: LI, score: accuracy, at: end, claim: ...}``.

    Raises:
        SettingError: If a setting is unknown, missing or has an unusable value.
    """
    names = {"of": "of", "with": "baseline", "score": "score", "at": "at", "claim": "claim"}
    if not isinstance(settings, Mapping) or not all(isinstance(value, str) for value in settings.values()):
        raise SettingError("expected names as of, with, score, at and claim")
    for name in settings:
        if name not in names:
            raise SettingError(
                f"there is no setting {name!r}.{did_you_mean(str(name), names)} Known: {', '.join(names)}."
            )
    for name in ("of", "with", "score"):
        if name not in settings:
            raise SettingError(f"the setting {name!r} is missing")
    return Comparison(**{names[name]: value for name, value in settings.items()})
