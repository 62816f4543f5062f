"""How far noisy training makes two starting points indistinguishable: the (epsilon, delta) of noisy fine-tuning.

Two runs start at weights x and x' of norm at most C0, whatever these depend on. Both take T steps

    theta <- (1 - eta lambda) theta - eta clip(g(theta), C1) + noise,    noise ~ N(0, sigma^2 I),

with the same batches, so that g is the same function of theta in both. **Theorem.** Their last weights have a Renyi
divergence of order a of at most a rho, in both directions and for every a > 1, where

    c = 1 - eta lambda in [0, 1],    D = 2 C0 c^T + 2 eta C1 (1 + c + ... + c^(T-1)),
    rho = D^2 / (2 sigma^2 (1 + c^2 + ... + c^(2(T-1)))),

and are therefore (rho + 2 sqrt(rho log(1/delta)), delta)-indistinguishable for every delta in (0, 1).

*Proof.* It is privacy amplification by iteration (Feldman et al., 2018), with a step that may also shift. Let
D_a^z(X, X') be the smallest Renyi divergence of X'' from X' over all X'' at a distance of at most z from X (in the
infinity-Wasserstein sense). (1) A step without noise takes points at a distance z to a distance of at most c z + 2
eta C1, since clipped gradients differ by at most 2 C1; with the data-processing inequality, D_a^(c z + 2 eta C1)
after the step is at most D_a^z before it. (2) Adding the noise, D_a^z of the sums is at most D_a^(z + b) before the
noise plus a b^2 / (2 sigma^2), for every b >= 0 (the shift-reduction lemma of that paper). (3) At the start D_a^(2
C0) is zero. So rho holds with sum b_t^2 / (2 sigma^2) for all b_t >= 0 with sum c^(T-t) b_t = D whose partial
distances stay non-negative; b_t proportional to c^(T-t) minimises it, and the partial distances, which first grow and
then fall to zero, are never negative. A divergence of a rho for every a > 1 gives the pair (epsilon, delta) by Bun
and Steinke (2016), Proposition 1.3. Batches that are drawn at random, but in the same way in both runs, change
nothing: the Renyi divergence is quasi-convex.

The idea of certifying unlearning by clipped and noisy fine-tuning is that of Koloskova et al., "Certified Unlearning
for Neural Networks", ICML 2025; the statement above is proved here as it is used, and is not tighter than theirs.
"""

from __future__ import annotations

import math


def _distance_and_noise(
    steps: int, lr: float, weight_decay: float, weight_norm: float, gradient_norm: float
) -> tuple[float, float]:
    """Return D and the sum of the squares of c^t, for t from 0 to ``steps`` - 1.

    Raises:
        ValueError: If a number is out of range.
    """
    contraction = 1 - lr * weight_decay
    if steps < 1 or not 0 <= contraction <= 1 or lr < 0 or weight_norm < 0 or gradient_norm < 0:
        raise ValueError(
            f"the bound needs steps >= 1 and lr * weight_decay in [0, 1], got {steps} steps, {lr:g} * {weight_decay:g}"
        )
    powers = [contraction**step for step in range(steps)]
    distance = 2 * weight_norm * contraction**steps + 2 * lr * gradient_norm * math.fsum(powers)
    return distance, math.fsum(power**2 for power in powers)


def epsilon_of(
    noise: float, *, steps: int, lr: float, weight_decay: float, weight_norm: float, gradient_norm: float, delta: float
) -> float:
    """Return epsilon after some steps of noisy training.

    Args:
        noise: Standard deviation of the noise that is added to every weight in every step, sigma.
        steps: Number of steps, T.
        lr: Learning rate, eta.
        weight_decay: Weight decay, lambda.
        weight_norm: Largest norm of all trained weights together at the start, C0.
        gradient_norm: Largest norm of the gradient of a step, C1.
        delta: delta, in (0, 1).

    Raises:
        ValueError: If a number is out of range.
    """
    if not 0 < delta < 1 or noise < 0:
        raise ValueError(f"delta must lie in (0, 1) and noise must not be negative, got {delta:g} and {noise:g}")
    distance, squares = _distance_and_noise(steps, lr, weight_decay, weight_norm, gradient_norm)
    if noise == 0:
        return 0.0 if distance == 0 else math.inf
    rho = distance**2 / (2 * noise**2 * squares)
    return rho + 2 * math.sqrt(rho * -math.log(delta))


def noise_for(
    epsilon: float,
    *,
    steps: int,
    lr: float,
    weight_decay: float,
    weight_norm: float,
    gradient_norm: float,
    delta: float,
) -> float:
    """Return the standard deviation of the noise with which training has an epsilon; see :func:`epsilon_of`.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 0 < delta < 1 or epsilon <= 0:
        raise ValueError(f"delta must lie in (0, 1) and epsilon above 0, got {delta:g} and {epsilon:g}")
    distance, squares = _distance_and_noise(steps, lr, weight_decay, weight_norm, gradient_norm)
    root_of_rho = math.sqrt(epsilon - math.log(delta)) - math.sqrt(-math.log(delta))
    return distance / (root_of_rho * math.sqrt(2 * squares))
