"""The same seed gives the same weights and the same audits, to the bit; workers and what else runs have no say in it.

That every method repeats itself is also what the tests of resuming rest on: they compare with another run to the bit.
"""

from __future__ import annotations

import pytest
import torch

from gli.callbacks import ForgettingAudit
from gli.commands.fit import CLI, run
from tests.helpers.tiny import EVERY, TINY

ARGUMENTS = [*TINY, *EVERY, "--trainer.max_steps=3"]
pytestmark = pytest.mark.usefixtures("at_home")


def alike(one: CLI, other: CLI) -> bool:
    weights, others = (command.model.model.state_dict() for command in (one, other))
    same = all(torch.equal(value, others[name]) for name, value in weights.items())
    rows, other_rows = (ForgettingAudit.of(command.trainer).rows for command in (one, other))
    return same and rows == other_rows


@pytest.mark.parametrize("method", ["GLI", "UNSIR", "BadTeaching"])
def test_the_number_of_loader_workers_changes_nothing(method):
    arguments = ["fit", f"--model={method}", *ARGUMENTS]
    assert alike(run(arguments), run([*arguments, "--data.num_workers=2"]))


def test_the_same_seed_gives_the_same_to_the_bit_and_another_seed_does_not():
    arguments = ["fit", "--model=GLI", *ARGUMENTS, "--model.init_std=0.01"]
    first = run(arguments)
    torch.rand(100)  # What was drawn before is no matter.
    assert alike(first, run(arguments))
    assert alike(first, run([*arguments, "--trainer.deterministic=true"]))
    original = f"--model.original={first.model.original}"
    assert not alike(first, run([*arguments, original, "--seed_everything=1"]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_repeats_itself_when_it_is_told_to():
    arguments = [one for one in ARGUMENTS if "accelerator" not in one]
    arguments = ["fit", "--model=GLI", *arguments, "--trainer.accelerator=gpu", "--trainer.deterministic=true"]
    assert alike(run(arguments), run(arguments))
