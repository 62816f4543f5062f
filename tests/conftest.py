"""Fixtures that several test files share: makers of fake data sets in their published formats."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is loaded. Tests compare runs bit by bit, and fork processes after gradients were computed: on one thread
# and without a GPU that gives the same numbers everywhere. Set CUDA_VISIBLE_DEVICES for the tests that need a GPU.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from tests.helpers import fake_data

# The same inputs in every run, so that a change is to blame for what fails; make test-all draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


#: Files that take longest, longest first: they start first, so that no core waits for the last one.
LONGEST = (
    "test_bare_loops",
    "test_two_processes",
    "test_audit",
    "test_fit",
    "test_benchmark",
    "test_fuzz",
    "test_resume",
)
LONGEST += ("test_rehearse", "test_membership", "test_notebooks", "test_metrics", "test_faults", "test_progress_bar")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; ``make test`` keeps this order."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def few_figures(request, monkeypatch) -> None:
    """Draw no figures during runs: they take half of a tiny run's time. Tests of figures have the mark ``figures``."""
    module = sys.modules.get("gli.callbacks.figures")
    if module and not request.node.get_closest_marker("figures"):
        for hook in ("on_validation_end", "on_train_batch_end", "on_fit_end"):
            monkeypatch.setattr(module.Figures, hook, lambda *_, **__: None)


@pytest.fixture(scope="module")
def forked_jobs() -> Iterator[None]:
    """Fork the jobs of a file's tests from this process; see :func:`tests.helpers.forks.jobs_in_forks`."""
    from tests.helpers.forks import jobs_in_forks

    with jobs_in_forks():
        yield


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
def home(tmp_path_factory) -> Iterator[Path]:
    """One folder for all runs of a file, so that the tiny original is trained once; removed after the file."""
    folder = tmp_path_factory.mktemp("home")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def at_home(home, monkeypatch) -> Iterator[None]:
    """Work in that folder. Checkpoints of the test's runs are removed: those of a file together take gigabytes."""
    before = set(home.glob("lightning_logs/*/version_*"))
    monkeypatch.chdir(home)
    yield
    for run in set(home.glob("lightning_logs/*/version_*")) - before:
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
