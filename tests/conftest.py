"""Fixtures that several test files share: makers of fake data sets in their published formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers import fake_data

# The same inputs in every run, so that a change is to blame for what fails; make test-all draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """The bytes of a small face-sized JPEG, different for each number."""
    return fake_data.jpeg


@pytest.fixture(scope="session")
def make_mufac() -> Callable[..., Path]:
    """Write a folder in MUFAC's format."""
    return fake_data.make_mufac


@pytest.fixture(scope="session")
def make_mucac() -> Callable[..., Path]:
    """Write a folder in MUCAC's format."""
    return fake_data.make_mucac


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Path]:
    """Write a CSV of faces and the images that it names."""
    return fake_data.make_table


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """One folder for all runs of a file, so that the tiny original is trained once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def at_home(home, monkeypatch) -> None:
    """Work in that folder."""
    monkeypatch.chdir(home)
