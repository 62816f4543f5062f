"""Fixtures of the tests of reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.run_folders import RunFolders


@pytest.fixture
def make_run(tmp_path: Path) -> RunFolders:
    """Write run folders as ``gli fit`` does."""
    return RunFolders(tmp_path)
