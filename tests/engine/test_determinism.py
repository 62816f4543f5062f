"""Runs with the same seed have identical weights and audits, for any number of loader workers.

The tests of resuming depend on this for every method: they compare two runs bit by bit.
"""

from __future__ import annotations

import pytest
import torch

from gli.callbacks import ForgettingAudit
from gli.engine.fit import CLI, run
from tests.helpers.tiny import EVERY, TINY

ARGUMENTS = [*TINY, *EVERY, "--trainer.max_steps=3"]
pytestmark = pytest.mark.usefixtures("at_home")


def identical(first: CLI, second: CLI) -> bool:
    """Return whether the weights and audits of two runs are equal."""
    weights, other_weights = (command.model.model.state_dict() for command in (first, second))
    same = all(torch.equal(value, other_weights[name]) for name, value in weights.items())
    rows, other_rows = (ForgettingAudit.of(command.trainer).rows for command in (first, second))
    return same and rows == other_rows


@pytest.mark.parametrize("method", ["GLI", "UNSIR", "BadTeaching"])
def test_the_number_of_loader_workers_changes_nothing(method):
    arguments = ["fit", f"--model={method}", *ARGUMENTS]
    assert identical(run(arguments), run([*arguments, "--data.num_workers=2"]))


def test_the_same_seed_gives_identical_results_and_another_seed_does_not():
    arguments = ["fit", "--model=GLI", *ARGUMENTS, "--model.init_std=0.01"]
    first = run(arguments)
    torch.rand(100)  # Earlier use of the global generator has no effect.
    assert identical(first, run(arguments))
    assert identical(first, run([*arguments, "--trainer.deterministic=true"]))
    original = f"--model.original={first.model.original}"
    assert not identical(first, run([*arguments, original, "--seed_everything=1"]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_results_on_a_gpu_are_identical_in_deterministic_mode():
    arguments = [argument for argument in ARGUMENTS if "accelerator" not in argument]
    arguments = ["fit", "--model=GLI", *arguments, "--trainer.accelerator=gpu", "--trainer.deterministic=true"]
    assert identical(run(arguments), run(arguments))
