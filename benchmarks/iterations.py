"""Time iterations of ``gli fit``: GLI against the released code's loop, every method against a bare loop."""

from __future__ import annotations

from benchmarks.bare_loops import BARE_LOOPS, gli_minimal, gli_released
from benchmarks.fit_timing import time_fit
from benchmarks.timing import Measurement, image_size, relative_cost, speedup

#: Settings with which a few iterations include every kind of pass.
METHOD_SETTINGS = {
    "SCRUB": ["--model.first=max"],
    "BadTeaching": ["--model.batch_size=64"],
    "LoTUS": ["--data.reference_share=0.5", "--model.stop_at_reference=false"],
}
#: Target of the speed-up over the released loop, by the number of inner steps T.
SPEEDUP_TARGETS = {2: 1.5, 5: 1.75}


def gli_iteration(size: int, steps: int, iterations: int = 7) -> list[Measurement]:
    """Time a GLI iteration against the released code's loop, and against a loop of minimal cost.

    Args:
        size: Side of the images in pixels.
        steps: Number of inner steps T.
        iterations: Number of timed iterations.
    """
    builders = {"released": gli_released, "minimal": gli_minimal}
    times, _ = time_fit("GLI", builders, size, iterations, [f"--model.steps={steps}"])
    work = f"GLI iteration, {image_size(size)}, T = {steps}"
    released = "forget features in every inner step, full backward pass"
    minimal = "one forward pass of forget, T gradients of the pixels, one training step"
    return [
        speedup(work, released, times["released"], times["gli"], SPEEDUP_TARGETS[steps]),
        relative_cost(work, minimal, times["minimal"], times["gli"], 1.05),
    ]


def fit_iteration(method: str, size: int = 64, iterations: int = 13) -> Measurement:
    """Time an iteration of ``gli fit``, with loading and logging, against the same iteration in a bare loop.

    Args:
        method: Name of the method.
        size: Side of the images in pixels.
        iterations: Number of timed iterations.
    """
    times, _ = time_fit(method, {"bare": BARE_LOOPS[method]}, size, iterations, METHOD_SETTINGS.get(method, []))
    work = f"`gli fit` iteration, {method}, {image_size(size)}"
    return relative_cost(work, "the same iteration in a bare loop", times["bare"], times["gli"], 1.05)
