"""Hooks of the site: pages for the notebooks and the API, links that leave docs/, and equations."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any

#: Packages whose public names (``__all__``, or all without an underscore) the API documents, a page each.
PACKAGES = (
    "gli",
    "gli.data",
    "gli.methods",
    "gli.perturbation",
    "gli.models",
    "gli.metrics",
    "gli.callbacks",
    "gli.reporting",
)
DOCS = Path(__file__).parent
Config = Any


def on_config(config: Config) -> Config:
    """Fill the navigation: a page for each method, the notebooks, and all pages that it does not name."""
    entries = config["nav"]
    methods = sorted(f"methods/{path.name}" for path in (DOCS / "methods").glob("*.md") if path.name != "README.md")
    notebooks = [f"notebooks/{path.stem}.md" for path in sorted((DOCS / "notebooks").glob("*.ipynb"))]
    for entry in entries:
        if "Methods" in entry:
            entry["Methods"] = ["methods/README.md", *methods]
        if "API" in entry:
            entry["API"] = ["api.md", *map(api_path, PACKAGES)]
    named = {path for entry in entries for path in _paths(entry)}
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    more = [page for page in pages if page not in named]
    config["nav"] = [*entries, *([{"Notebooks": notebooks}] if notebooks else []), *([{"More": more}] if more else [])]
    return config


def _paths(entry: Any) -> list[str]:
    """Return the pages that an entry of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    return [path for child in children for path in _paths(child)]


def on_files(files: Any, config: Config) -> Any:
    """Add a page for each notebook and for each package's public names."""
    from mkdocs.structure.files import File

    notebooks = sorted((DOCS / "notebooks").glob("*.ipynb"))
    pages = {f"notebooks/{path.stem}.md": notebook_markdown(path) for path in notebooks}
    pages |= {api_path(package): api_markdown(package) for package in PACKAGES}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def notebook_markdown(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code, what that printed and the figures that it showed."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(
                    f'<img alt="The figure that this code shows" src="data:image/png;base64,{data["image/png"]}">'
                )
            else:
                parts.append(f"```text\n{''.join(output.get('text') or data['text/plain']).rstrip()}\n```")
    return "\n\n".join([*parts, f"*This page is the notebook `docs/notebooks/{path.name}`.*", ""])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that leave docs/ by the path they lead to; link the packages that api.md names to their pages."""
    if page.file.src_uri == "api.md":
        for package in PACKAGES:
            markdown = markdown.replace(f"| `{package}` |", f"| [{package}]({api_path(package)}) |")
    folder = (DOCS / page.file.src_uri).parent

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        if re.match(r"[a-z]+:|#", target) or (folder / target.partition("#")[0]).resolve().is_relative_to(DOCS):
            return match.group(0)
        path = (folder / target).resolve().relative_to(DOCS.parent).as_posix()
        return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"

    return re.sub(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)", replace, markdown)


def public_names(package: str) -> list[str]:
    """Return where each public name of a package is defined, with the package's own data as they are."""
    module = import_module(package)
    names = []
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
        value = getattr(module, name)
        if name.startswith("__") or inspect.ismodule(value):
            continue
        home = getattr(value, "__module__", None) if inspect.isclass(value) or inspect.isroutine(value) else None
        names.append(f"{home or _home_of_data(package, name)}.{name}")
    return names


def _home_of_data(package: str, name: str) -> str:
    """Return the module of a package that defines a constant."""
    folder = Path(str(import_module(package).__file__)).parent
    for path in sorted(folder.glob("*.py")):
        if re.search(rf"^{name}\b.*=", path.read_text(encoding="utf-8"), re.MULTILINE):
            return package if path.stem == "__init__" else f"{package}.{path.stem}"
    return package


def api_path(package: str) -> str:
    """Return the path of the page about a package."""
    return f"api/{package}.md"


def api_markdown(package: str) -> str:
    """Return the page about a package: functions first, then classes and constants, and errors last."""

    def order(name: str) -> int:
        value = pkgutil.resolve_name(name)
        if inspect.isclass(value):
            return 3 if issubclass(value, Exception) else 1
        return 0 if inspect.isroutine(value) else 2

    summary = inspect.getdoc(import_module(package)) or ""
    names = sorted(public_names(package), key=order)
    return "\n\n".join([f"# {package}", summary.partition("\n")[0], *(f"::: {name}" for name in names), ""])


def on_page_content(html: str, **_: Any) -> str:
    """Show the roles of docstrings (``:class:`` and others) as the names alone, and equations as MathML."""
    html = re.sub(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', _equation, html, flags=re.DOTALL)
    html = re.sub(r":(?:class|func|mod|meth|attr|data):<code>~?(?:[\w.]+\.)?(\w+)</code>", r"<code>\1</code>", html)
    return html.replace("::</p>", ":</p>")


def _equation(match: re.Match[str]) -> str:
    """Return the MathML of an equation that pymdownx.arithmatex has found."""
    from latex2mathml.converter import convert

    element, latex = match.groups()
    # latex2mathml has characters for the form with braces only; browsers ignore the attribute that it sets otherwise.
    latex = re.sub(r"\\(mathbb|mathcal) (\w)", r"\\\1{\2}", unescape(latex))
    if element == "span":
        return str(convert(latex))
    # A long equation scrolls; the padding keeps tall letters from being cut off.
    return f'<p style="overflow-x: auto; padding: 0.3em 0">{convert(latex, display="block")}</p>'
