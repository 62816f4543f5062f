"""Every score of an audit, declared once.

A score is one function and one entry here. The log, the checkpoint, early stopping, the progress bar, the closing
table, the report, the curves and the published figures all read this registry::

    from gli.metrics import Score, register

    register(Score("entropy_gap", "entropy gap", "lower", entropy_gap, shown={"bar", "table", "report"}))

A score is computed from per-image columns. The task gives the columns ``loss``, ``accuracy`` and further accuracies; a
score on another column registers the column as well, see :class:`Column`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gli.metrics.utility import final_score, forgetting_score, utility_drop

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]
#: Where a score is shown: in the progress bar, the table that ends a run, the report's tables of methods and of single
#: runs, and the curves over the iterations.
Place = Literal["bar", "table", "report", "runs", "curves"]
#: The sets that every audit evaluates, in the order of the loaders.
EVALUATION_SETS = ("test", "forget", "unseen")
#: Least number of images that MIA accuracy can be measured on: a tenth of them are held out, of both kinds.
LEAST_ATTACKED = 11
#: Column of every audit: the per-image loss in nats.
LOSS = "loss"
#: Columns of every audit: the per-image margin, as ``margin`` or, in a multi-label task, ``margin_<label>``.
MARGIN = "margin"
#: Columns of an audit of a multi-label task: whether the image has the label, as ``yes_<label>``.
YES = "yes_"
#: Share of the test images with a label, or without it, below which the label is rare.
RARE = 0.1


@dataclass
class Audited:
    """The values of one audit that scores are computed from.

    Attributes:
        sets: For each evaluation set (``test``, ``forget``, ``unseen``) its per-image columns by name, shape
            ``(images,)``.
        scores: The scores of this audit computed so far, in the order of the registry.
        original: The scores of the original model; None where there is none to compare with.
    """

    sets: Mapping[str, Mapping[str, Array]]
    scores: dict[str, float] = field(default_factory=dict)
    original: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Column:
    """A per-image value of every audit, beside those of the task.

    Attributes:
        name: Name of the column in the record of an audit.
        compute: Called with the task, a batch's logits and its labels; returns one value per image, shape ``(batch,)``.
        is_accuracy: Whether the mean over the test set is an accuracy, and so a score of the column's name.
    """

    name: str
    compute: Callable[[Any, Tensor, Tensor], Tensor]
    is_accuracy: bool = False


@dataclass(frozen=True)
class Score:
    """A score of an audit.

    Attributes:
        name: Name in the log, below ``val/`` and ``test/``.
        heading: Name in tables.
        better: Whether ``higher`` or ``lower`` values are better; None where that depends on the question.
        compute: Called with an :class:`Audited`. It may return None where the score does not apply, and raise
            ValueError where the values allow no score (losses that are not finite); the score is then NaN.
        shown: Places that show it.
        note: Explanation in brackets behind the heading of the closing table.
        short: Name in the progress bar and in legends; the heading by default.
        required: Whether every log of a run has it, so that a log without it is damaged.
    """

    name: str
    heading: str
    better: Literal["higher", "lower"] | None
    compute: Callable[[Audited], float | None]
    shown: Set[Place] = frozenset()
    note: str = ""
    short: str = ""
    required: bool = False

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better, 0 where neither is."""
        return {"higher": 1, "lower": -1, None: 0}[self.better]

    @property
    def label(self) -> str:
        """The short name."""
        return self.short or self.heading

    @property
    def explained(self) -> str:
        """The heading with its note, as in the closing table."""
        return f"{self.heading} ({self.note})" if self.note else self.heading

    @property
    def with_arrow(self) -> str:
        """The heading with an arrow that points to better values, as in the report."""
        arrow = {1: " ↑", -1: " ↓", 0: f" ({self.note})" if self.note else ""}[self.sign]
        return self.heading + arrow


SCORES: dict[str, Score] = {}
COLUMNS: dict[str, Column] = {}


def register(score: Score) -> Score:
    """Add a score to every audit from now on; one of the same name is replaced."""
    SCORES[score.name] = score
    return score


def register_column(column: Column) -> Column:
    """Add a per-image column to every audit from now on; one of the same name is replaced."""
    COLUMNS[column.name] = column
    return column


def _accuracy_column(name: str) -> Score:
    """Return the score of an accuracy column that has no entry of its own, such as ``accuracy_smiling``."""
    return Score(name, name.replace("_", " "), "higher", mean_of("test", name), shown={"table", "report"})


def score_of(name: str) -> Score | None:
    """Return the score of a name, which may be that of a label's accuracy; None where there is no such score."""
    return SCORES.get(name) or (_accuracy_column(name) if name.startswith("accuracy_") else None)


def scores_among(names: Collection[str], place: Place | None = None) -> list[Score]:
    """Return the scores of some names in the order of tables: as registered, labels by name behind the accuracy.

    Names that are neither scores nor accuracy columns are passed over. With a place, only scores that are shown there.
    """
    labels = [_accuracy_column(name) for name in sorted(names) if name not in SCORES and name.startswith("accuracy_")]
    ordered: list[Score] = []
    for score in SCORES.values():
        ordered += [score] if score.name in names else []
        ordered += labels if score.name == "accuracy" else []
    return [score for score in ordered if place is None or place in score.shown]


def shown_in(place: Place) -> list[Score]:
    """Return the registered scores that a place shows, in the order of tables."""
    return scores_among(SCORES, place)


