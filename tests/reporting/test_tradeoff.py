"""The trade-off: every number is that of the results or of the audit, and nothing beats the frontier."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.transforms import Bbox

from gli.reporting.plots import (
    LARGEST,
    SMALLEST,
    areas,
    legend_costs,
    svg_of,
    svg_settings,
    tradeoff_figure,
)
from gli.reporting.published import PUBLISHED
from gli.reporting.results import collect_results, summarise
from gli.reporting.tradeoff import AXES, SECONDS, SHARE, Point, Tradeoff, costs_of, tradeoff_of
from gli.runs.read import read_run

UNIT = st.floats(0, 1).map(lambda value: round(value, 2))

POINTS = (
    Point("Original", 0.3, 0.4),
    Point("Retrained", 0.01, 0.38, (0, 0.02), (0.36, 0.4), 1),
    Point("GLI", 0.1, 0.3, (0.08, 0.12), (0.28, 0.32), 0.4),
    Point("LI", 0.2, 0.2, None, None, 0.1),
    Point("SCRUB", 0.2, 0.35, None, None, 0.001),
)
TRADEOFF = Tradeoff(AXES["mia"], "bars", SHARE, POINTS)


def results_of(folders, **options):
    return collect_results([read_run(folder) for folder in folders], **options)[0]


def point_of(tradeoff: Tradeoff, label: str) -> Point:
    (point,) = [point for point in tradeoff.points if point.label == label]
    return point


def write_cost(folder, seconds, device="cpu"):
    cost = {"training_seconds": seconds, "peak_memory_bytes": 1, "device": device}
    (folder / "cost.json").write_text(json.dumps(cost))


def area(value, low, high):
    return {"value": value, "low": low, "high": high, "error": 0.1}


# -- points ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(UNIT, UNIT), max_size=30))
def test_no_point_beats_the_frontier_and_the_frontier_beats_all_others(pairs):
    points = [Point(str(number), privacy, accuracy) for number, (privacy, accuracy) in enumerate(pairs)]

    def beats(a: Point, b: Point) -> bool:
        as_good = a.privacy <= b.privacy and a.accuracy >= b.accuracy
        return as_good and (a.privacy, a.accuracy) != (b.privacy, b.accuracy)

    frontier = Tradeoff("", "", "", tuple(points)).frontier
    assert not any(beats(point, best) for point in points for best in frontier)
    places = [(best.privacy, best.accuracy) for best in frontier]
    for point in points:
        assert (point.privacy, point.accuracy) in places or any(beats(best, point) for best in frontier)
    assert places == sorted(places)


def test_points_are_means_over_the_seeds_with_their_standard_deviations(make_run):
    results = results_of([make_run(method, seed) for method in ("GLI", "Retrained") for seed in (0, 1)])
    tradeoff = tradeoff_of(summarise(results))
    assert tradeoff.axis == AXES["mia"]
    (summary,) = [summary for summary in summarise(results) if summary.label == "GLI"]
    point = point_of(tradeoff, "GLI")
    assert (point.privacy, point.accuracy) == (summary.mean["forgetting_score"], summary.mean["accuracy"])
    low, high = point.accuracy_bar
    assert (high - low) / 2 == pytest.approx(summary.spread["accuracy"])
    assert [best.label for best in tradeoff.frontier] == ["GLI"]  # Models trained from scratch are not on it.


def test_a_single_run_has_the_interval_over_its_people_if_any(make_run):
    folder = make_run()
    assert point_of(tradeoff_of(summarise(results_of([folder]))), "GLI").accuracy_bar is None
    results = results_of([folder], resamples=3)
    (result,) = [result for result in results if result.label == "GLI"]
    assert point_of(tradeoff_of(summarise(results)), "GLI").accuracy_bar == result.intervals["accuracy"]


def test_cost_is_a_share_of_retraining_seconds_without_it_and_unknown_on_several_devices(make_run):
    folders = [make_run("GLI", seed) for seed in (0, 1)]
    for folder, seconds in zip(folders, (10, 30), strict=True):
        write_cost(folder, seconds)
    assert costs_of(summarise(results_of(folders))) == ({"Original": None, "GLI": 20}, SECONDS)
    retrained = make_run("Retrained")
    write_cost(retrained, 200)
    costs, unit = costs_of(summarise(results_of([*folders, retrained])))
    assert (costs["GLI"], costs["Retrained"], unit) == (0.1, 1, SHARE)
    write_cost(retrained, 200, "a GPU")
    costs, unit = costs_of(summarise(results_of([*folders, retrained])))
    assert set(costs.values()) == {None}
    assert unit == ""


def method(name, value, **more):
    return {"method": name, "auc_person_against_retraining": value, "test_accuracy": 0.3, "cost": 0.2, **more}


def test_an_audit_of_methods_gives_both_scores_of_the_audited_models(make_run):
    audit = {"methods": [
        method("No unlearning", area(0.99, 0.98, 1.0), cost=0.0),
        method("Retrained", area(0.48, 0.46, 0.51), cost=1.0),
        method("GLI", area(0.4, 0.35, 0.45), test_accuracy_deviation=0.05),
        method("LI", area(None, None, None)),
    ]}  # fmt: skip
    tradeoff = tradeoff_of(summarise(results_of([make_run()])), audit)
    assert (tradeoff.axis, tradeoff.unit) == (AXES["methods"], SHARE)
    assert [point.label for point in tradeoff.points] == ["Original", "Retrained", "GLI"]
    gli, retrained = point_of(tradeoff, "GLI"), point_of(tradeoff, "Retrained")
    assert (gli.privacy, gli.accuracy) == (pytest.approx(0.1), 0.3)
    assert gli.privacy_bar == pytest.approx((0.05, 0.15))  # Below 0.5, over-unlearning is distinguished as well.
    assert gli.accuracy_bar == pytest.approx((0.25, 0.35))
    assert retrained.privacy_bar == pytest.approx((0, 0.04))
    assert retrained.accuracy_bar is None


def test_an_audit_of_runs_is_aggregated_over_its_runs(make_run):
    folders = [make_run("GLI", seed) for seed in (0, 1)]
    for folder in folders:
        write_cost(folder, 10)
    runs = [
        {"method": name, "auc_person": value, "auc_person_original": area(0.9, 0.8, 1), "test_accuracy": accuracy,
         "auc_person_references": area(0.5, 0.4, 0.6)}
        for name, value, accuracy in (("GLI", area(0.6, 0.5, 0.7), 0.3), ("GLI", area(0.8, 0.7, 0.9), 0.4),
                                      ("LI", area(0.7, 0.6, 0.9), 0.2))
    ]  # fmt: skip
    results = results_of(folders)
    tradeoff = tradeoff_of(summarise(results), {"runs": runs})
    gli, li, original = (point_of(tradeoff, label) for label in ("GLI", "LI", "Original"))
    assert (gli.privacy, gli.accuracy, gli.cost) == (pytest.approx(0.2), pytest.approx(0.35), 10)
    assert gli.privacy_bar == pytest.approx((0.2 - math.sqrt(0.02), 0.2 + math.sqrt(0.02)))
    assert (li.privacy_bar, li.accuracy_bar, li.cost) == (pytest.approx((0.1, 0.4)), None, None)
    assert original.privacy == pytest.approx(0.4)
    assert original.accuracy == summarise(results)[0].mean["accuracy"]


# -- the figure --------------------------------------------------------------------------------------------------------


def test_areas_are_proportional_to_cost_down_to_the_smallest():
    size_of = areas(TRADEOFF)
    assert (size_of["GLI"], size_of["LI"], size_of["SCRUB"]) == (LARGEST, LARGEST / 4, SMALLEST)
    assert len(set(areas(Tradeoff("", "", "", (Point("A", 0, 0), Point("B", 0, 1)))).values())) == 1
    assert legend_costs(0.43) == [0.04, 0.2, 0.4]
    assert legend_costs(0) == []


def test_the_figure_has_each_point_its_bars_its_name_and_the_steps_of_the_frontier():
    axes = tradeoff_figure(TRADEOFF).axes[0]
    drawn = {tuple(np.round(collection.get_offsets()[0], 6)) for collection in axes.collections
             if len(collection.get_offsets())}  # fmt: skip
    assert drawn == {(point.privacy, point.accuracy) for point in POINTS}
    assert {text.get_text() for text in axes.texts} == {point.label for point in POINTS}
    (steps,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert steps.get_xydata().tolist()[1:3] == [[0.1, 0.3], [0.2, 0.35]]
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[0.08, 0.3], [0.12, 0.3]] in lines
    assert [[0.1, 0.28], [0.1, 0.32]] in lines
    assert "0 is best" in axes.get_xlabel()


def svg(tradeoff):
    with svg_settings():
        return svg_of(tradeoff_figure(tradeoff), tradeoff.text)


def test_the_svg_is_the_same_text_and_follows_the_theme():
    first, second = svg(TRADEOFF), svg(TRADEOFF)
    assert first == second
    assert first.startswith('<svg role="img" aria-label="Test accuracy against forgetting score')
    assert "GLI 0.100, 0.300" in first
    assert "#ffffff" not in first
    assert "var(--back)" in first


def test_one_point_and_labels_with_dollar_signs_are_drawn():
    single = Tradeoff("x", "bars", "", (Point("$x^2$", 0.0, 0.5),))
    assert "$x^2$" in svg(single)
    assert tradeoff_figure(Tradeoff("x", "bars", "", POINTS[:2])).axes[0].texts


@pytest.mark.parametrize("data", PUBLISHED)
def test_labels_of_many_points_stay_inside_and_hardly_overlap(data):
    points = tuple(
        Point(name, scores["forgetting_score"], scores["accuracy"], None, None, 0.1)
        for name, scores in PUBLISHED[data].items()
    )
    figure = tradeoff_figure(Tradeoff("x", "bars", SHARE, points))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    overlaps = (Bbox.intersection(first, second) for first, second in combinations(boxes, 2))
    assert sum(box.width * box.height for box in overlaps if box) < 0.02 * sum(box.width * box.height for box in boxes)
