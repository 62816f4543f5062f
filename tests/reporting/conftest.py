"""Fixtures of the tests of reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.run_folders import RunFolders

#: Names under which distributions install the browser; Playwright's own download is not used.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="package")
def browser():
    """A real browser; tests are skipped where Playwright or Chromium is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page in a context of its own; the test fails if a script fails or the page asks the network.

    The fixture ``address`` of a test file is the page that is opened.
    """
    contexts, problems = [], []

    def open_page(width=1200, where=address, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: problems.append(request.url) if "://" in request.url[:8] else None)
        page.goto(where)
        problems[:] = [problem for problem in problems if problem != where]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def make_run(tmp_path: Path) -> RunFolders:
    """Write run folders as ``gli fit`` does."""
    return RunFolders(tmp_path)
