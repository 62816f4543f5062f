"""The last line of a run in words: what happened, and what to do next.

Rules are tried in their order; the first that applies gives the sentence. A rule of one's own is one function::

    from gli.auditing.conclusion import RULES

    RULES.insert(0, my_rule)  # def my_rule(run: Ended) -> str | None
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from gli.metrics.registry import scores_among
from gli.runs.configs import documentation

Row = Mapping[str, float]

#: MIA accuracy of an attacker who guesses, where no retrained model is known.
GUESS = 0.5
#: An MIA accuracy this near to the target counts as equal to it; the spread over seeds is of this size.
NEAR = 0.03
#: Share of the way from the original's MIA accuracy to the target below which a run forgot next to nothing.
NEXT_TO_NOTHING = 0.15
#: Share of the original's accuracy below which a model has collapsed.
COLLAPSED = 0.5
#: Largest loss of accuracy that counts as kept.
KEPT = 0.03
#: Share of its own training images below which a model is hardly the one that was trained on them.
RIGHT_IN_TRAINING = 0.6

#: What makes a method forget more, or less, unless it says otherwise.
MORE, LESS = "raise --model.lr, or the number of iterations", "stop earlier, or lower --model.lr"


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    method: str  # Class name of the method.
    rows: Sequence[Row]  # All audits in the order of their iterations, the original's (iteration 0) first.
    best: Row | None  # The audit whose model is kept; None where there is none after iteration 0.
    retrained: Row | None = None  # Scores of the retrained model on the same people; None where it is not known.
    finite: bool = True  # Whether the last losses were finite.
    interrupted: bool = False  # Whether the user interrupted the run.
    #: Whether the model was trained from scratch, so that there is no original to compare with.
    from_scratch: bool = False
    more: str = MORE  # What makes the method forget more.
    less: str = LESS  # What makes it forget less.
    #: Whether it first puts the network out of use, so that accuracy returns with the iterations.
    rebuilds: bool = False

    @property
    def before(self) -> Row:
        """The original's audit."""
        return self.rows[0]

    @property
    def last(self) -> Row:
        """The last audit."""
        return self.rows[-1]

    @property
    def target(self) -> float:
        """MIA accuracy to reach: that of the retrained model, or of an attacker who guesses."""
        return GUESS if self.retrained is None else self.retrained["mia_accuracy"]

    @property
    def named_target(self) -> str:
        """The target in words."""
        return f"{'an attacker who guesses has' if self.retrained is None else 'retrained:'} {self.target:.2f}"

    def progress(self, row: Row) -> float:
        """Return the share of the way from the original's MIA accuracy to the target; above 1 beyond it."""
        way = self.before["mia_accuracy"] - self.target
        return (self.before["mia_accuracy"] - row["mia_accuracy"]) / way if way else math.nan


Rule = Callable[[Ended], str | None]


def diverged(run: Ended) -> str | None:
    """Losses are not finite."""
    if run.finite:
        return None
    kept = "" if run.best is None else f". The model of iteration {run.best['iteration']:.0f} is kept"
    return f"diverged after iteration {_last_finite(run)}: lower --model.lr, or stop before (--trainer.max_steps){kept}"


def not_audited(run: Ended) -> str | None:
    """There is no audit after iteration 0."""
    if run.best is not None:
        return None
    why = "was interrupted" if run.interrupted else "ended"
    return f"the run {why} before its first audit: let it reach one, or lower --trainer.val_check_interval"


def trained(run: Ended) -> str | None:
    """The model was trained from scratch: there is nothing that it forgot."""
    if not run.from_scratch:
        return None
    return f"trained from scratch: accuracy {run.last['accuracy']:.2f}, MIA accuracy {run.last['mia_accuracy']:.2f}"


def nothing_to_forget(run: Ended) -> str | None:
    """The original does not remember the people."""
    mia = run.before["mia_accuracy"]
    if abs(mia - run.target) >= NEAR:
        return None
    said = f"there was next to nothing to forget: the original's MIA accuracy is {mia:.2f} ({run.named_target}). "
    hint = missing_normalisation(run.before.get("forget_accuracy", math.nan)).rstrip(".")
    return said + (hint or "Train the original longer, or with less augmentation, to see a method at work")


def missing_normalisation(right: float) -> str:
    """Return what a low accuracy of an original on its own training images says; empty where it is not low."""
    if not right < RIGHT_IN_TRAINING:
        return ""
    return (
        f"The original is right about {100 * right:.0f} % of its own training images: is normalisation missing (it "
        "belongs into the model), are classes in another order, or was it trained too briefly?"
    )


