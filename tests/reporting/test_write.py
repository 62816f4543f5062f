"""The files of a report: complete, consistent with the logs, and explicit about runs without a result."""

from __future__ import annotations

import csv
import html
import json
import re

import pytest

from gli.auditing.contents import contents_of_methods
from gli.auditing.fleet_audit import audit_fleets
from gli.errors import DataError
from gli.reporting import write_report
from gli.reporting.audit import auc_of_methods, write_audit
from gli.reporting.claims import Claims, Comparison
from gli.reporting.tradeoff import Point, Tradeoff
from gli.runs.membership import Membership, write_membership
from gli.runs.read import read_run
from tests.helpers.fleets import fleet, shifted
from tests.helpers.run_folders import change_log


def write(folders, output, **options):
    return write_report([read_run(folder) for folder in folders], output, **options)


def test_a_report_is_complete_and_names_its_runs(make_run, tmp_path):
    folders = [make_run(method, seed) for method in ("GLI", "LI", "Retrained") for seed in (0, 1)]
    output = tmp_path / "out"
    assert write(folders, output, resamples=3) == []
    with (output / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == set(map(str, folders))
    for row in rows:
        (run,) = [read_run(folder) for folder in folders if str(folder) == row["run"]]
        (logged,) = [audit for audit in run.rows if audit["iteration"] == float(row["iteration"])]
        assert float(row["final_score"]) == logged["final_score"]
        assert float(row["accuracy_low"]) <= float(row["accuracy_high"])
    contents = json.loads((output / "results.json").read_text())
    assert [line["method"] for line in contents["lines"]] == ["Original", "Retrained", "GLI", "LI"]
    assert contents["lines"][0]["standard_deviation"]["jsd"] is not None
    page = (output / "report.html").read_text()
    assert page.count("<svg") == 5
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(["']?http""", page)
    assert all(str(folder) in page for folder in folders)
    text = (output / "results.md").read_text()
    assert "**" in text
    assert "as in the released code" in text
    assert "3 bootstrap resamples" in text
    assert "## Claims" not in text


def test_claims_are_in_every_file(make_run, tmp_path):
    folders = [make_run(method, seed, better=0.9 * (method == "GLI")) for method in ("GLI", "LI") for seed in (0, 1)]
    claims = Claims([Comparison("GLI", "LI", "accuracy", "end"), Comparison("GLI", "nobody", "accuracy")])
    write(folders, tmp_path, claims=claims)
    first, second = json.loads((tmp_path / "results.json").read_text())["comparisons"]
    assert (first["of"], first["baseline"], first["seeds"], first["left_out"]) == ("GLI", "LI", [0, 1], [])
    assert first["low"] <= first["difference"] <= first["high"]
    assert second["difference"] is None
    text, page = (tmp_path / "results.md").read_text(), (tmp_path / "report.html").read_text()
    for compared in (first, second):
        assert f"- {compared['sentence']}\n" in text
        assert f"<li>{html.escape(compared['sentence'])}</li>" in page
    assert "not corrected for the number of claims" in text


def test_a_run_whose_scores_mean_nothing_is_named_once(make_run, tmp_path):
    folder = make_run()  # Its original is reported as well.
    write_membership(folder, Membership("unknown", ("nobody knows",), rehearsal=True))
    write([folder], tmp_path / "out")
    for name in ("results.md", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert (
            text.count(f"{folder}: The privacy scores of this run mean nothing: nobody knows. This is a rehearsal") == 1
        )


def read_tradeoff(report) -> Tradeoff:
    values = json.loads((report / "results.json").read_text())["tradeoff"]
    return Tradeoff(values["axis"], values["bars"], values["unit"], tuple(Point(**each) for each in values["points"]))


def test_the_trade_off_is_a_picture_with_its_numbers_in_words(make_run, tmp_path):
    write([make_run(method) for method in ("GLI", "Retrained")], tmp_path)
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")
    tradeoff = read_tradeoff(tmp_path)
    assert [point.label for point in tradeoff.points] == ["Original", "Retrained", "GLI"]
    assert json.loads((tmp_path / "results.json").read_text())["tradeoff"]["frontier"] == ["GLI"]
    assert f"![{tradeoff.text}](tradeoff.png)" in (tmp_path / "results.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert f'role="img" aria-label="{html.escape(tradeoff.text)}"' in page
    assert html.escape(tradeoff.caption) in page
    assert "tradeoff.png" not in page  # The page needs no other file.


def test_a_report_without_any_privacy_score_has_no_trade_off(make_run, tmp_path):
    folder = make_run("Retrained")
    change_log(folder, 6, "forgetting_score", float("nan"))
    write([folder], tmp_path)
    assert not (tmp_path / "tradeoff.png").exists()
    assert read_tradeoff(tmp_path).points == ()


def test_the_selection_is_explained(make_run, tmp_path):
    write([make_run()], tmp_path / "out", select="held_out")
    assert "half of the test and unseen people" in (tmp_path / "out/results.md").read_text()
    assert json.loads((tmp_path / "out/results.json").read_text())["select"] == "held_out"


def test_numbers_that_json_cannot_express_become_null(make_run, tmp_path):
    folder = make_run()
    for iteration in (0, 2, 4, 6):
        change_log(folder, iteration, "jsd", float("nan"))
    write([folder], tmp_path / "out")
    contents = json.loads((tmp_path / "out/results.json").read_text(), parse_constant=pytest.fail)
    assert contents["lines"][0]["mean"]["jsd"] is None


def test_the_warm_up_has_a_table_of_its_own(make_run, tmp_path):
    fixed, warm = ({"initial": initial, "final": 1000.0} for initial in (1000.0, 200.0))
    folders = [make_run("GLI", data="MUFAC", class_weight=weight) for weight in (fixed, warm)]
    folders += [make_run(method, data="MUFAC") for method in ("LI", "SCRUB")]
    assert write(folders, tmp_path / "out") == []
    _, heading, after = (tmp_path / "out/results.md").read_text().partition("## Class-loss warm-up")
    assert heading
    table = [line.split("|")[1:] for line in after.partition("## Runs")[0].splitlines() if line.startswith("| ")][1:]
    published = {
        row[0].strip(): [number for number in ("(0.717)", "(0.702)", "(0.754)") if number in "".join(row)]
        for row in table
    }
    assert published == {
        "LI": ["(0.717)"],
        "GLI (class_weight.initial 1000)": ["(0.702)"],
        "GLI (class_weight.initial 200)": ["(0.754)"],
    }
    assert write(folders[1:], tmp_path / "other") == []
    assert "Class-loss warm-up" not in (tmp_path / "other/results.md").read_text()


def test_runs_without_a_result_are_left_out_and_named(make_run, tmp_path):
    good, bare = make_run(), make_run("LI", count=1)
    (message,) = write([good, bare], tmp_path / "out", missing=["a run that was cut off"])
    assert str(bare) in message
    for name in ("results.md", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert str(bare) in text
        assert "a run that was cut off" in text
    contents = json.loads((tmp_path / "out/results.json").read_text())
    assert contents["failed"] == ["a run that was cut off", message]


def test_runs_that_kept_no_records_are_reported_but_not_on_held_out_people(make_run, tmp_path):
    folder = make_run(keep_losses=False)
    assert write([folder], tmp_path / "out") == []
    with pytest.raises(DataError, match=r"None of the runs gave a result.*keep_losses"):
        write([folder], tmp_path / "none", select="held_out")
    assert not (tmp_path / "none").exists()


def test_runs_of_several_data_sets_are_refused(make_run, tmp_path):
    folders = [make_run(), make_run(data="MUFAC")]
    with pytest.raises(DataError, match=r"several data sets \(MUFAC, SyntheticFaces\)"):
        write(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_audit_of_the_methods_stands_beside_their_scores(make_run, tmp_path):
    own = fleet(people=40, noise=3)
    audits = audit_fleets({"Retrained": own, "GLI": fleet(people=40, change=shifted(1), noise=2)},
                          fleet(people=40, change=shifted(2)), own)  # fmt: skip
    contents = contents_of_methods("faces", audits, {}, {})
    write_audit(tmp_path, contents)
    runs = [read_run(make_run())]
    output = tmp_path / "out"
    assert write_report(runs, output, audit=tmp_path) == []
    text = (output / "results.md").read_text()
    assert "AUC per person of the audit" in text
    assert auc_of_methods(contents)["GLI"] in text
    page = (output / "report.html").read_text()
    assert "<h2>Audit</h2>" in page
    assert page.count("above the grey band") == 3
    points = {point.label: point for point in read_tradeoff(output).points}
    (gli,) = [entry for entry in contents["methods"] if entry["method"] == "GLI"]
    assert set(points) == {"Original", "Retrained", "GLI"}
    assert points["GLI"].accuracy == gli["test_accuracy"]
    assert "AUC per person against retraining" in text
    (tmp_path / "audit.json").write_text("[]")
    with pytest.raises(DataError, match="cannot be read as the result of an audit"):
        write_report(runs, output, audit=tmp_path)
    with pytest.raises(DataError, match="which gli audit has written"):
        write_report(runs, output, audit=tmp_path / "nowhere.json")
