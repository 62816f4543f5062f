"""The results of :func:`gli.audit` and :func:`gli.forget`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from gli.auditing.record import People, Record
from gli.auditing.reference_audit import Audit
from gli.auditing.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ModelAudit(Audit):
    """The audit of a model: its scores, beside the attack and the verdict.

    Attributes:
        scores: The registered scores by name (``accuracy``, ``mia_accuracy``, ``jsd``, ``final_score``, ...).
        record: Per-image values of each evaluation set.
        people: Identity on each image of each evaluation set.
        hint: Question to the user where the original is wrong about images that it was trained on; otherwise empty.
    """

    scores: Mapping[str, float]
    record: Record
    people: People
    hint: str = ""

    def plot(self) -> Figure:
        """Return the densities of the losses of forgotten and of never seen images (paper, Figure 6)."""
        from gli.auditing.plots import densities  # Loads matplotlib.

        losses = {name: columns["loss"] for name, columns in self.record.values.items()}
        return densities(losses["forget"], losses["unseen"], f"iteration {self.record.iteration}")

    def __str__(self) -> str:
        """Return the verdict, with the hint where it is open."""
        verdict = f"{self.verdict.answer}: {self.verdict.sentence}"
        return f"{verdict} {self.hint}".rstrip() if self.verdict.answer == "cannot tell" else verdict


@dataclass(frozen=True)
class Result:
    """An unlearned model, and how well it forgot.

    Attributes:
        model: The unlearned network: a new object of the class that was given, in eval mode.
        method: Name of the method.
        iteration: Unlearning iteration of ``model``, and of ``audit``.
        audit: The audit of ``model``.
        original: The audit of the model that was given.
        reference: The audit of the (first) reference model; None where none was given.
        rows: All audits of the run, each with ``iteration`` and the scores; the first is the original's.
        conclusion: The run in one sentence: what happened, and what to do next.
        folder: Folder of the run; None where it was not kept.
        seconds: Time spent in training steps.
    """

    model: nn.Module = field(repr=False)
    method: str
    iteration: int
    audit: ModelAudit = field(repr=False)
    original: ModelAudit = field(repr=False)
    reference: ModelAudit | None = field(repr=False)
    rows: Sequence[Mapping[str, float]] = field(repr=False)
    conclusion: str
    folder: Path | None
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """``pass``, ``fail`` or ``cannot tell``, with a sentence: does the attack still identify forgotten people?"""
        return self.audit.verdict

    def plot(self) -> Figure:
        """Return the scores over the iterations as a matplotlib figure (paper, Figure 3)."""
        from gli.auditing.plots import utility_drop  # Loads matplotlib.

        return utility_drop(self.rows, self.method)

    def __str__(self) -> str:
        """Return the closing table of a run, its conclusion and the verdict."""
        from rich.console import Console

        from gli.auditing.conclusion import comparison

        columns = [
            ("Original", self.original.scores),
            (f"{self.method}, iteration {self.iteration}", self.audit.scores),
        ]
        if self.reference is not None:
            columns.append(("retrained", self.reference.scores))
        console = Console(width=100, color_system=None)
        with console.capture() as capture:
            console.print(comparison(columns))
        return f"{capture.get()}{self.conclusion}\n{self.audit}"
