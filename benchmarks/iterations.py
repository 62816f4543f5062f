"""Time iterations of ``gli fit``: GLI against the released recipe's loop, every method against a bare loop."""

from __future__ import annotations

from benchmarks.beside import beside
from benchmarks.plain import PLAIN, gli, gli_released
from benchmarks.timing import Finding, dearer, faster

#: Settings with which a few iterations meet every pass and stage.
SETTINGS = {"SCRUB": ["--model.first=max"], "BadTeaching": ["--model.batch_size=64"]}


def gli_iteration(size: int, steps: int, iterations: int = 7) -> list[Finding]:
    """A GLI iteration against the plain loop, and against the least that it can cost."""
    times, _ = beside("GLI", {"released": gli_released, "least": gli}, size, iterations, [f"--model.steps={steps}"])
    what = f"GLI iteration, {size} x {size}, T = {steps}"
    goal = {2: 1.5, 5: 1.75}[steps]
    return [
        faster(what, "forget features in every inner step, full backward", times["released"], times["gli"], goal),
        dearer(what, "one forget forward, T input gradients, one training step", times["least"], times["gli"], 1.05),
    ]


def framework(method: str, size: int = 64, iterations: int = 13) -> Finding:
    """An iteration of ``gli fit``, loading and logging included, against the same in a bare loop."""
    times, _ = beside(method, {"bare": PLAIN[method]}, size, iterations, SETTINGS.get(method, []))
    what = f"`gli fit` iteration, {method}, {size} x {size}"
    return dearer(what, "the same iteration in a bare loop", times["bare"], times["gli"], 1.05)
