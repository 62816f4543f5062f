"""The example runs from end to end in small: two batches, a near-copy, a restored backup, verified certificates."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gli.erasure import models
from tests.helpers.erasure import InProcess

PATH = Path(__file__).parents[2] / "examples/erasure.py"


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location("erasure_example", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "erasure_example", module)
    spec.loader.exec_module(module)
    return module


def test_one_person_is_erased_exactly_from_a_classifier_that_is_planned(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "make_executor", lambda jobs: InProcess())
    assert example.main([str(tmp_path / "work"), "--small", "--planned"]) == 0
    shown = capsys.readouterr().out
    assert "route: cohorts" in shown
    assert "batch-1: exact by construction (cohorts)" in shown
    assert "The weights descend from 3 files trained from scratch, on nobody who was erased.\n" in shown
    assert shown.endswith("verified\n")
    certificate = json.loads((tmp_path / "work/erasures/releases/batch-1/certificate.json").read_bytes())
    assert certificate["claim"]["class"] == "exact"


@pytest.mark.timeout(900)
def test_the_example_ends_with_a_certificate_that_verifies(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "make_executor", lambda jobs: InProcess())
    folder = tmp_path / "work"
    assert example.main([str(folder), "--small"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\nverified\n") == 2
    assert shown.count("(exit status 2)") == 1
    assert "route: retrain" in shown
    releases = folder / "erasures/releases"
    first, second = (json.loads((releases / f"batch-{n}/certificate.json").read_bytes()) for n in (1, 2))
    assert (first["verdict"]["answer"], first["route"]) == (
        "exact by construction",
        "retrain",
    )
    assert (second["verdict"]["answer"], second["route"]) == ("cannot tell", "unlearn")
    assert second["weights"]["before"] == first["weights"]["after"]
    # carla_0 is audited again after the second batch; the photographs of anna_0 are gone.
    assert "everybody erased before" in {finding["name"] for finding in second["findings"]}
    assert len(second["not_tested"]) == 2
    for path in (folder / "erasures").rglob("*"):
        if path.is_file():
            assert not any(name in path.read_bytes() for name in (b"anna_0", b"carla_0", b"david_1", b"elif_1")), path
    with pytest.raises(SystemExit):
        example.main([str(folder)])
