"""The pages of an audit: numbers as computed, one picture for each method."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from gli.auditing import UPRIGHT
from gli.auditing.contents import contents_of_methods, picture_of_method, picture_of_run
from gli.auditing.fleet_audit import NO_UNLEARNING, audit_fleets, ulira
from gli.auditing.verdict import exposures
from gli.errors import DataError
from gli.metrics.intervals import Trials
from gli.reporting import results
from gli.reporting.audit import auc_of_methods, audit_section, read_audit, shown, tables_of, write_audit
from gli.reporting.plots import people_figure
from tests.helpers.fleets import fleet, shifted


@pytest.fixture(scope="module")
def audits():
    return audit_fleets({"Retrained": (own := fleet(noise=3)), "Half": fleet(change=shifted(1), noise=2)},
                        fleet(change=shifted(2)), own)  # fmt: skip


def test_the_files_hold_the_audit(audits, tmp_path):
    write_audit(tmp_path, contents_of_methods("<data>", audits, {"Half": 0.1}, {"originals": 16}))
    contents = json.loads((tmp_path / "audit.json").read_text())
    assert contents["originals"] == 16
    half = next(method for method in contents["methods"] if method["method"] == "Half")
    own = next(audit for audit in audits if audit.name == "Half")
    assert half["auc_person"]["value"] == own.privacy.people.value
    assert (half["cost"], half["test_accuracy_deviation"]) == (0.1, 0)
    assert len(half["people"]) == len(own.exposed)
    published = half["klom_histogram"]["forgotten"]  # With few models it saturates, whatever the models.
    assert published["percentile_95"] >= published["floor_percentile_95"] > 5
    retrained = next(method for method in contents["methods"] if method["method"] == "Retrained")
    assert retrained["excess_klom"]["forgotten"]["value"] is None
    page = (tmp_path / "audit.html").read_text()
    assert page.count("<svg") == 3
    assert "<data>" not in page
    assert "&lt;data&gt;" in page
    assert own.verdict.sentence in (tmp_path / "audit.md").read_text()


def test_the_pages_are_the_same_from_the_file_as_from_the_audit(audits, tmp_path):
    contents = contents_of_methods("faces", audits, {}, {})
    write_audit(tmp_path, contents)
    read = read_audit(tmp_path)
    assert read == read_audit(tmp_path / "audit.json")
    assert audit_section(read) == audit_section(contents)
    assert tables_of(read) == tables_of(contents)
    assert auc_of_methods(read)["Original"].endswith("fail")


def test_the_table_has_a_row_for_each_method(audits):
    table = tables_of(contents_of_methods("faces", audits, {}, {}))["Table"]
    assert [row[0] for row in table.rows] == [NO_UNLEARNING, "Retrained", "Half"]
    assert results.NO_UNLEARNING == NO_UNLEARNING
    assert {len(row) for row in table.rows} == {len(table.headings)}
    assert shown({"value": math.nan, "low": math.nan, "high": math.nan}) == ""
    assert shown({"value": None, "low": None, "high": None}) == ""
    assert shown({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.50 [0.40, 0.60]"


def test_a_leak_lies_above_the_band_of_the_picture(audits):
    exposed = {audit.name: audit.exposed for audit in audits}
    picture = picture_of_method(exposed[NO_UNLEARNING], exposed["Retrained"])
    assert picture["above"] > 0.8 * len(exposed[NO_UNLEARNING])
    assert picture["below"] == 0
    assert picture["values"] == sorted((person.score for person in exposed[NO_UNLEARNING]), reverse=True)
    figure = people_figure(picture["values"], picture["low"], picture["high"], "score")
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == picture["values"]
    honest = picture_of_method(exposed["Retrained"], exposed["Retrained"])
    assert abs(honest["above"] - honest["expected"]) < 2


def test_other_retrained_models_lie_in_the_band():
    """A common shift of a few models must not count as people who are identified."""
    outside = []
    for seed in range(20):
        models = [fleet(seed=seed, noise=noise) for noise in (3, 4)]
        own, other = (exposures(ulira(each)[UPRIGHT].trials, each.names) for each in models)
        picture = picture_of_method(other, own)
        outside.append((picture["above"] + picture["below"]) / len(picture["values"]))
    assert np.mean(outside) < 0.1


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_the_picture_of_a_run_shows_both_directions(shift):
    generator = np.random.default_rng(0)
    positive = np.repeat([True, False], 40)
    scores = generator.normal(size=80) + shift * positive
    trials = Trials(scores, positive, np.arange(80), np.zeros(80, np.int64))
    picture = picture_of_run(exposures(trials, [str(number) for number in range(80)]))
    assert all(0 <= value <= 1 for value in picture["values"])
    if shift == 0:
        assert picture["above"] + picture["below"] < 10
    else:
        assert (picture["above"] if shift > 0 else picture["below"]) > 15


@pytest.mark.parametrize(
    "contents",
    ["", "[]", "{}", '{"data": "x"}', '{"data": "x", "methods": 3}', '{"data": 3, "methods": []}',
     '{"data": "x", "methods": [{"method": "A"}]}', '{"data": "x", "runs": [3]}'],
)  # fmt: skip
def test_another_file_is_refused(contents, tmp_path):
    (tmp_path / "audit.json").write_text(contents)
    with pytest.raises(DataError, match="cannot be read as the result of an audit"):
        read_audit(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_audit(tmp_path / "audit.json")
