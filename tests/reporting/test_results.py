"""Results: every number comes from a run's log, or from the records of its audits."""

from __future__ import annotations

import math

import pytest

from gli.auditing.record import read_record, read_records, split_people_in_half
from gli.errors import DataError
from gli.metrics.registry import SCORES, score_of
from gli.reporting.results import (
    Result,
    Summary,
    collect_results,
    labels,
    load_results,
    ranks,
    reported_scores,
    summarise,
    warm_up,
)
from gli.runs.read import read_run
from tests.helpers.run_folders import PEOPLE, change_log


def select_audit(run, select="final_score", **options):
    """Return the reported audit of a run."""
    *_, result = load_results(run, select, **options)
    return result


def audit_of_original(run, select="final_score"):
    """Return the audit of the original that a run started from."""
    return next(load_results(run, select, original=True))


def test_the_audit_with_the_best_final_score_is_reported(make_run):
    folder = make_run()
    change_log(folder, 4, "final_score", 0.99)
    assert select_audit(read_run(folder)).iteration == 4


def test_the_last_audit_of_a_model_trained_from_scratch_is_reported(make_run):
    folder = make_run("Retrained")
    change_log(folder, 4, "final_score", 0.99)
    assert select_audit(read_run(folder)).iteration == 6


def test_the_last_audit_is_reported_where_nothing_shall_be_selected(make_run):
    folder = make_run()
    change_log(folder, 4, "final_score", 0.99)
    assert select_audit(read_run(folder), "end").iteration == 6


def test_one_half_of_the_people_selects_and_the_other_half_is_reported(make_run):
    run = read_run(make_run())
    chosen_by, reported = split_people_in_half(PEOPLE)
    audits = [audit for audit in read_records(run.folder) if audit.iteration]
    best = max(audits, key=lambda audit: audit.scores(chosen_by)["final_score"])
    result = select_audit(run, "held_out")
    assert result.iteration == best.iteration
    assert result.scores == best.scores(reported)
    assert result.scores["accuracy"] == best.values["test"]["accuracy"][reported["test"]].mean()


def test_the_original_is_reported_on_the_same_half(make_run):
    run = read_run(make_run())
    original = read_record(run.folder, 0)
    assert audit_of_original(run, "held_out").scores == original.scores(split_people_in_half(PEOPLE)[1])
    assert audit_of_original(run).scores == {name: x for name, x in run.rows[0].items() if name != "iteration"}


def test_confidence_intervals_are_those_of_the_reported_half(make_run):
    run = read_run(make_run())
    whole, half = (select_audit(run, select, resamples=20) for select in ("final_score", "held_out"))
    widths = []
    for result in (whole, half):
        low, high = result.intervals["accuracy"]
        assert low <= result.scores["accuracy"] <= high
        widths.append(high - low)
    assert widths[1] > widths[0]


def test_no_intervals_unless_resamples_are_asked_for(make_run):
    assert select_audit(read_run(make_run())).intervals == {}


def test_a_run_without_records_is_refused_where_they_are_needed(make_run):
    run = read_run(make_run(keep_losses=False))
    assert select_audit(run).scores
    with pytest.raises(DataError, match="keep_losses"):
        select_audit(run, "held_out")
    with pytest.raises(DataError, match=r"iteration \d was not kept.*keep_losses"):
        select_audit(run, resamples=3)


def test_a_run_without_an_audit_after_iteration_0_has_no_result(make_run):
    bare = read_run(make_run("LI", count=1))
    with pytest.raises(DataError, match="no audit after iteration 0 has a final score"):
        select_audit(bare)
    results, failed = collect_results([read_run(make_run()), bare])
    assert {result.run.method for result in results} == {"GLI"}
    assert len(failed) == 1
    assert str(bare.folder) in failed[0]


def test_runs_are_counted_as_they_are_read(make_run):
    counts: list[int] = []
    collect_results([read_run(make_run(method)) for method in ("GLI", "LI")], tick=counts.append)
    assert counts == [1, 1]


def test_seeds_are_aggregated_and_compared_with_the_retrained_model(make_run):
    runs = [read_run(make_run(method, seed)) for method in ("GLI", "Retrained") for seed in (0, 1)]
    results, failed = collect_results(runs)
    assert not failed
    summaries = {summary.label: summary for summary in summarise(results)}
    assert list(summaries) == ["Original", "Retrained", "GLI"]
    gli = summaries["GLI"]
    first, second = (result.scores["final_score"] for result in gli.results)
    assert gli.mean["final_score"] == pytest.approx((first + second) / 2)
    assert gli.spread["final_score"] == pytest.approx(abs(first - second) / math.sqrt(2))
    assert gli.gap["jsd"] == pytest.approx(gli.mean["jsd"] - summaries["Retrained"].mean["jsd"])
    assert [result.run.seed for result in summaries["Original"].results] == [0, 1]
    assert all(result.iteration == 0 for result in summaries["Original"].results)


