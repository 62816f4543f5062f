"""Sampled searches with runs that only write logs."""

from __future__ import annotations

import csv
import signal

import pytest

from gli.engine import execute
from gli.errors import GLIError
from gli.study.outcome import write_table
from tests.helpers import fake_trials
from tests.helpers.fake_trials import search
from tests.helpers.forks import run_in_fork


@pytest.fixture(autouse=True, scope="module")
def _impatient():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fake_trials.IMPATIENT.items():
            patch.setattr(execute, name, value)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A search with 14 trials, and its executor."""
    trials, executor = search(tmp_path_factory.mktemp("undisturbed"))
    assert trials.run(14, executor) == []
    return trials, executor


def test_a_search_comes_near_the_best_setting_and_closes_its_executor(undisturbed):
    trials, executor = undisturbed
    best = trials.outcomes()[0]
    assert 3e-4 < float(best.settings["model.lr"]) < 3e-3
    assert len(executor.folders) == 14
    assert executor.closed


def test_trials_that_are_worse_than_most_end_early_and_keep_their_folder(undisturbed):
    trials, _ = undisturbed
    outcomes = sorted(trials.outcomes(), key=lambda outcome: outcome.number)
    pruned = [outcome for outcome in outcomes if outcome.state == "pruned"]
    assert 0 < len(pruned) < 10
    assert not any(outcome.state == "pruned" for outcome in outcomes[:5])  # The median of few says little.
    best = max(outcome.scores["final_score"] for outcome in outcomes)
    for outcome in pruned:
        audits = (outcome.run / "metrics.csv").read_text().count("\n") - 1
        assert 3 < audits <= fake_trials.AUDITS
        assert outcome.scores["final_score"] < best
        assert not outcome.counts


def test_without_pruning_every_trial_runs_to_its_end(tmp_path):
    trials, executor = search(tmp_path, prune=False)
    trials.run(10, executor)
    assert {outcome.state for outcome in trials.outcomes()} == {"finished"}


def test_a_search_without_pruning_takes_no_run_that_ended_early(tmp_path):
    trials, first = search(tmp_path)
    trials.run(10, first)
    pruned = sum(outcome.state == "pruned" for outcome in trials.outcomes())
    assert pruned
    (tmp_path / "search.journal").unlink()
    trials, second = search(tmp_path, prune=False)
    trials.run(10, second)  # The first ten are sampled at random, so that they are the same.
    assert {outcome.state for outcome in trials.outcomes()} == {"finished"}
    assert len(second.folders) == pruned < len(first.folders)


@pytest.mark.parametrize("kill_at", [4, 9])
def test_a_killed_search_repeats_no_finished_trial_and_ends_like_an_undisturbed_one(undisturbed, tmp_path, kill_at):
    def begin() -> None:
        trials, executor = search(tmp_path, kill_at=kill_at)
        trials.run(14, executor)

    killed = run_in_fork(begin)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    trials, executor = search(tmp_path)
    assert len(trials.ended()) == kill_at - 1
    trials.run(14, executor)
    assert len(executor.folders) == 14 - (kill_at - 1)
    expected = undisturbed[0].outcomes()
    assert [(each.number, each.settings, each.state) for each in trials.outcomes()] == [
        (each.number, each.settings, each.state) for each in expected
    ]


def test_a_search_with_more_trials_continues(tmp_path):
    trials, executor = search(tmp_path)
    trials.run(3, executor)
    trials, executor = search(tmp_path)
    trials.run(5, executor)
    assert len(executor.folders) == 2
    assert sorted(outcome.number for outcome in trials.outcomes()) == [1, 2, 3, 4, 5]


def test_several_jobs_at_once_and_settings_that_repeat_run_once(tmp_path):
    trials, executor = search(tmp_path, ranges=(), choices=("model.lr=0.001,0.01",), prune=False)
    assert trials.run(7, executor, slots=3) == []
    assert len(executor.folders) == 2
    outcomes = trials.outcomes()
    assert sorted(outcome.number for outcome in outcomes) == list(range(1, 8))
    assert {outcome.state for outcome in outcomes} == {"finished"}


def test_failed_trials_are_in_the_table_with_a_message(tmp_path):
    trials, executor = search(tmp_path, choices=("model.mode=good,fail",))
    messages = trials.run(8, executor)
    found = trials.outcomes()
    failed = [outcome for outcome in found if outcome.state == "failed"]
    assert 0 < len(failed) == len(messages) < 8
    assert found[-len(failed) :] == failed
    assert all("gli: model.mode is fail" in message for message in messages)
    again, executor = search(tmp_path, choices=("model.mode=good,fail",))
    assert again.run(8, executor) == messages
    assert executor.folders == []
    write_table(tmp_path / "found.csv", found)
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == [outcome.state for outcome in found]
    assert {row["model.mode"] for row in rows if row["state"] == "failed"} == {"fail"}
    assert list(rows[0])[-3:] == ["allowed", "rehearsal", "run"]


def test_a_search_of_which_nothing_succeeds_ends_soon(tmp_path):
    trials, executor = search(tmp_path, choices=("model.mode=fail",))
    with pytest.raises(GLIError, match=r"The first 3 trials failed: .*model.mode is fail"):
        trials.run(50, executor)
    assert len(executor.folders) == 3
    assert executor.closed


def test_the_utility_drop_allowed_is_a_constraint(tmp_path):
    trials, executor = search(tmp_path, max_utility_drop=0.001, prune=False)
    trials.run(12, executor)
    found = trials.outcomes()
    assert 0 < sum(outcome.allowed for outcome in found) < 12
    assert found[0].scores["utility_drop"] <= 0.001
    drops = [outcome.scores["utility_drop"] for outcome in found if not outcome.allowed]
    assert min(drops) > 0.001
    assert [outcome.counts for outcome in found] == sorted((outcome.counts for outcome in found), reverse=True)


def test_two_objectives_give_a_front_and_prune_nothing(tmp_path):
    trials, executor = search(tmp_path, objective="forgetting,utility")
    trials.run(12, executor)
    found = trials.outcomes()
    assert {outcome.state for outcome in found} == {"finished"}
    front = [outcome for outcome in found if outcome.front]
    assert 1 < len(front) < 12
    assert found[: len(front)] == front
    for outcome in found:
        point = trials.objective.values(outcome.scores)
        others = [trials.objective.values(each.scores) for each in found]
        beaten = any(a <= point[0] and b <= point[1] and [a, b] != point for a, b in others)
        assert outcome.front is not beaten
    write_table(tmp_path / "found.csv", found, two_objectives=True)
    with (tmp_path / "found.csv").open() as file:
        assert [row["pareto_front"] for row in csv.DictReader(file)] == ["yes"] * len(front) + ["no"] * (
            12 - len(front)
        )


def test_whole_numbers_are_sampled_as_whole_numbers(tmp_path):
    trials, executor = search(tmp_path, ranges=("model.lr=1e-5..1e-1:log", "model.steps=1..3"))
    trials.run(4, executor)
    assert {outcome.settings["model.steps"] for outcome in trials.outcomes()} <= {"1", "2", "3"}