def collapsed(run: Ended) -> str | None:
    """The accuracy fell by half and did not come back."""
    floor = COLLAPSED * run.before["accuracy"]
    if run.last["accuracy"] >= floor:
        return None
    first = run.last
    for row in reversed(run.rows):
        if row["accuracy"] >= floor:
            break
        first = row
    kept = "" if run.best is None else f" (iteration {run.best['iteration']:.0f} is kept)"
    if run.rebuilds:
        return (
            f"accuracy came back to {run.last['accuracy']:.2f} of {run.before['accuracy']:.2f} only: {run.method} "
            "first puts the network out of use, and then needs more iterations (--trainer.max_epochs), or a larger "
            f"--model.lr{kept}"
        )
    return (
        f"collapsed at iteration {first['iteration']:.0f}, accuracy {first['accuracy']:.2f} of "
        f"{run.before['accuracy']:.2f}: {run.method} needs a stop, such as --early_stopping.patience 3{kept}"
    )


def forgot_nothing(run: Ended) -> str | None:
    """The MIA accuracy hardly moved."""
    assert run.best is not None
    mia, before = run.best["mia_accuracy"], run.before["mia_accuracy"]
    moved = run.progress(run.best) >= NEXT_TO_NOTHING and abs(mia - before) >= NEAR
    if moved or abs(mia - run.target) <= NEAR:
        return None
    return f"forgot next to nothing, MIA accuracy {mia:.2f} of {before:.2f} ({run.named_target}): {run.more}"


def over_unlearned(run: Ended) -> str | None:
    """Forgotten people stand out by larger losses than people who were never seen."""
    assert run.best is not None
    target = None if run.retrained is None else run.retrained.get("loss_forget")
    forget, unseen = run.best.get("loss_forget", math.nan), run.best.get("loss_unseen", math.nan)
    reference = unseen if target is None else max(target, unseen)
    beyond = run.progress(run.best) > 1 and abs(run.best["mia_accuracy"] - run.target) > NEAR
    if not beyond and not (forget > 1.5 * reference and run.best["jsd"] > 0.1):
        return None
    return (
        f"over-unlearned (MIA accuracy {run.best['mia_accuracy']:.2f}, {run.named_target}; loss of forgotten people "
        f"{forget:.2f}, of people never seen {unseen:.2f}), so that they stand out by being forgotten too well: "
        f"{run.less}"
    )


def at_a_price(run: Ended) -> str | None:
    """Forgot, and lost accuracy."""
    assert run.best is not None
    drop = run.before["accuracy"] - run.best["accuracy"]
    if drop <= KEPT or abs(run.best["mia_accuracy"] - run.target) > NEAR:
        return None
    return (
        f"forgot (MIA accuracy {run.best['mia_accuracy']:.2f}, {run.named_target}) and lost {drop:.2f} of "
        f"{run.before['accuracy']:.2f} accuracy. To keep more: {run.less}"
    )


def in_part(run: Ended) -> str | None:
    """Forgot a part of the way."""
    assert run.best is not None
    if abs(run.best["mia_accuracy"] - run.target) <= NEAR:
        return None
    share = f"{100 * run.progress(run.best):.0f} % of the way"
    return (
        f"forgot in part: MIA accuracy {run.best['mia_accuracy']:.2f}, {share} from {run.before['mia_accuracy']:.2f} "
        f"to {run.target:.2f} ({'guessing' if run.retrained is None else 'retrained'}). To go further: {run.more}"
    )


def forgot(run: Ended) -> str | None:
    """Forgot on average, and kept the accuracy."""
    assert run.best is not None
    return (
        f"forgot on average (MIA accuracy {run.best['mia_accuracy']:.2f}, {run.named_target}) and kept the accuracy. "
        "gli audit says whether an attack still identifies single people"
    )


#: In their order: what spoils the run first, then how well it forgot.
RULES: list[Rule] = [
    diverged,
    not_audited,
    trained,
    nothing_to_forget,
    collapsed,
    forgot_nothing,
    over_unlearned,
    at_a_price,
    in_part,
    forgot,
]


def conclude(run: Ended) -> str:
    """Return the run in one sentence: what happened, and what to do next."""
    return next(sentence for sentence in (rule(run) for rule in RULES) if sentence is not None)


def _last_finite(run: Ended) -> int:
    finite = [row["iteration"] for row in run.rows if not math.isnan(row.get("final_score", math.nan))]
    return int(max(finite, default=0))


def scores_page() -> str:
    """Return the line below the closing table that says where each score is explained."""
    return f"scores      {documentation()}/scores.md: what each means, typical values, and what it cannot show"


def comparison(columns: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """Return a table of the scores that are registered for it: a row for each score, a column for each model.

    Args:
        columns: Heading and scores of each model.
    """
    table = Table(title_justify="left")
    table.add_column("")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    names = {name for _, scores in columns for name in scores}
    for score in scores_among(names, "table"):
        values = [scores.get(score.name) for _, scores in columns]
        table.add_row(score.explained, *("" if value is None else f"{value:.4f}" for value in values))
    return table
