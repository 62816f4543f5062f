"""A home with photographs, tables and a classifier, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gli.erasure.store import Store
from tests.helpers.erasure import make_home, make_store


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    return make_home(tmp_path_factory.mktemp("template"))


@pytest.fixture
def user_home(template, tmp_path) -> Path:
    """Photographs, tables and a classifier, as a user has them."""
    home = tmp_path / "home"
    shutil.copytree(template, home)
    return home


@pytest.fixture
def store(user_home) -> Store:
    """A new store beside them."""
    return make_store(user_home)
