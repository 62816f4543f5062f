"""A score is declared once: log, bar, checkpoint, early stop, table, report and curves show it without another edit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gli.auditing.plots import utility_drop
from gli.callbacks import ForgettingAudit, progress_bar
from gli.commands.main import main
from gli.engine import fit
from gli.metrics.registry import COLUMNS, SCORES, Audited, Column, Score, compute_score, register, register_column
from tests.helpers.tiny import EVERY, TINY

PLACES = frozenset({"bar", "table", "report", "runs", "curves"})
CHOSEN = [
    "--checkpoint.monitor=val/entropy_gap",
    "--early_stopping.monitor=val/entropy_gap",
    "--trainer.enable_progress_bar=true",
]


@pytest.fixture
def entropy_gap() -> Iterator[Score]:
    """A score on a new per-image column, registered for one test."""

    def entropy(task, logits, labels):
        return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)

    def gap(audited: Audited) -> float:
        return abs(float(audited.sets["unseen"]["entropy"].mean() - audited.sets["forget"]["entropy"].mean()))

    column = register_column(Column("entropy", entropy))
    score = register(Score("entropy_gap", "entropy gap", "lower", gap, shown=PLACES, short="gap"))
    yield score
    del SCORES[score.name], COLUMNS[column.name]


@pytest.mark.usefixtures("at_home")
def test_a_score_on_a_new_column_is_seen_everywhere(entropy_gap, home, monkeypatch):
    terminal, closing = io.StringIO(), io.StringIO()
    monkeypatch.setattr(progress_bar, "console", Console(file=terminal, force_terminal=True, width=160))
    monkeypatch.setattr(fit, "console", Console(file=closing, width=160))
    command = fit.run(["fit", "--model=GLI", *TINY, *EVERY, "--trainer.max_steps=2", *CHOSEN])
    folder = Path(command.trainer.log_dir)
    rows = ForgettingAudit.of(command.trainer).rows

    with (folder / "metrics.csv").open() as file:
        logged = [float(row["val/entropy_gap"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    assert logged == pytest.approx([row["entropy_gap"] for row in rows])
    assert len(logged) == 3

    with np.load(folder / "audits/000002.npz") as record:
        assert record["test/entropy"].shape == record["test/loss"].shape
        assert logged[2] == pytest.approx(
            abs(record["unseen/entropy"].mean() - record["forget/entropy"].mean()), abs=1e-6
        )
        assert "entropy" not in record["accuracies"]

    assert "entropy gap (" not in closing.getvalue()
    assert "entropy gap" in closing.getvalue()
    assert "gap 0." in terminal.getvalue()
    least = min(rows[1:], key=lambda row: row["entropy_gap"])
    assert ForgettingAudit.of(command.trainer).best == least
    assert "entropy gap" in [line.get_label() for line in utility_drop(rows).axes[0].get_lines()]

    output = home / "report"
    assert main(["report", str(folder), "--output", str(output), "--resamples", "5"]) == 0
    with (output / "results.csv").open() as file:
        result = next(row for row in csv.DictReader(file) if row["method"] == "GLI")
    reported = next(row for row in rows if row["iteration"] == float(result["iteration"]))
    assert float(result["entropy_gap"]) == pytest.approx(reported["entropy_gap"])
    assert float(result["entropy_gap_low"]) <= float(result["entropy_gap_high"])
    for name in ("results.md", "report.html"):
        assert "entropy gap ↓" in (output / name).read_text()


@pytest.mark.usefixtures("at_home")
def test_an_accuracy_column_is_a_score_by_itself(home):
    column = register_column(
        Column("accuracy_of_class_0", lambda task, logits, labels: (logits.argmax(1) == 0).float(), is_accuracy=True)
    )
    try:
        command = fit.run(["fit", "--model=FineTune", *TINY, *EVERY, "--trainer.max_steps=1"])
    finally:
        del COLUMNS[column.name]
    assert all(0 <= row["accuracy_of_class_0"] <= 1 for row in ForgettingAudit.of(command.trainer).rows)


def test_a_score_without_a_direction_needs_a_mode(capsys):
    arguments = ["fit", "--model=GLI", *TINY, "--checkpoint.monitor=val/loss_forget"]
    assert main(arguments) == 2
    assert "checkpoint.mode is None; give max" in capsys.readouterr().err


def test_a_rare_label_has_a_balanced_accuracy_beside_the_mean():
    rare = np.arange(20) == 0  # A model that never says yes is right about 19 of 20.
    columns = {
        "accuracy": (~rare).astype(float),
        "accuracy_bald": (~rare).astype(float),
        "yes_bald": rare.astype(float),
    }
    assert compute_score(Audited({"test": columns}), "balanced_accuracy") == 0.5
    often = {**columns, "yes_bald": (np.arange(20) % 2).astype(float)}
    assert math.isnan(compute_score(Audited({"test": often}), "balanced_accuracy"))
