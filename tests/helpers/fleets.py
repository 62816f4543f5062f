"""Simulated fleets: margins with a known leak, for tests of attacks and verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gli.auditing.fleet import Fleet, plan_draws
from gli.metrics.ulira import FORGOTTEN, NEVER_SEEN, OTHER

Change = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64], np.random.Generator], npt.NDArray[np.float64]]


def plan(people: int, originals: int = 16, draws: int = 2, seed: int = 0) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Return the states of people in the models of a fleet, and the original of each model."""
    names = [f"p{number:03d}" for number in range(people)]
    planned = plan_draws([[name] for name in names], originals, draws, seed=seed)
    number = {name: row for row, name in enumerate(names)}
    states = np.full((len(planned), people), OTHER)
    for model, draw in enumerate(planned):
        states[model, [number[name] for name in draw.forget]] = FORGOTTEN
        states[model, [number[name] for name in draw.unseen]] = NEVER_SEEN
    return states, [draw.original for draw in planned]


def fleet(
    people: int = 60,
    images: int = 3,
    originals: int = 16,
    draws: int = 2,
    seed: int = 0,
    change: Change | None = None,
    noise: int = 1,
) -> Fleet:
    """Return a fleet of normal margins in which nothing can be told, unless ``change`` moves some of them.

    Args:
        people: Number of people.
        images: Images of each.
        originals: Number of originals.
        draws: Draws from each original.
        seed: Seed of the images and of the assignment.
        noise: Seed of the margins; fleets of equal ``seed`` have the same people in the same models.
        change: Called with margins, states (both ``(models, images)``) and a generator; returns new margins.
    """
    difficulty, generator = np.random.default_rng([seed, 0]), np.random.default_rng([seed, noise])
    by_person, origin = plan(people, originals, draws, seed)
    states = np.repeat(by_person, images, axis=1)
    count = states.shape[1]
    margins = (
        2 * difficulty.normal(size=count)
        + 0.3 * generator.normal(size=(len(origin), 1))
        + 0.5 * generator.normal(size=(originals, count))[origin]
        + generator.normal(size=states.shape)
    )
    if change is not None:
        margins = change(margins, states, generator)
    return Fleet(
        margins[..., None],
        states,
        np.repeat(np.arange(people), images),
        tuple(f"p{number:03d}" for number in range(people)),
        np.array(origin),
        np.full(len(origin), 0.5),
    )


def shifted(by: float) -> Change:
    """Return a change that moves the margins of forgotten images."""
    return lambda margins, states, generator: margins + by * (states == FORGOTTEN)
