"""The iterations of a run give the same parameters as bare loops in plain PyTorch (benchmarks/bare_loops.py)."""

from __future__ import annotations

import pytest

from benchmarks.bare_loops import BARE_LOOPS, gli_released
from benchmarks.fit_timing import time_fit
from benchmarks.iterations import METHOD_SETTINGS
from gli.methods import Method
from gli.system.classes import concrete_subclasses

SMALL = ["--data.people=24", "--data.pictures=5", "--data.batch_size=8", "--data.cache_dir=cache"]
pytestmark = pytest.mark.usefixtures("at_home")


def test_every_method_has_its_bare_loop():
    ours = {name for name, kind in concrete_subclasses(Method).items() if kind.__module__.startswith("gli.")}
    assert set(BARE_LOOPS) == ours


@pytest.mark.parametrize("method", BARE_LOOPS)
def test_a_run_takes_the_steps_of_a_bare_loop(method):
    more = ["--model.batch_size=8"] if method == "BadTeaching" else METHOD_SETTINGS.get(method, [])
    times, differences = time_fit(
        method, {"bare": BARE_LOOPS[method]}, 32, 4, [*SMALL, *more], backbone="resnet18_slim"
    )
    assert len(times["gli"]) == 4
    # The operations and their order are the same; gradients near zero may round differently with another kernel.
    assert differences["bare"] < 1e-5


def test_the_released_loop_reaches_the_same_parameters():
    settings = [*SMALL, "--model.steps=2", "--model.class_weight.initial=1", "--model.class_weight.final=1"]
    _, differences = time_fit("GLI", {"released": gli_released}, 32, 4, settings, backbone="resnet18_slim")
    assert differences["released"] < 1e-3