def compute_scores(audited: Audited, accuracies: Collection[str] = (), place: Place | None = None) -> dict[str, float]:
    """Compute the scores of an audit, or those that a place shows, into ``audited.scores``, and return them.

    A score that does not apply is left out; one that the values do not allow is NaN. ``accuracies`` names columns.
    """
    for score in scores_among({*SCORES, *accuracies}, place):
        value = _value_of(score, audited)
        if value is not None:
            audited.scores[score.name] = value
    return audited.scores


def _value_of(score: Score, audited: Audited) -> float | None:
    """Return a score: None where it does not apply, NaN where the values do not allow it."""
    try:
        value = score.compute(audited)
    except ValueError:
        return math.nan
    return None if value is None else float(value)  # A NumPy float would not load from a checkpoint.


class _OnDemand(dict[str, float]):
    """Scores of an audit that are computed when they, or scores that are derived from them, are asked for."""

    def __init__(self, audited: Audited) -> None:
        super().__init__()
        self._audited = replace(audited, scores=self)

    def __missing__(self, name: str) -> float:
        score = score_of(name)
        if score is None:
            raise KeyError(name)
        value = _value_of(score, self._audited)
        self[name] = math.nan if value is None else value
        return self[name]


def compute_score(audited: Audited, name: str) -> float:
    """Compute one score of an audit and those that it is derived from; NaN where there is none, KeyError if unknown."""
    return _OnDemand(audited)[name]


# -- the scores of the paper and of the audit --------------------------------------------------------------------------


def mean_of(subset: str, column: str) -> Callable[[Audited], float | None]:
    """Return a score: the mean of a column over an evaluation set; None where the audit has no such set or column."""

    def compute(audited: Audited) -> float | None:
        values = audited.sets.get(subset, {}).get(column)
        return None if values is None else float(values.mean())

    return compute


def _membership_inference(audited: Audited) -> float:
    from gli.metrics.membership_inference import membership_inference_accuracy  # Loads scikit-learn.

    return membership_inference_accuracy(audited.sets["forget"][LOSS], audited.sets["unseen"][LOSS])


def _jensen_shannon(audited: Audited) -> float:
    from gli.metrics.jensen_shannon import jensen_shannon_distance  # Loads SciPy.

    return jensen_shannon_distance(audited.sets["forget"][LOSS], audited.sets["unseen"][LOSS])


def _forgetting(audited: Audited) -> float:
    return forgetting_score(audited.scores["mia_accuracy"])


def _final(audited: Audited) -> float:
    return final_score(audited.scores["accuracy"], audited.scores["forgetting_score"])


def _utility_drop(audited: Audited) -> float | None:
    return None if audited.original is None else utility_drop(audited.original["accuracy"], audited.scores["accuracy"])


def _balanced_accuracy(audited: Audited) -> float | None:
    """Return the mean accuracy over images with and without each label; None where no label is rare."""
    test = audited.sets["test"]
    truths = {name.removeprefix(YES): values > 0 for name, values in test.items() if name.startswith(YES)}
    if not any(min(truth.mean(), 1 - truth.mean()) < RARE for truth in truths.values()):
        return None
    parts = [(test[f"accuracy_{name}"], each) for name, truth in truths.items() for each in (truth, ~truth)]
    return float(np.mean([hits[part].mean() for hits, part in parts if part.any()]))


def _rewind_gap(audited: Audited) -> float:
    return abs(audited.scores["forget_accuracy"] - audited.scores["unseen_accuracy"])


_EVERYWHERE: Set[Place] = {"bar", "table", "report", "runs", "curves"}
_TABLES: Set[Place] = {"table", "report"}
for _score in (
    Score("accuracy", "test accuracy", "higher", mean_of("test", "accuracy"), _EVERYWHERE, "", "accuracy", True),
    Score("top2_accuracy", "top-2 accuracy", "higher", mean_of("test", "top2_accuracy"), _TABLES),
    Score("balanced_accuracy", "balanced accuracy", "higher", _balanced_accuracy, _TABLES, "a label is rare"),
    Score("mia_accuracy", "MIA accuracy", None, _membership_inference, _EVERYWHERE, "0.5 is best", "MIA", True),
    Score("forgetting_score", "forgetting score", "lower", _forgetting, _TABLES, "lower is better", required=True),
    Score("jsd", "JSD", "lower", _jensen_shannon, _TABLES | {"runs"}, "lower is better", required=True),
    Score("final_score", "final score", "higher", _final, _EVERYWHERE - {"bar"}, "higher is better", required=True),
    Score("utility_drop", "utility drop", "lower", _utility_drop, {"bar", "table"}),
    Score("forget_accuracy", "forget accuracy", None, mean_of("forget", "accuracy"), _TABLES),
    # Where retain is evaluated (data.evaluate_retain).
    Score("retain_accuracy", "retain accuracy", "higher", mean_of("retain", "accuracy"), _TABLES),
    Score("loss_test", "test loss", "lower", mean_of("test", LOSS)),
    Score("loss_forget", "forget loss", None, mean_of("forget", LOSS)),
    Score("loss_unseen", "unseen loss", None, mean_of("unseen", LOSS)),
    Score("unseen_accuracy", "unseen accuracy", None, mean_of("unseen", "accuracy")),
    # SCRUB+R rewinds to the checkpoint where it is smallest.
    Score("rewind_gap", "gap between forget and unseen accuracy", "lower", _rewind_gap),
):
    register(_score)
