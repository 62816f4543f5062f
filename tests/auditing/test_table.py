from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console

from gli.auditing.conclusion import comparison
from gli.metrics.registry import shown_in


def printed(columns: Sequence[tuple[str, Mapping[str, float]]]) -> list[list[str]]:
    """Return the cells of each line of a printed table."""
    file = io.StringIO()
    Console(width=120, file=file).print(comparison(columns))
    lines = [line.replace("┃", "│") for line in file.getvalue().splitlines()]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def test_each_score_of_the_table_has_a_row_in_the_order_of_the_registry():
    scores = {score.name: number / 100 for number, score in enumerate(shown_in("table"))}
    heading, *rows = printed([("Original", scores), ("GLI, iteration 38", {**scores, "accuracy": 0.123456})])
    assert heading == ["", "Original", "GLI, iteration 38"]
    assert rows[0] == ["test accuracy", "0.0000", "0.1235"]
    assert rows[1:] == [
        [score.explained, f"{scores[score.name]:.4f}", f"{scores[score.name]:.4f}"] for score in shown_in("table")[1:]
    ]


def test_a_score_that_a_model_lacks_is_empty_and_one_that_all_lack_has_no_row():
    _, *rows = printed([("Original", {"accuracy": 0.5}), ("GLI", {"accuracy": 0.4, "utility_drop": 0.1})])
    assert rows == [["test accuracy", "0.5000", "0.4000"], ["utility drop", "", "0.1000"]]


def test_accuracies_of_labels_are_behind_the_accuracy_and_losses_are_not_in_the_table():
    _, *rows = printed([("GLI", {"jsd": 0.3, "accuracy_young": 0.2, "accuracy": 0.1, "loss_test": 4.0})])
    assert [row[0] for row in rows] == ["test accuracy", "accuracy young", "JSD (lower is better)"]
