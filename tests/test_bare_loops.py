"""What was made fast gives what the plain way gives: iterations in a run against bare loops (benchmarks/plain.py)."""

from __future__ import annotations

import pytest

from benchmarks.beside import beside
from benchmarks.iterations import SETTINGS
from benchmarks.plain import PLAIN, gli_released
from gli.methods import Method
from gli.system.classes import concrete_subclasses

SMALL = ["--data.people=24", "--data.pictures=5", "--data.batch_size=8", "--data.cache_dir=cache"]
pytestmark = pytest.mark.usefixtures("at_home")


def test_every_method_has_its_bare_loop():
    ours = {name for name, kind in concrete_subclasses(Method).items() if kind.__module__.startswith("gli.")}
    assert set(PLAIN) == ours


@pytest.mark.parametrize("method", PLAIN)
def test_a_run_takes_the_steps_of_a_bare_loop(method):
    more = ["--model.batch_size=8"] if method == "BadTeaching" else SETTINGS.get(method, [])
    times, apart = beside(method, {"bare": PLAIN[method]}, 32, 4, [*SMALL, *more], backbone="resnet18_slim")
    assert len(times["gli"]) == 4
    # The same operations in the same order; a gradient of nearly zero may round otherwise where torch chooses another
    # kernel.
    assert apart["bare"] < 1e-5


def test_the_released_loop_arrives_where_ours_does():
    settings = [*SMALL, "--model.steps=2", "--model.class_weight.initial=1", "--model.class_weight.final=1"]
    _, apart = beside("GLI", {"released": gli_released}, 32, 4, settings, backbone="resnet18_slim")
    assert apart["released"] < 1e-3
