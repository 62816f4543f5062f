from __future__ import annotations

import json
import math

from gli.reporting.results import collect_results, summarise
from gli.reporting.tables import Table, markdown, number, table_of_methods, table_of_runs
from gli.runs.read import read_run
from tests.helpers.run_folders import change_log

SCORES = [
    "test accuracy ↑",
    "MIA accuracy (0.5 is best)",
    "forgetting score ↓",
    "JSD ↓",
    "final score ↑",
    "forget accuracy",
]


def results_of(folders, **options):
    return collect_results([read_run(folder) for folder in folders], **options)[0]


def summaries_of(folders):
    return summarise(results_of(folders))


def column(table: Table, heading: str) -> list[str]:
    place = list(table.headings).index(heading)
    return [row[place] for row in table.rows]


def test_numbers_have_three_decimals_and_a_spread_where_there_is_one():
    assert number(0.12345) == "0.123"
    assert number(0.5, 0.0625) == "0.500 ± 0.062"
    assert number(math.nan, 0.1) == "-"


def test_headings_say_which_way_is_better(make_run):
    table = table_of_methods(summaries_of([make_run()]), "SyntheticFaces")
    assert list(table.headings) == ["method", *SCORES, "iteration of each run"]


def test_the_best_two_methods_are_marked_and_the_attack_accuracy_is_not(make_run):
    for place, method in enumerate(("GLI", "LI", "SCRUB", "Retrained")):
        folder = make_run(method)
        for iteration in (2, 4, 6):
            change_log(folder, iteration, "final_score", 0.5 + 0.1 * place)
            change_log(folder, iteration, "mia_accuracy", 0.5)
    table = table_of_methods(summaries_of(make_run.made), "SyntheticFaces")
    assert column(table, "method") == ["Original", "Retrained", "GLI", "LI", "SCRUB"]
    assert column(table, "final score ↑")[1:] == ["0.800", "0.500", "*0.600*", "**0.700**"]
    assert column(table, "MIA accuracy (0.5 is best)")[1:] == ["0.500"] * 4
    assert column(table, "final score, gap to retrained")[1:] == ["+0.000", "-0.300", "-0.200", "-0.100"]


def test_published_scores_are_beside_ours(make_run):
    table = table_of_methods(summaries_of([make_run(method, data="MUFAC") for method in ("GLI", "SCRUB")]), "MUFAC")
    rows = {row[0]: " ".join(row) for row in table.rows}
    assert all(text in rows["SCRUB"] for text in ("(0.598)", "(0.658)", "(0.475)"))
    assert "(0.584)" in rows["Original"]
    table = table_of_methods(summaries_of(make_run.made), "Other")
    assert "(" not in "".join(cell for row in table.rows for cell in row)


def test_a_fixed_weight_has_its_own_published_scores(make_run):
    folders = [
        make_run("GLI", data="MUFAC", class_weight={"initial": initial, "final": 1000.0}) for initial in (1000.0, 200.0)
    ]
    cells = column(table_of_methods(summaries_of(folders), "MUFAC"), "final score ↑")
    assert [cell.partition(" ")[2] for cell in cells] == ["(0.584)", "(0.702)", "(0.754)"]


def test_cost_is_the_mean_over_the_runs_that_know_it(make_run):
    folders = [make_run("GLI", seed) for seed in (0, 1, 2)]
    for folder, seconds in zip(folders, (1000, 3000), strict=False):
        (folder / "cost.json").write_text(json.dumps({"training_seconds": seconds, "peak_memory_bytes": 2**30}))
    table = table_of_methods(summaries_of(folders), "SyntheticFaces")
    assert column(table, "training, s") == ["", "2,000"]
    assert column(table, "peak memory, MB") == ["", "1,024"]


def test_the_table_of_runs_has_confidence_intervals_and_folders(make_run):
    results = results_of([make_run()], resamples=3)
    table = table_of_runs(results)
    assert list(table.headings) == ["method", "seed", "iteration", SCORES[0], SCORES[1], SCORES[3], SCORES[4], "run"]
    for result, row in zip(results, table.rows, strict=True):
        low, high = result.intervals["accuracy"]
        assert row[:3] == [result.label, "0", str(result.iteration)]
        assert row[3] == f"{result.scores['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
        assert row[-1] == str(result.run.folder)
    assert "[" not in column(table_of_runs(results_of(make_run.made)), "JSD ↓")[0]


def test_a_vertical_bar_does_not_split_a_cell_of_markdown():
    assert markdown(Table(["a", "b"], [["1|2", "3"]])) == "| a | b |\n|---|---|\n| 1/2 | 3 |"
