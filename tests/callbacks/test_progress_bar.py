from __future__ import annotations

import io
import re

import pytest
from lightning.pytorch.callbacks import TQDMProgressBar
from rich.console import Console

from gli.callbacks import BestCheckpoint, RunProgress, find_callback, progress_bar
from gli.engine.fit import CLI, run
from tests.helpers.tiny import TINY

pytestmark = pytest.mark.usefixtures("at_home")
BAR = "--trainer.enable_progress_bar=true"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the stream that the progress bar writes to, as if it were a terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(progress_bar, "console", Console(file=stream, force_terminal=True, width=120))
    return stream


def printed_lines(terminal: io.StringIO) -> list[str]:
    """Return the lines that were printed, without control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def fit(method: str, *settings: str) -> CLI:
    return run(["fit", f"--model={method}", *TINY, *settings])


def test_a_run_is_one_bar_of_its_iterations_with_the_scores_of_the_last_audit(terminal: io.StringIO) -> None:
    fit("FineTune", "--trainer.max_steps=3", "--trainer.val_check_interval=1", "--early_stopping.patience=null", BAR)
    lines = printed_lines(terminal)
    runs = [line for line in lines if line.startswith("FineTune")]
    counts = [re.search(r"\b(\d+)/(\d+)", line) for line in runs]
    done = [int(count[1]) for count in counts if count]
    assert done == sorted(done)
    assert done[-1] == 3
    assert {count[2] for count in counts if count} == {"3"}
    assert re.search(r"utility drop -?\d\.\d{3} \| MIA \d\.\d{3} \| accuracy \d\.\d{3}$", runs[-1])
    assert any(line.startswith("Audit") for line in lines)
    assert any(line.startswith("Original") for line in lines)  # Its training has a bar too.
    assert not any("Epoch" in line for line in lines)


@pytest.mark.parametrize(
    ("settings", "last", "stages"),
    [
        (["FineTune", "--trainer.max_epochs=2"], None, ["FineTune"]),
        (["UNSIR"], None, ["UNSIR, stage 1 (impair)", "UNSIR, stage 2 (repair)"]),
        (["SCRUB"], None, ["SCRUB"]),
        (["NegGrad", "--trainer.max_epochs=3", "--trainer.max_steps=2"], 2, ["NegGrad"]),
    ],
)
def test_the_bar_is_full_at_the_end(
    settings: list[str], last: int | None, stages: list[str], terminal: io.StringIO
) -> None:
    command = fit(*settings, BAR)
    runs = [line for line in printed_lines(terminal) if line.startswith(tuple(stages))]
    count = re.search(r"\b(\d+)/(\d+)", runs[-1])
    assert count is not None
    assert count[1] == count[2] == str(last or command.trainer.fit_loop.epoch_loop.total_batch_idx + 1)
    for stage in stages:
        assert any(line.startswith(stage) for line in runs)


def test_the_bar_of_a_run_without_a_limit_has_no_total(terminal: io.StringIO) -> None:
    fit("FineTune", "--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:01", BAR)
    assert re.search(r"\b\d+/\?", printed_lines(terminal)[-1])


@pytest.mark.parametrize("iteration", [1, 4])
def test_the_bar_of_a_resumed_run_starts_at_its_iteration(iteration: int, terminal: io.StringIO) -> None:
    settings = [
        "FineTune",
        "--trainer.max_epochs=3",
        "--trainer.val_check_interval=1",
        "--early_stopping.patience=null",
        BAR,
    ]
    first = fit(*settings, f"--trainer.max_steps={iteration}")
    terminal.truncate(terminal.seek(0))
    checkpoint = first.trainer.checkpoint_callback
    assert isinstance(checkpoint, BestCheckpoint)
    command = fit(*settings, f"--ckpt_path={checkpoint.last_model_path}")
    counts = [re.search(r"^FineTune.*?(\d+)/(\d+)", line) for line in printed_lines(terminal)]
    done = [(int(count[1]), int(count[2])) for count in counts if count]
    total = command.trainer.fit_loop.epoch_loop.total_batch_idx + 1
    assert done[0] == (iteration, total)
    assert done[-1] == (total, total)


@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_an_audit_outside_a_run_has_a_bar(subcommand: str, terminal: io.StringIO) -> None:
    run([subcommand, "--model=FineTune", *TINY, BAR])
    last = printed_lines(terminal)[-1]
    count = re.search(r"^Audit.*?(\d+)/(\d+)", last)
    assert count is not None
    assert count[1] == count[2]


def test_without_a_bar_nothing_is_printed(terminal: io.StringIO) -> None:
    command = fit("FineTune", "--trainer.max_steps=1")
    assert command.trainer.progress_bar_callback is None
    assert not terminal.getvalue()


def test_a_bar_of_the_user_replaces_ours(terminal: io.StringIO) -> None:
    own = "--trainer.callbacks+=lightning.pytorch.callbacks.TQDMProgressBar"
    command = fit("FineTune", "--trainer.max_steps=1", BAR, own)
    assert isinstance(command.trainer.progress_bar_callback, TQDMProgressBar)
    assert find_callback(command.trainer, RunProgress) is None
    assert not any(line.startswith("FineTune") for line in printed_lines(terminal))


def test_the_bar_is_stopped_if_a_run_fails(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_step(*args: object) -> None:
        raise RuntimeError("broken step")

    monkeypatch.setattr("gli.methods.FineTune.unlearn", broken_step)
    with pytest.raises(RuntimeError, match="broken step"):
        fit("FineTune", "--trainer.max_steps=1", BAR)
    before = terminal.tell()
    progress_bar.console.print("printed afterwards")
    assert "printed afterwards" in terminal.getvalue()[before:]
    assert not progress_bar.console._live_stack
