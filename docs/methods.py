"""The pages in docs/methods, made from the docstrings of the methods.

Run ``python docs/methods.py`` after changing one; a test holds the pages to the docstrings.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import docstring_parser

import gli.methods
from gli.methods import Method
from gli.methods.from_scratch import FromScratch
from gli.runs.folder import snake_case
from gli.system.files import atomic_write

FOLDER = Path(__file__).parent / "methods"
CONFIGS = Path(__file__).parent.parent / "configs"
#: What every method's docstring says, in the order of its page.
SECTIONS = ("Equation", "Cost", "Fails", "Defaults", "Source")
HEADINGS = {"Cost": "What it costs", "Fails": "How it fails", "Defaults": "Where the defaults come from"}


def methods() -> list[type[Method]]:
    """All methods that gli ships."""
    found = [getattr(gli.methods, name) for name in gli.methods.__all__]
    shipped = [one for one in found if inspect.isclass(one) and issubclass(one, Method) and one is not Method]
    return sorted(shipped, key=lambda one: (one.needs_original, one.__name__))


def markdown(text: str) -> str:
    """Docstring markup as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def sections(method: type) -> dict[str, str]:
    """A docstring by its sections; what comes before them under the empty name."""
    found, name = {"": []}, ""
    for line in inspect.cleandoc(method.__dict__.get("__doc__") or "").splitlines():
        heading = re.fullmatch(r"([A-Z]\w+):", line)
        if heading:
            name = heading[1]
            found[name] = []
        else:
            found[name].append(line)
    return {name: inspect.cleandoc("\n".join(lines)).strip() for name, lines in found.items()}


def meanings(method: type) -> dict[str, str]:
    """What the settings that a class describes itself mean."""
    described = docstring_parser.parse(method.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE).params
    return {one.arg_name: " ".join((one.description or "").split()) for one in described if "*" not in one.arg_name}


def settings(method: type[Method]) -> list[tuple[str, str, str]]:
    """Name, default and meaning of a method's settings, its own first."""
    found: dict[str, tuple[str, str]] = {}
    for owner in method.__mro__:
        if not (isinstance(owner, type) and issubclass(owner, Method) and "__init__" in owner.__dict__):
            continue
        described = meanings(owner)
        for name, parameter in inspect.signature(owner).parameters.items():
            if parameter.kind != inspect.Parameter.VAR_KEYWORD and name not in found:
                # A class that only has another default of its own points to the base for the meaning.
                meaning = meanings(Method)[name] if described[name].startswith("See ") else described[name]
                found[name] = (str(parameter.default), meaning)
    return [(name, default, meaning) for name, (default, meaning) in found.items()]


def table(rows: list[tuple[str, str, str]]) -> str:
    """Settings as a Markdown table."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | `{default}` | {markdown(meaning)} |" for name, default, meaning in rows]
    return "\n".join(lines)


def page(method: type[Method]) -> str:
    """The page of one method."""
    said, name = sections(method), snake_case(method.__name__)
    summary, _, rest = said[""].partition("\n\n")
    file = Path(inspect.getfile(method)).name
    configs = sorted(path.name for path in CONFIGS.glob(f"{name}_*.yaml"))
    shared = settings(Method)
    own = [row for row in settings(method) if row not in shared]
    parts = [f"# {method.__name__}", markdown(summary), *([markdown(rest)] if rest else [])]
    for section in SECTIONS:
        if section in said:
            parts += [f"## {HEADINGS.get(section, section)}", markdown(said[section])]
    parts += ["## Settings", table(own)] if own else []
    parts.append("The settings that all methods share are in the [overview](README.md#settings-of-all-methods).")
    links = ", ".join(f"[{config}](../../configs/{config})" for config in configs)
    parts.append(f"Code: [gli/methods/{file}](../../gli/methods/{file}). Configurations: {links}.")
    return "\n\n".join(parts) + "\n"


def overview() -> str:
    """The page that lists them all."""
    lines = [
        "# Methods",
        "Made from the docstrings by `python docs/methods.py`.",
        "| method | what it does |\n|---|---|",
    ]
    for method in methods():
        summary = markdown(" ".join(sections(method)[""].partition("\n\n")[0].split()))
        lines[-1] += f"\n| [{method.__name__}]({snake_case(method.__name__)}.md) | {summary} |"
    recipe = [row for row in settings(gli.methods.Original) if row[0] in meanings(FromScratch)]
    lines += ["## Settings of all methods", table(settings(Method))]
    lines += [
        "`Original`, `Retrained` and `EUk` take theirs from the data set's recipe (`data.recipe`):",
        table(recipe),
    ]
    return "\n\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {"README.md": overview()} | {f"{snake_case(method.__name__)}.md": page(method) for method in methods()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        with atomic_write(FOLDER / name) as aside:
            aside.write_text(text)
