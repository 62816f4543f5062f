"""A lower bound of epsilon from one run with canaries.

Source: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
"""

from __future__ import annotations

import math

from scipy import optimize, stats

LARGEST = 50.0


def epsilon_lower_bound(right: int, guesses: int, error: float = 0.05) -> float:
    """Return the largest epsilon that the number of right guesses refutes.

    Each canary is included by a fair coin; the attacker guesses which. Under (epsilon, 0)-differential privacy, the
    number of right guesses is at most Binomial(guesses, e^eps / (1 + e^eps)).

    Args:
        right: Number of right guesses.
        guesses: Number of guesses, at least 1; the attacker may abstain from others.
        error: Probability that the bound is wrong.

    Raises:
        ValueError: If the numbers are impossible.
    """
    if not 0 <= right <= guesses or guesses < 1:
        raise ValueError(f"{right} of {guesses} guesses cannot be right")

    def excess(epsilon: float) -> float:
        return float(stats.binom.sf(right - 1, guesses, 1 / (1 + math.exp(-epsilon)))) - error

    if excess(0.0) > 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, LARGEST))
