"""What a run prints at its end: the retrained model beside the others if it is known, and the run in one sentence."""

from __future__ import annotations

import re

import pytest
import torch

from gli.engine.fit import run
from tests.helpers.tiny import EVERY, TINY

pytestmark = pytest.mark.usefixtures("at_home")
RUN = ["fit", "--model=NegGrad", *TINY, *EVERY, "--trainer.max_steps=1"]


def printed(capsys, *arguments: str) -> str:
    run([*RUN, *arguments])
    return capsys.readouterr().err


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_the_retrained_model_is_a_column_once_it_is_known(capsys, home):
    assert "retrained" not in printed(capsys, "--model.lr=0")
    retrained = run(["fit", "--model=Retrained", *TINY])
    assert "trained from scratch" in last_line(capsys.readouterr().err)
    text = printed(capsys, "--model.lr=0")
    heading = next(line for line in text.splitlines() if "Original" in line)
    assert heading.rstrip(" ┃").endswith("retrained")
    accuracy = retrained.trainer.callback_metrics["val/accuracy"]
    row = next(line for line in text.splitlines() if "test accuracy" in line)
    assert row.rstrip(" │").endswith(f"{float(accuracy):.4f}")
    assert "docs/scores.md" in text

    # Other people to compare with are another audit, even if the retrained model is the same.
    (path,) = (home / "lightning_logs/originals").glob("retrained_*.ckpt")
    contents = torch.load(path, weights_only=True)
    torch.save({**contents, "audited": "other images"}, path)
    assert "retrained" not in printed(capsys, "--model.lr=0")


def test_a_run_that_does_nothing_ends_in_words(capsys):
    """That of one that diverges: test_a_model_that_falls_apart_ends_the_run in test_fit.py."""
    nothing = last_line(printed(capsys, "--model.lr=0", "--model.batch_norm=eval"))
    assert re.search(r"forgot next to nothing.*raise --model\.lr|next to nothing to forget", nothing)
    assert nothing.startswith("In short")
