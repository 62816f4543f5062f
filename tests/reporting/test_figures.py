"""Figures: every point comes from a log or a record."""

from __future__ import annotations

import pytest

from gli.auditing.record import read_record
from gli.reporting.plots import draw_figures, draw_report
from gli.reporting.results import collect_results, summarise
from gli.reporting.tradeoff import tradeoff_of
from gli.runs.read import read_run
from tests.helpers.run_folders import change_log

CURVES, WARM_UP = "Utility drop: scores over the iterations", "Class-loss warm-up: score curves"
SCATTER, DENSITIES = "Forgetting score against JSD", "Loss densities of forget and unseen"


def figures_of(*folders):
    runs = [read_run(folder) for folder in folders]
    results = collect_results(runs)[0]
    return draw_figures(runs, results, summarise(results))


def accuracy_curve(folder):
    return figures_of(folder)[CURVES].axes[0].lines[0].get_xydata().tolist()


def test_a_value_changed_in_a_log_moves_that_point_of_the_curve_and_no_other(make_run):
    folder = make_run()
    before = accuracy_curve(folder)
    assert before == [[row["iteration"], row["accuracy"]] for row in read_run(folder).rows]
    change_log(folder, 4, "accuracy", 0.123)
    assert accuracy_curve(folder) == [*before[:2], [4, 0.123], *before[3:]]


def test_forgetting_score_and_jsd_are_plotted_where_the_log_has_them(make_run):
    folders = [make_run(method) for method in ("GLI", "LI", "SCRUB")]
    for place, folder in enumerate(folders):
        for iteration in (2, 4, 6):
            change_log(folder, iteration, "final_score", 0.9)
            change_log(folder, iteration, "forgetting_score", 0.1 * place)
            change_log(folder, iteration, "jsd", 0.2 * place + 0.05)
    runs = [read_run(folder) for folder in folders]
    results = [result for result in collect_results(runs)[0] if result.label != "Original"]
    (axes,) = draw_figures(runs, results, summarise(results))[SCATTER].axes
    points = [collection.get_offsets().tolist()[0] for collection in axes.collections]
    assert points == [[pytest.approx(0.1 * place), pytest.approx(0.2 * place + 0.05)] for place in range(3)]
    assert "r = 1.00 over 3" in axes.get_title()


def test_the_first_seed_of_each_label_is_drawn_and_models_trained_from_scratch_have_no_curves(make_run):
    folders = [make_run(method, seed) for seed in (1, 0) for method in ("LI", "Retrained")]
    panels = figures_of(*folders)[CURVES].axes[:1]
    assert [axes.get_title() for axes in panels] == ["LI"]
    (first,) = [run for run in map(read_run, folders) if (run.method, run.seed) == ("LI", 0)]
    assert panels[0].lines[0].get_ydata().tolist() == [row["accuracy"] for row in first.rows]


def test_densities_are_drawn_of_the_reported_audits_that_were_kept(make_run):
    panels = figures_of(make_run("LI"), make_run("SCRUB", keep_losses=False))[DENSITIES].axes
    assert [axes.get_title() for axes in panels if axes.axison] == ["Original", "LI"]
    assert DENSITIES not in figures_of(make_run("GLI", keep_losses=False))


def test_densities_are_those_of_the_record(make_run):
    run = read_run(make_run())
    (result,) = [result for result in collect_results([run])[0] if result.label == "GLI"]
    record = read_record(run.folder, result.iteration)
    panel = draw_figures([run], [result], summarise([result]))[DENSITIES].axes[0]
    losses = [record.values[name]["loss"] for name in ("forget", "unseen")]
    grid = panel.lines[0].get_xdata()
    assert grid.min() == pytest.approx(min(map(min, losses)))
    assert grid.max() == pytest.approx(max(map(max, losses)))


def test_the_warm_up_has_curves_of_its_own(make_run):
    fixed, warm = ({"initial": initial, "final": 1000.0} for initial in (1000.0, 200.0))
    folders = [make_run("GLI", class_weight=weight) for weight in (fixed, warm)]
    folders += [make_run(method) for method in ("LI", "SCRUB")]
    panels = figures_of(*folders)[WARM_UP].axes
    assert [axes.get_title() for axes in panels] == [
        "LI",
        "GLI (class_weight.initial 1000)",
        "GLI (class_weight.initial 200)",
    ]
    assert panels[1].lines[0].get_ydata().tolist() == [row["accuracy"] for row in read_run(folders[0]).rows]
    assert WARM_UP not in figures_of(*folders[1:])


def drawn(runs, folder):
    results, _ = collect_results(runs)
    summaries = summarise(results)
    return draw_report(runs, results, summaries, tradeoff_of(summaries), folder / "tradeoff.png", "Faces")


def test_the_same_runs_give_the_same_svg_without_links_to_the_network(make_run, tmp_path):
    runs = [read_run(make_run(method)) for method in ("GLI", "LI")]
    first, second = drawn(runs, tmp_path), drawn(runs, tmp_path)
    assert first == second
    scatter, figures = first
    assert list(figures) == ["Privacy against accuracy", CURVES, SCATTER, DENSITIES]
    assert all(figure["svg"].startswith("<svg") for figure in figures.values())
    assert [f'id="run-{place}"' in scatter for place in range(4)] == [True, True, True, False]
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_a_dollar_sign_in_a_label_is_drawn_as_it_is(make_run, tmp_path):
    scatter, figures = drawn([read_run(make_run(batch_norm=name)) for name in ("$x^2$", "$y$")], tmp_path)
    assert all("$x^2$" in svg for svg in (scatter, figures["Privacy against accuracy"]["svg"], figures[CURVES]["svg"]))
