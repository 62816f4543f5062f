"""The documentation builds as a site without a warning, needs no network, and has every public name and every page."""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site_hooks.py")
hooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hooks)


class Links(HTMLParser):
    """Collect what a page links to, what it loads, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(values["href"])
        elif tag in ("script", "img", "iframe") and values.get("src"):
            self.loaded.append(values["src"])


def test_the_navigation_names_pages_and_the_api_page_names_that_exist():
    """Without mkdocs, which make docs installs."""
    text = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text())
    pages = [path for entry in yaml.safe_load(text)["nav"] for path in hooks._paths(entry)]
    assert [path for path in pages if not (ROOT / "docs" / path).is_file()] == []
    names = [name for package in hooks.PACKAGES for name in hooks.public_names(package)]
    assert [name for name in names if pkgutil.resolve_name(name) is None] == []
    assert len(names) > 50


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="make docs installs what builds the site")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {path: Links(path) for path in site.rglob("*.html")}


def test_every_page_is_built_and_in_the_navigation(site, pages):
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    sources += [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.ipynb")]
    built = {
        site / ("methods/index.html" if path.name == "README.md" else path.with_suffix(".html")) for path in sources
    }
    assert built <= set(pages)
    linked = {(site / link.partition("#")[0]).resolve() for link in pages[site / "index.html"].links}
    assert built <= linked
    assert {path.name for path in built} >= {"quickstart.html", "own_faces.html", "audits.html", "gli.html", "api.html"}


def test_no_link_is_dead(site, pages):
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # Its links are absolute, for a site at the root of a server.
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            linked = (path.parent / unquote(target)).resolve() if target else path
            linked = linked / "index.html" if linked.is_dir() else linked
            assert linked.exists(), f"{path.name}: {link}"
            if linked in pages:
                assert unquote(anchor) in pages[linked].anchors, f"{path.name}: {link}"


def test_a_page_loads_nothing_from_the_network(pages):
    loaded = {address for page in pages.values() for address in page.loaded}
    assert len(loaded) > 5
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []


def test_equations_are_mathml(site, pages):
    texts = {path: re.sub(r"<code>.*?</code>", "", path.read_text(), flags=re.DOTALL) for path in pages}
    assert all("<math" in texts[site / page] for page in ("methods/gli.html", "api/gli.methods.html"))
    for path, text in texts.items():
        assert "$$" not in text, path.name
        assert 'class="arithmatex"' not in text, path.name
        for equation in re.findall(r"<math.*?</math>", text, re.DOTALL):
            assert "\\" not in equation, f"{path.name}: a command that latex2mathml does not know: {equation}"


def test_every_public_name_is_documented_on_the_page_of_its_package(site, pages):
    assert {f"api/{package}.html" for package in hooks.PACKAGES} <= set(pages[site / "api.html"].links)
    for package in hooks.PACKAGES:
        path = site / f"api/{package}.html"
        assert hooks.public_names(package), package
        assert set(hooks.public_names(package)) <= pages[path].anchors
        assert ":class:<code>" not in path.read_text()
    text = hooks.api_markdown("gli")
    assert (
        text.index("::: gli.api.forget.forget") < text.index("::: gli.api.result.Result") < text.index("::: gli.errors")
    )


def test_a_notebook_shows_its_outputs(tmp_path):
    figure = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "aGk="}}
    printed = {"output_type": "stream", "name": "stdout", "text": ["pass\n", "fail\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["print(result)"], "outputs": [printed, figure]},
    ]
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": cells}))
    text = hooks.notebook_markdown(tmp_path / "page.ipynb")
    assert text.startswith("# Title\n\n```python\nprint(result)\n```\n\n```text\npass\nfail\n```\n\n<img ")
    assert 'src="data:image/png;base64,aGk="' in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_search_works_where_the_pages_are_opened_from_a_folder(site):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"file://{site}/index.html")
        page.wait_for_selector("iframe", state="attached")
        page.locator("input.md-search__input").press_sequentially("membership", delay=20)
        page.wait_for_selector(".md-search-result__item")
        assert "matching" in page.locator(".md-search-result__meta").inner_text()


def test_links_that_leave_the_docs_become_paths():
    class Page:
        class file:
            src_uri = "methods/gli.md"

    text = (
        "[gli.yaml](../../configs/gli_mufac.yaml), [LI](li.md), [the code](../../gli/methods/gli.py), [a](https://x.y)"
    )
    expected = "`configs/gli_mufac.yaml`"
    changed = hooks.on_page_markdown(text.replace("gli.yaml", "gli_mufac.yaml"), Page)
    assert changed == f"{expected}, [LI](li.md), the code (`gli/methods/gli.py`), [a](https://x.y)"
