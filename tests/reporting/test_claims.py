"""Claims: read from texts and settings, paired by seed and by image at a common state, and decided by the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gli.auditing.record import read_record, split_people_in_half, write_people
from gli.errors import SettingError
from gli.reporting import claims
from gli.reporting.claims import Claims, Comparison, decide_claims, parse_comparisons
from gli.reporting.results import collect_results
from gli.runs.read import read_run
from gli.study.settings import from_settings
from tests.helpers.run_folders import PEOPLE, SETS, change_log

ACCURACY = Comparison("GLI", "LI", "accuracy", "end")


@pytest.fixture
def runs(make_run):
    fixed, warm = ({"initial": initial, "final": 1000.0} for initial in (1000.0, 200.0))
    folders = [make_run("GLI", class_weight=weight) for weight in (fixed, warm)]
    return [read_run(folder) for folder in (*folders, make_run("LI"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "GLI (class_weight.initial 200)>LI:accuracy@end",
            Comparison("GLI (class_weight.initial 200)", "LI", "accuracy", "end"),
        ),
        (" LI > Original : jsd ", Comparison("LI", "Original", "jsd")),
        ("GLI with fixed weight>LI:final_score@best", Comparison("GLI with fixed weight", "LI", "final_score", "best")),
    ],
)
def test_a_text_names_methods_score_and_state(text, expected, runs):
    assert parse_comparisons([text], runs) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GLI better than LI", "cannot be read. Write OF>WITH:SCORE@STATE"),
        ("GLI>LI", "cannot be read"),
        (
            "GLI>LI:accuracy",
            "'GLI' has several rows in the table of methods. Its rows: GLI (class_weight.initial 1000)",
        ),
        ("LII>Original:accuracy", "there is no 'LII' in the table of methods. Did you mean 'LI'?"),
        ("LI>Original:acuracy", "there is no score 'acuracy'. Did you mean 'accuracy'?"),
        ("LI>Original:accuracy@last", "there is no state 'last' of a run; expected one of reported, best, end"),
    ],
)
def test_another_text_is_refused(text, message, runs):
    with pytest.raises(SettingError) as caught:
        parse_comparisons([text], runs)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--compare {text}: ")


def test_settings_name_the_same():
    settings = {"of": "GLI", "with": "LI", "score": "accuracy", "at": "end", "claim": "GLI keeps the accuracy"}
    comparison = from_settings(Comparison, settings, spelled={"baseline": "with"})
    assert comparison == Comparison("GLI", "LI", "accuracy", "end", "GLI keeps the accuracy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"of": 3, "with": "LI", "score": "accuracy"}, "of is 3; expected a name."),
        ({"of": "GLI", "with": "LI"}, "the setting 'score' is missing"),
        ({"of": "GLI", "wth": "LI", "score": "accuracy"}, "there is no setting 'wth'. Did you mean 'with'?"),
        ({"of": "GLI", "with": "LI", "score": "luck"}, "there is no score 'luck'"),
    ],
)
def test_other_settings_are_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        from_settings(Comparison, settings, spelled={"baseline": "with"})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        ("accuracy", "GLI has a higher test accuracy than LI"),
        ("forgetting_score", "GLI has a lower forgetting score than LI"),
        ("mia_accuracy", "GLI differs in MIA accuracy from LI"),
        ("accuracy_smiling", "GLI has a higher accuracy smiling than LI"),
    ],
)
def test_a_claim_is_made_from_the_registry(score, sentence):
    assert Comparison("GLI", "LI", score).sentence == sentence


# -- deciding ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 40)


def decided(folders, comparison=ACCURACY):
    runs = [read_run(folder) for folder in folders]
    (compared,) = decide_claims(Claims([comparison]), collect_results(runs, states={comparison.at})[0])
    return compared


def accuracy_of(folder, iteration=6, chosen=slice(None)):
    return read_record(folder, iteration).values["test"]["accuracy"][chosen].mean()


@pytest.fixture
def both(make_run):
    """Return runs of GLI, which is right nearly always, and of LI, with three seeds."""
    return [make_run(method, seed, better=0.9 * (method == "GLI")) for method in ("GLI", "LI") for seed in (0, 1, 2)]


def test_a_large_difference_is_decided_either_way(both):
    compared = decided(both)
    expected = np.mean(
        [accuracy_of(first) - accuracy_of(second) for first, second in zip(both[:3], both[3:], strict=True)]
    )
    assert compared.difference == pytest.approx(expected)
    assert 0 < compared.low < compared.difference < compared.high
    assert compared.sentence == (
        f"GLI has a higher test accuracy than LI: yes. Test accuracy at the end of the run, GLI minus LI: "
        f"{compared.difference:+.3f} [{compared.low:+.3f}, {compared.high:+.3f}] (higher is better; 95 % interval over "
        "the seeds 0, 1, 2 and the people of each)."
    )
    other = decided(both, Comparison("LI", "GLI", "accuracy", "end"))
    assert (other.answer, other.difference) == ("no", -compared.difference)


def test_equal_runs_are_not_distinguished(make_run):
    compared = decided([make_run(method, seed) for method in ("GLI", "LI") for seed in (0, 1)])
    assert (compared.answer, compared.difference) == ("cannot tell", 0)


def test_one_seed_decides_nothing(both):
    compared = decided([both[0], both[3]])
    assert compared.low > 0
    assert compared.answer == "cannot tell"
    assert "over people only: seed 0 alone decides nothing about other seeds" in compared.evidence


def test_seeds_that_only_one_has_are_left_out_and_named(both):
    compared = decided([*both[:3], both[3], both[4]])
    assert (compared.seeds, compared.left_out) == ((0, 1), (2,))
    assert compared.evidence.endswith("Left out, because only one of the two has it: seed 2.")


def test_people_of_files_are_the_same_in_all_seeds_and_drawn_ones_only_with_the_same_seed(make_run):
    for options, alike in (({"data": "MUFAC"}, True), ({"data_seed": 0}, True), ({}, False)):
        folders = [make_run(method, seed, better=0.9 * (method == "GLI"), **options) for method in ("GLI", "LI")
                   for seed in (0, 1, 2)]  # fmt: skip
        assert ("the same in all seeds" in decided(folders).evidence) == alike


def test_the_state_is_the_same_for_both(both):
    for folder in both:
        change_log(folder, 2, "final_score", 0.9)
        change_log(folder, 4, "final_score", 0.8)
    for at, iteration in (("end", 6), ("best", 2), ("reported", 2)):
        compared = decided(both, Comparison("GLI", "LI", "accuracy", at))
        pairs = zip(both[:3], both[3:], strict=True)
        expected = np.mean([accuracy_of(first, iteration) - accuracy_of(second, iteration) for first, second in pairs])
        assert compared.difference == pytest.approx(expected)


def test_the_reported_audit_is_compared_on_the_held_out_people(both):
    results = collect_results([read_run(folder) for folder in (both[0], both[3])], "held_out")[0]
    (compared,) = decide_claims(Claims([Comparison("GLI", "LI", "accuracy")]), results)
    means = {name: np.mean([result.scores["accuracy"] for result in results if result.label == name])
             for name in ("GLI", "LI")}  # fmt: skip
    assert compared.difference == pytest.approx(means["GLI"] - means["LI"])


def test_the_original_is_the_audit_of_iteration_0(both):
    compared = decided(both[3:], Comparison("LI", "Original", "accuracy", "end"))
    assert compared.seeds == (0, 1, 2)
    expected = np.mean([accuracy_of(folder, 6) - accuracy_of(folder, 0) for folder in both[3:]])
    assert compared.difference == pytest.approx(expected)


def test_scores_of_other_sets_are_compared_as_well(both, monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 4)  # The attack is slow.
    for name in ("mia_accuracy", "final_score", "loss_unseen"):
        compared = decided(both[:2] + both[3:5], Comparison("GLI", "LI", name, "end"))
        assert compared.difference is not None


def test_only_images_that_both_were_evaluated_on_are_compared(both):
    """LoTUS, for one, sets some test people aside."""
    rows = {name: np.arange(30) + 100 * place for place, name in enumerate(SETS)}
    half = split_people_in_half(PEOPLE)[0]["test"]
    for folder in both:
        write_people(folder, PEOPLE, rows)
    for folder in both[3:]:
        write_people(folder, {**PEOPLE, "test": PEOPLE["test"][half]}, {**rows, "test": rows["test"][half]})
        for path in folder.glob("audits/0*.npz"):
            arrays = {key: value[half] if key.startswith("test/") else value for key, value in np.load(path).items()}
            np.savez(path, **arrays)
    compared = decided(both)
    pairs = zip(both[:3], both[3:], strict=True)
    assert compared.difference == pytest.approx(
        np.mean([accuracy_of(first, chosen=half) - accuracy_of(second) for first, second in pairs])
    )
    (both[0] / "audits/rows.npz").unlink()
    assert "hold no row numbers" in decided(both).evidence


@pytest.mark.parametrize(
    ("comparison", "evidence"),
    [
        (Comparison("GLI", "SCRUB", "accuracy"), "there is no result of SCRUB."),
        (Comparison("GLI", "LI", "top2_accuracy"), "The records of seed 0, 1, 2 have no top-2 accuracy."),
    ],
)
def test_what_cannot_be_compared_is_explained(comparison, evidence, both):
    compared = decided(both, comparison)
    assert (compared.answer, compared.difference) == ("cannot tell", None)
    assert compared.evidence == f"Nothing to compare: {evidence}"


def test_runs_without_records_two_runs_of_a_seed_and_other_seeds_are_explained(both, make_run):
    assert "was not kept" in decided([both[0], make_run("LI", keep_losses=False)]).evidence
    assert "GLI has two runs of seed 0" in decided([*both, make_run("GLI", 0)]).evidence
    assert "GLI and LI have no seed in common" in decided([both[0], both[4]]).evidence


def test_the_entries_of_a_benchmark_are_found_by_their_folders_and_compared_for_each_backbone(make_run):
    folders = {
        (name, backbone, seed): make_run("GLI", seed, better=0.9 * (name == "warm"), backbone=backbone, lr=lr)
        for name, lr in (("warm", 0.1), ("GLI", 0.2)) for backbone in ("small", "large") for seed in (0, 1)
    }  # fmt: skip
    names = {folder: name for (name, _, _), folder in folders.items()}
    results = collect_results([read_run(folder) for folder in folders.values()], states={"end"})[0]
    comparisons = [Comparison("warm", "GLI", "accuracy", "end", "Warm-up helps"), Comparison("LI", "GLI", "accuracy")]
    *compared, failed = decide_claims(Claims(comparisons, names), results)
    assert [each.claim for each in compared] == ["Warm-up helps (large)", "Warm-up helps (small)"]
    assert all(each.seeds == (0, 1) and each.difference > 0 for each in compared)
    assert "there is no result of LI" in failed.evidence


def test_all_values_can_be_written_as_json(both):
    values = json.loads(json.dumps(decided(both).values))
    assert values["answer"] == "yes"
    assert values["sentence"].startswith("GLI has a higher")
