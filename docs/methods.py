"""Generate the pages in docs/methods from the docstrings of the methods.

Run ``make docs`` after changing a docstring; ``tests/test_docs.py`` fails if a page differs from its docstring.
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
from gli.system.files import write_text

FOLDER = Path(__file__).parent / "methods"
CONFIGS = Path(__file__).parent.parent / "configs"
#: What all methods have in common and no docstring says.
BATCHES = (
    "All batches of a pass have the same size, and a smaller last batch is dropped; the released code trains on it as "
    "well. Every epoch is shuffled again, so that over several epochs each image has its turn. A pass over two sets "
    "side by side goes over one of them once, and repeats the other as often as it takes."
)
#: Sections of a method's docstring, in the order of its page.
SECTIONS = ("Equation", "Cost", "Fails", "Defaults", "Source")
HEADINGS = {"Cost": "What it costs", "Fails": "How it fails", "Defaults": "Where the defaults come from"}


def methods() -> list[type[Method]]:
    """Return the methods that gli ships, those that train from scratch first."""
    return sorted(gli.methods.shipped().values(), key=lambda method: (method.needs_original, method.__name__))


def markdown(text: str) -> str:
    """Return docstring markup as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def sections(method: type) -> dict[str, str]:
    """Return the sections of a docstring by name; the text before the first section has an empty name."""
    lines_of: dict[str, list[str]] = {"": []}
    name = ""
    for line in inspect.cleandoc(method.__dict__.get("__doc__") or "").splitlines():
        heading = re.fullmatch(r"([A-Z]\w+):", line)
        if heading:
            name = heading[1]
            lines_of[name] = []
        else:
            lines_of[name].append(line)
    return {name: inspect.cleandoc("\n".join(lines)).strip() for name, lines in lines_of.items()}


def meanings(method: type) -> dict[str, str]:
    """Return the descriptions of the settings that a class documents itself."""
    described = docstring_parser.parse(method.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE).params
    return {
        setting.arg_name: " ".join((setting.description or "").split())
        for setting in described
        if "*" not in setting.arg_name
    }


def settings(method: type[Method]) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of a method's settings, its own first."""
    rows: dict[str, tuple[str, str]] = {}
    for owner in method.__mro__:
        if not (isinstance(owner, type) and issubclass(owner, Method) and "__init__" in owner.__dict__):
            continue
        described = meanings(owner)
        for name, parameter in inspect.signature(vars(owner)["__init__"]).parameters.items():
            if parameter.kind != inspect.Parameter.VAR_KEYWORD and name not in {"self", *rows}:
                # A class that changes only the default leaves the meaning to the base class.
                rows[name] = (str(parameter.default), described.get(name) or meanings(Method)[name])
    return [(name, default, meaning) for name, (default, meaning) in rows.items()]


def table(rows: list[tuple[str, str, str]]) -> str:
    """Return settings as a Markdown table."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | `{default}` | {markdown(meaning)} |" for name, default, meaning in rows]
    return "\n".join(lines)


def page(method: type[Method]) -> str:
    """Return the page of one method."""
    section_of, name = sections(method), snake_case(method.__name__)
    summary, _, rest = section_of[""].partition("\n\n")
    file = Path(inspect.getfile(method)).name
    files = [path for part in ("", "method", "tuned") for path in sorted((CONFIGS / part).glob(f"{name}*.yaml"))]
    configs = [path.relative_to(CONFIGS).as_posix() for path in files if re.match(rf"{name}(_|\.)", path.name)]
    shared = settings(Method)
    own = [row for row in settings(method) if row not in shared]
    paragraphs = [f"# {method.__name__}", markdown(summary), *([markdown(rest)] if rest else [])]
    for section in SECTIONS:
        if section in section_of:
            paragraphs += [f"## {HEADINGS.get(section, section)}", markdown(section_of[section])]
    paragraphs += ["## Settings", table(own)] if own else []
    paragraphs.append(
        "The [symbols](README.md#symbols) and the [settings](README.md#settings-of-all-methods) that all methods share "
        "are in the overview."
    )
    links = ", ".join(f"[{config}](../../configs/{config})" for config in configs)
    names = ", ".join(f"`{name}_{path.stem}`" for path in sorted(CONFIGS.glob("data/*.yaml")))
    code = f"Code: [gli/methods/{file}](../../gli/methods/{file}). Configurations: `--config` {names}"
    paragraphs.append(f"{code}; {links}." if links else f"{code}.")
    return "\n\n".join(paragraphs) + "\n"


def overview() -> str:
    """Return the page that lists all methods."""
    lines = [
        "# Methods",
        "Generated from the docstrings by `make docs`.",
        "| method | what it does |\n|---|---|",
    ]
    for method in methods():
        summary = markdown(" ".join(sections(method)[""].partition("\n\n")[0].split()))
        lines[-1] += f"\n| [{method.__name__}]({snake_case(method.__name__)}.md) | {summary} |"
    changed = inspect.signature(vars(FromScratch)["__init__"]).parameters
    recipe = [row for row in settings(gli.methods.Original) if row[0] in changed]
    lines += ["## Symbols", markdown(sections(Method)["Symbols"])]
    lines += ["## Epochs, batches and steps", BATCHES]
    lines += ["## Settings of all methods", table(settings(Method))]
    lines += [
        "In `Original`, `Retrained` and `EUk` these settings default to the data set's recipe (`data.recipe`):",
        table(recipe),
    ]
    return "\n\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {"README.md": overview()} | {f"{snake_case(method.__name__)}.md": page(method) for method in methods()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        write_text(FOLDER / name, text)
