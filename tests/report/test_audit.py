"""The pages of an audit: numbers as computed, one picture for each method."""

from __future__ import annotations

import json
import math

import pytest

from gli.audit.method_audit import NO_UNLEARNING, audit_fleets
from gli.metrics.intervals import Interval
from gli.report.audit import shown, table_of_audits, write_audit
from gli.report.audit_plots import null_band, people_figure
from tests.helpers.fleets import fleet, shifted


@pytest.fixture(scope="module")
def audits():
    return audit_fleets({"Retrained": (own := fleet(noise=3)), "Half": fleet(change=shifted(1), noise=2)},
                        fleet(change=shifted(2)), own)  # fmt: skip


def test_the_files_hold_the_audit(audits, tmp_path):
    write_audit(tmp_path, "<data>", audits, {"Half": 0.1}, {"originals": 16})
    contents = json.loads((tmp_path / "audit.json").read_text())
    assert contents["originals"] == 16
    half = next(method for method in contents["methods"] if method["method"] == "Half")
    own = next(audit for audit in audits if audit.name == "Half")
    assert half["auc_person"]["value"] == own.privacy.people.value
    assert half["cost"] == 0.1
    assert len(half["people"]) == len(own.exposed)
    retrained = next(method for method in contents["methods"] if method["method"] == "Retrained")
    assert retrained["excess_klom"]["forgotten"]["value"] is None
    page = (tmp_path / "audit.html").read_text()
    assert page.count("<svg") == 3
    assert "<data>" not in page
    assert "&lt;data&gt;" in page
    assert own.verdict.sentence in (tmp_path / "audit.md").read_text()


def test_the_table_has_a_row_for_each_method(audits):
    table = table_of_audits(audits, {})
    assert [row[0] for row in table.rows] == [NO_UNLEARNING, "Retrained", "Half"]
    assert {len(row) for row in table.rows} == {len(table.headings)}
    assert shown(Interval(math.nan, math.nan, math.nan, math.nan)) == ""
    assert shown(Interval(0.5, 0.4, 0.6, 0.1)) == "0.50 [0.40, 0.60]"


def test_a_leak_lies_above_the_band_of_the_picture(audits):
    leaking = next(audit for audit in audits if audit.name == NO_UNLEARNING)
    _, high = null_band(leaking)
    scores = sorted((person.score for person in leaking.exposed), reverse=True)
    assert sum(score > limit for score, limit in zip(scores, high, strict=True)) > 0.8 * len(scores)
    lines = people_figure(leaking).axes[0].get_lines()
    assert lines[0].get_ydata().tolist() == scores
