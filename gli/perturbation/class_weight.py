"""Class-loss warm-up: the weight of the class loss in the perturbation loss (paper, section 4.3.3, Eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


def linear(initial: float, final: float, index: int, length: int) -> float:
    """Return the weight at position ``index`` of ``length`` on the line from ``initial`` to ``final`` (paper, Eq. 6).

    Beyond the end the weight stays at ``final``; a schedule of length one is ``initial`` throughout.
    """
    if length <= 1:
        return initial
    return initial + (final - initial) * min(index, length - 1) / (length - 1)


@dataclass(frozen=True)
class ClassWeight:
    """The weight of the class loss in the perturbation loss, and its warm-up.

    Since only the sign of the gradient moves the image, ``c * class loss - d`` and ``w * class loss - (1 - w) * d`` are
    the same method with ``w = c / (1 + c)``; both forms are available.

    Attributes:
        initial: Weight at the start, w_init in Eq. 6.
        final: Weight at the end, w_final in Eq. 6. Equal to ``initial`` for a fixed weight.
        form: ``class`` for ``c * class loss - d`` (released code), ``convex`` for ``w * class loss - (1 - w) * d``
            (Algorithm 1, line 21; then both weights lie in [0, 1]).
        over: Counter of the warm-up: ``batches`` of the run (Eq. 6, released code) or the inner ``steps`` of each
            batch (Algorithm 1, line 10).
    """

    initial: float = 200.0
    final: float = 1000.0
    form: Literal["class", "convex"] = "class"
    over: Literal["batches", "steps"] = "batches"

    def __post_init__(self) -> None:
        """Check the ranges; raise ValueError if a weight is negative, or above 1 in the convex form."""
        top = 1.0 if self.form == "convex" else float("inf")
        for name, value in (("initial", self.initial), ("final", self.final)):
            if not 0 <= value <= top:
                raise ValueError(f"class_weight.{name} is {value}; with form={self.form!r} it lies in [0, {top:g}]")

    def at(self, batch: int, batches: int, step: int, steps: int) -> float:
        """Return the weight at inner step ``step`` of ``steps`` in batch ``batch`` of ``batches``, from 0."""
        index, length = (batch, batches) if self.over == "batches" else (step, steps)
        return linear(self.initial, self.final, index, length)

    def shares(self, weight: float) -> tuple[float, float]:
        """Return the weights of the class loss and of the distance."""
        return weight, 1.0 if self.form == "class" else 1 - weight

    def combine(self, weight: float, class_loss: Tensor, distance: Tensor) -> Tensor:
        """Return the perturbation loss, to be minimised, from its two terms (paper, Algorithm 1, lines 16-21)."""
        return weight * class_loss - (distance if self.form == "class" else (1 - weight) * distance)
