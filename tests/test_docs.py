"""The pages of the methods say what the code says."""

import importlib.util
from pathlib import Path

import pytest

from gli.methods import Method
from gli.system.classes import concrete_subclasses

DOCS = Path(__file__).parent.parent / "docs"
spec = importlib.util.spec_from_file_location("methods_pages", DOCS / "methods.py")
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)


def test_pages_are_what_the_docstrings_say():
    made = pages.pages()
    assert {path.name for path in (DOCS / "methods").glob("*.md")} == set(made)
    for name, text in made.items():
        assert (DOCS / "methods" / name).read_text() == text, f"docs/methods/{name}: run python docs/methods.py"


def test_every_method_of_the_package_has_a_page():
    shipped = {name for name, method in concrete_subclasses(Method).items() if method.__module__.startswith("gli.")}
    assert {method.__name__ for method in pages.methods()} == shipped
    assert len(shipped) == 12


@pytest.mark.parametrize("method", pages.methods(), ids=lambda method: method.__name__)
def test_a_docstring_says_equation_cost_failure_and_source(method):
    said = pages.sections(method)
    assert {"Equation", "Cost", "Fails", "Source"} <= set(said)
    assert all(said[name] for name in ("", "Equation", "Cost", "Fails", "Source"))


@pytest.mark.parametrize("method", pages.methods(), ids=lambda method: method.__name__)
def test_every_setting_has_a_meaning(method):
    assert all(meaning and not meaning.startswith("See ") for _, _, meaning in pages.settings(method))


def test_links_lead_somewhere():
    for path in (DOCS / "methods").glob("*.md"):
        for target in [part.partition(")")[0] for part in path.read_text().split("](")[1:]]:
            assert (path.parent / target.partition("#")[0]).exists(), (path.name, target)
