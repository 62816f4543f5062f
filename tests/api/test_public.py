"""The public names: light to import, documented, with examples that run."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from importlib import import_module

import pytest

import gli

DOCUMENTED = ["gli.api.audit", "gli.api.forget", "gli.api.load", "gli.models.hub"]
HEAVY = {"torch", "lightning", "numpy", "scipy", "sklearn", "matplotlib", "timm", "torchvision", "huggingface_hub"}


def test_importing_gli_loads_nothing_heavy_and_a_report_is_written_without_torch(tmp_path):
    code = f"""
import json, sys
import gli
assert "forget" in dir(gli)
print(json.dumps(sorted(sys.modules)))
try:
    gli.report({str(tmp_path)!r})
except gli.GLIError:
    print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = ({name.partition(".")[0] for name in json.loads(line)} for line in done.stdout.splitlines())
    assert not first & HEAVY
    assert not second & {"torch", "lightning", "timm"}


def test_every_public_name_exists_and_is_documented():
    assert gli.__all__ == sorted(gli.__all__)
    for name in gli.__all__:
        value = getattr(gli, name)
        assert name == "__version__" or inspect.getdoc(value), name
    assert set(gli.__all__) <= set(dir(gli))
    with pytest.raises(AttributeError, match="no attribute 'forgett'"):
        _ = gli.forgett


@pytest.mark.parametrize("name", ["audit", "forget", "load", "report"])
def test_every_argument_of_a_function_is_documented(name):
    function = getattr(gli, name)
    text = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        assert any(form in text for form in (f" {argument}: ", f" {argument}, ", f" **{argument}: ")), argument


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_of_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0
    assert outcome.attempted > 0
