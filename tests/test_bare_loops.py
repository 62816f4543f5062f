"""Short runs of every method: beside a bare loop in plain PyTorch, resumed from the middle, and in bfloat16.

The bare loops (benchmarks/bare_loops.py) repeat the iterations of the run and must reach the same parameters.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import lightning as L
import pytest
import torch

from benchmarks.bare_loops import BARE_LOOPS, gli_released
from benchmarks.fit_timing import WARM_UP, BareLoopTimer
from gli.callbacks import ForgettingAudit, find_callback
from gli.engine.fit import CLI, run
from gli.methods import shipped
from gli.runs.folder import snake_case
from gli.runs.read import read_rows
from tests.helpers.tiny import EVERY, NEEDED, TINY

pytestmark = pytest.mark.usefixtures("at_home")
#: Settings with which a few iterations include every kind of pass.
SETTINGS = {
    "BadTeaching": ["--model.batch_size=8"],
    "SCRUB": ["--model.first=max", "--model.forget_batch_size=4"],
    "UNSIR": ["--model.impair_epochs=4"],
}
LENGTH, AUDITS = f"--trainer.max_steps={WARM_UP + 4}", "--trainer.val_check_interval=3"
CALLBACKS = ["benchmarks.fit_timing.BareLoopTimer", f"{__name__}.KeepCheckpoint"]


def short_run(method: str, *arguments: str) -> CLI:
    settings = [*NEEDED.get(method, []), *SETTINGS.get(method, []), "--data.batch_size=8"]
    return run(["fit", f"--model={method}", *TINY, *EVERY, *settings, *arguments])


class KeepCheckpoint(L.Callback):
    """Keep a copy of the last checkpoint of iteration 3, with which a kill after that iteration could be resumed."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if pl_module.iteration == 3:
            shutil.copy(checkpoints(trainer) / "last.ckpt", checkpoints(trainer) / "middle.ckpt")


def checkpoints(trainer: L.Trainer) -> Path:
    """Return the folder of the checkpoints of a run."""
    return Path(trainer.log_dir) / "checkpoints"


def beside(method: str, loop, *arguments: str) -> tuple[CLI, float]:
    """A run beside a bare loop of its last four iterations, and the largest difference between their parameters."""
    BareLoopTimer.builders = {"bare": loop}
    timers = [f"--trainer.callbacks+={callback}" for callback in CALLBACKS]
    command = short_run(method, *timers, LENGTH, *arguments)
    return command, find_callback(command.trainer, BareLoopTimer).differences["bare"]


def check_log(command: CLI, iterations: list[int]) -> list[dict[str, float]]:
    """Check the scores in the log of a run and return its rows."""
    folder = Path(command.trainer.log_dir)
    assert folder.parent.name == f"{snake_case(command.model.name)}_synthetic"
    assert [row["iteration"] for row in ForgettingAudit.of(command.trainer).rows] == iterations
    written = [
        {name: float(value) for name, value in row.items() if value} for row in read_rows(folder / "metrics.csv")
    ]
    logged = [row for row in written if "val/mia_accuracy" in row]
    assert [row["step"] for row in logged] == iterations
    for row in logged:
        forgetting = abs(0.5 - row["val/mia_accuracy"])
        assert row["val/forgetting_score"] == pytest.approx(forgetting, abs=1e-6)
        assert row["val/final_score"] == pytest.approx((row["val/accuracy"] + 1 - 2 * forgetting) / 2, abs=1e-6)
        assert 0 <= row["val/jsd"] <= math.sqrt(math.log(2))
        assert all(row[f"val/loss_{name}"] > 0 for name in ("test", "forget", "unseen"))
        if command.model.needs_original:
            assert row["val/utility_drop"] == pytest.approx(logged[0]["val/accuracy"] - row["val/accuracy"], abs=1e-6)
    return logged


def test_every_method_has_its_bare_loop():
    assert set(BARE_LOOPS) == set(shipped())


@pytest.mark.parametrize("method", BARE_LOOPS)
def test_a_run_takes_the_steps_of_a_bare_loop_and_when_resumed_ends_like_an_undisturbed_one(method):
    command, difference = beside(method, BARE_LOOPS[method], AUDITS)
    # The operations and their order are the same; gradients near zero may round differently with another kernel.
    assert difference < 1e-5
    stages = [4] if method == "UNSIR" else []  # The end of a stage is audited too.
    for row in check_log(command, [0, 3, *stages, 6]):
        assert row["val/top2_accuracy"] >= row["val/accuracy"]
    middle = checkpoints(command.trainer) / "middle.ckpt"
    assert torch.load(middle, weights_only=True)["classifier"]["iteration"] == 3
    resumed = short_run(method, AUDITS, LENGTH, f"--ckpt_path={middle}")
    for name, value in command.model.model.state_dict().items():
        assert torch.equal(value, resumed.model.model.state_dict()[name]), name
    audit, audit_after = (ForgettingAudit.of(each.trainer) for each in (command, resumed))
    assert audit_after.rows == audit.rows
    assert audit_after.stages == audit.stages


@pytest.mark.parametrize("method", BARE_LOOPS)
def test_a_run_in_bfloat16_with_several_labels_stays_finite_and_its_weights_in_float32(method):
    command = short_run(method, "--data.task=attributes", "--trainer.precision=bf16-mixed", "--trainer.max_steps=2")
    for row in check_log(command, [0, 1, 2]):
        accuracies = [row[f"val/accuracy_{name}"] for name in ("male", "smiling", "young")]
        assert row["val/accuracy"] == pytest.approx(sum(accuracies) / 3, abs=1e-6)
    assert all(value.isfinite().all() for value in command.model.model.state_dict().values())
    assert all(value.dtype == torch.float32 for value in command.model.model.parameters())


def test_the_released_loop_reaches_the_same_parameters():
    weight = ["--model.class_weight.initial=1", "--model.class_weight.final=1"]
    assert beside("GLI", gli_released, "--model.steps=2", *weight)[1] < 1e-3
