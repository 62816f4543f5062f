"""Audits of made-up people whose pictures are alike."""

from __future__ import annotations

import numpy as np

from gli.auditing.record import Record

SETS = ("test", "forget", "unseen")


def make_audit(people: int = 20, pictures: int = 4, shift: float = 0.5, iteration: int = 3) -> Record:
    """Return an audit whose sets differ in their losses by ``shift``."""
    generator = np.random.default_rng(1)
    values = {}
    for number, name in enumerate(SETS):
        own = np.repeat(generator.normal(size=people), pictures)  # Pictures of a person are alike.
        loss = np.abs(own + 0.1 * generator.normal(size=people * pictures)) + shift * number
        values[name] = {"loss": loss.astype(np.float32).astype(float), "accuracy": (own > 0).astype(float)}
    return Record(iteration, values)


def make_people(people: int = 20, pictures: int = 4) -> dict[str, np.ndarray]:
    """Return the identity on each image of each set."""
    return {name: np.repeat([f"{name}{person}" for person in range(people)], pictures) for name in SETS}