def test_a_run_of_the_original_replaces_the_audits_of_iteration_0(make_run):
    results, _ = collect_results([read_run(make_run(method)) for method in ("GLI", "Original")])
    (original,) = [result for result in results if result.label == "Original"]
    assert original.run.method == "Original"


def test_a_single_run_has_no_spread(make_run):
    results, _ = collect_results([read_run(make_run())])
    assert all(math.isnan(value) for summary in summarise(results) for value in summary.spread.values())


def test_scores_are_in_the_order_of_the_registry_with_labels_sorted_behind_the_accuracy(make_run):
    run = read_run(make_run())
    scores = dict.fromkeys(["jsd", "accuracy_young", "loss_test", "accuracy_male", "final_score", "accuracy"], 0.5)
    names = [score.name for score in reported_scores(summarise([Result(run, "GLI", 2, scores)]))]
    assert names == ["accuracy", "accuracy_male", "accuracy_young", "jsd", "final_score"]


def test_runs_with_other_settings_have_labels_of_their_own(make_run):
    runs = [read_run(make_run("GLI", seed, steps=steps)) for steps in (2, 5) for seed in (0, 1)]
    assert sorted(set(labels(runs).values())) == ["GLI (steps 2)", "GLI (steps 5)"]


def test_best_and_second_best_leave_out_models_trained_from_scratch(make_run):
    for place, method in enumerate(("GLI", "LI", "SCRUB", "Retrained")):
        folder = make_run(method)
        for iteration in (2, 4, 6):
            change_log(folder, iteration, "final_score", 0.5 + 0.1 * place)
            change_log(folder, iteration, "jsd", 0.5 - 0.1 * place)
            change_log(folder, iteration, "mia_accuracy", 0.5)
    summaries = summarise(collect_results([read_run(folder) for folder in make_run.made])[0])
    for name in ("final_score", "jsd"):
        assert ranks(summaries, SCORES[name]) == {"SCRUB": 1, "LI": 2}


def summaries_of(means: dict[str, float]) -> list[Summary]:
    return [Summary(label, [], {"jsd": mean, "mia_accuracy": mean}, {}, {}) for label, mean in means.items()]


def test_a_mean_that_is_nan_takes_no_rank_wherever_it_is_in_the_table():
    for order in (("LI", "GLI", "SCRUB"), ("GLI", "LI", "SCRUB"), ("GLI", "SCRUB", "LI")):
        means = {"LI": math.nan, "GLI": 0.3, "SCRUB": 0.1}
        summaries = summaries_of({label: means[label] for label in order})
        assert ranks(summaries, SCORES["jsd"]) == {"SCRUB": 1, "GLI": 2}


def test_only_methods_that_forgot_take_a_rank():
    rows = {
        "Original": (0.4, 0.9),
        "Retrained": (0.4, 0.5),
        "GLI": (0.39, 0.88),
        "NegGrad": (0.1, 0.5),
        "LI": (0.3, 0.6),
    }
    summaries = [Summary(name, [], {"accuracy": a, "mia_accuracy": m}, {}, {}) for name, (a, m) in rows.items()]
    assert ranks(summaries, SCORES["accuracy"]) == {"LI": 1}  # GLI forgot nothing, and NegGrad has lost its task.


def test_a_score_without_a_direction_ranks_nothing():
    score = score_of("mia_accuracy")
    assert score is not None
    assert ranks(summaries_of({"LI": 0.5, "GLI": 0.6}), score) == {}


def test_the_warm_up_is_compared_only_where_both_kinds_of_gli_are_there(make_run):
    fixed, warm = ({"initial": initial, "final": 1000.0} for initial in (1000.0, 200.0))
    runs = [read_run(make_run("GLI", class_weight=weight)) for weight in (warm, fixed)]
    runs += [read_run(make_run(method)) for method in ("SCRUB", "LI")]
    compared = warm_up(collect_results(runs)[0])
    assert [result.run.kind for result in compared] == ["LI", "GLI with fixed weight", "GLI"]
    assert warm_up(collect_results(runs[1:])[0]) == []
