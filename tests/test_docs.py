"""The documentation agrees with the code: links, paths, commands and settings exist, and the examples run."""

from __future__ import annotations

import csv
import importlib.util
import math
import pkgutil
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

import lightning as L
import pytest
import timm
import torch
from markdown_it import MarkdownIt

from gli.commands.erase import STEPS
from gli.commands.main import COMMANDS, LIGHTNING, MODULES, main
from gli.data import FaceDataModule
from gli.engine.fit import CALLBACKS, method_names
from gli.methods import Method
from gli.metrics.registry import SCORES
from gli.runs.configs import expand, resolve, shipped_names
from gli.study.benchmark import read_grid
from gli.study.fleet import read_plan
from gli.system.classes import concrete_subclasses
from gli.system.explain import settings_of
from tests.helpers.forks import run_in_fork
from tests.helpers.tiny import TINY

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "lightning_logs/README.md", *sorted(DOCS.rglob("*.md"))]
#: Options in the text that belong to other programs.
FOREIGN = {"master_addr", "planned", "small"}
#: Options of ``gli fit`` that no class declares.
OWN = {"config", "seed_everything", "ckpt_path", "originals", "model", "data", "print_config", "help-all"}


def module_of_docs(name):
    spec = importlib.util.spec_from_file_location(f"{name}_pages", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = module_of_docs("methods")

TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}


# -- reading pages -----------------------------------------------------------------------------------------------------


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def outside_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def gli_commands(text: str) -> Iterator[list[str]]:
    """The arguments of every command ``gli`` in the shell blocks of a page, variables replaced."""
    for block in code_blocks(text, "sh"):
        variables: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            if assignment := re.fullmatch(r"(\w+)=\"(.*)\"", line):
                variables[assignment[1]] = assignment[2]
                continue
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            words = shlex.split(line, comments=True)
            for place, word in enumerate(words[:-1]):
                if word == "gli" and re.fullmatch(r"[a-z]+", words[place + 1]):
                    yield words[place + 1 :]


COMMAND_LINES = [(page, arguments) for page in PAGES for arguments in gli_commands(page.read_text())]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_pages_and_commands_are_found():
    """The other tests check what these find, so they must not find nothing."""
    assert {README, DOCS / "results.md", DOCS / "speed.md", DOCS / "methods/gli.md"} <= set(PAGES)
    assert len(COMMAND_LINES) > 20
    assert {arguments[0] for _, arguments in COMMAND_LINES} >= {"fit", "test", "benchmark", "report", "search"}
    assert ["fit", "--config", "neg_grad_mufac", "--data.split", "identity"] in [
        arguments[:5] for _, arguments in COMMAND_LINES
    ]


# -- the pages of the methods ------------------------------------------------------------------------------------------


def test_pages_are_what_the_docstrings_say():
    generated = pages.pages()
    assert {path.name for path in (DOCS / "methods").glob("*.md")} == set(generated)
    for name, text in generated.items():
        assert (DOCS / "methods" / name).read_text() == text, f"docs/methods/{name} is out of date: run make docs"
    assert module_of_docs("threats").page() == TEXTS["SECURITY.md"], "SECURITY.md is out of date: run make docs"


def test_every_score_is_explained():
    """The page has a section for each score of the registry, with the way that is good and what it cannot show."""
    parts = re.split(r"^## (.+)\n", (DOCS / "scores.md").read_text(), flags=re.MULTILINE)[1:]
    explained = dict(zip(parts[::2], parts[1::2], strict=True))
    for score in SCORES.values():
        if score.compute.__module__.startswith("gli."):
            heading = {"accuracy": "accuracy", "top2_accuracy": "accuracy"}.get(score.name, score.heading)
            assert f"val/{score.name}`" in explained[heading] or score.name == "accuracy", score.name
            if "table" in score.shown:
                assert all(f"**{part}**" in explained[heading] for part in ("Good", "Typical", "Cannot show"))


def test_every_method_of_the_package_has_a_page():
    shipped = {name for name, method in concrete_subclasses(Method).items() if method.__module__.startswith("gli.")}
    assert {method.__name__ for method in pages.methods()} == shipped
    assert len(shipped) == 25


def test_a_docstring_has_equation_cost_failure_and_source():
    parts = ("", "Equation", "Cost", "Fails", "Source")
    assert [f"{m.__name__}: {part}" for m in pages.methods() for part in parts if not pages.sections(m).get(part)] == []


def test_markdown_leaves_equations_as_they_are():
    """Neither emphasis nor an escape changes what is between dollars, so that GitHub shows the equation."""
    found = 0
    for page, text in TEXTS.items():
        prose = outside_code_blocks(text)
        html = unescape(MarkdownIt().enable("table").render(prose))
        for equation in re.findall(r"\$\$?[^$]+\$\$?", re.sub(r"`[^`]*`", "", prose)):
            found += 1
            assert equation in html, f"{page}: {equation}"
    assert found > 50


def test_every_setting_has_a_meaning():
    for method in pages.methods():
        for name, _, meaning in pages.settings(method):
            assert meaning and not meaning.startswith("See "), f"{method.__name__}: {name}"  # noqa: PT018


# -- links and paths ---------------------------------------------------------------------------------------------------


def test_the_readme_begins_with_a_picture_and_a_command():
    top = "\n".join(README.read_text().splitlines()[:25])
    assert top.index("![") < top.index("make demo")


def headings_of(text: str) -> set[str]:
    """The anchors of a page."""
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", outside_code_blocks(text), re.MULTILINE)}


def test_links_and_images_lead_somewhere():
    dead = []
    for page, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", outside_code_blocks(text)):
            path, _, anchor = target.partition("#")
            linked = (ROOT / page).parent / path if path else ROOT / page
            if not re.match(r"https?://", target) and (
                not linked.exists() or (anchor and anchor not in headings_of(linked.read_text()))
            ):
                dead.append(f"{page}: {target}")
    assert dead == []


def test_paths_exist():
    missing = []
    for page, text in TEXTS.items():
        for path in re.findall(r"(?<![\w/.<-])(?:gli|tests|benchmarks|configs|docs)/[\w./<>* -]*[\w/]", text):
            path = path.split(" ")[0]
            if not re.search(r"[<>*]", path) and not (ROOT / path).exists():
                missing.append(f"{page}: {path}")
    assert missing == []


def test_tests_exist():
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests = {name for source in sources for name in re.findall(r"^ *def (test_\w+)", source, re.MULTILINE)}
    named = {(page, name) for page in TEXTS for name in re.findall(r"(?<![\w/])test_\w+(?!\w|\.py)", TEXTS[page])}
    assert {f"{page}: {name}" for page, name in named if name not in tests and not timm.is_model(name)} == set()


def test_python_names_exist():
    missing = set()
    for page, text in TEXTS.items():
        for name in re.findall(r"(?<![\w/.(])gli\.[a-z][\w.]*\w", text):
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                missing.add(f"{page}: {name}")
    assert missing == set()


def test_examples_of_wrong_names_are_found():
    """What the tests above rely on does raise for a name that does not exist."""
    for wrong in ("gli.perturb", "gli.methods.descend", "gli.metrics.registry.Scores"):
        with pytest.raises((ImportError, AttributeError)):
            pkgutil.resolve_name(wrong)


# -- commands and settings ---------------------------------------------------------------------------------------------


@cache
def known_settings() -> frozenset[str]:
    classes = {"model": concrete_subclasses(Method), "data": concrete_subclasses(FaceDataModule)}
    owners = [(key, owner) for key, known in classes.items() for owner in known.values()]
    owners += [("trainer", L.Trainer), *CALLBACKS.items()]
    return frozenset(name for key, owner in owners for name in settings_of(key, owner))


@pytest.fixture
def options(capsys):
    """The options of a command that has a parser of its own, from its help."""

    def options(command: str) -> set[str]:
        for words in [[command, step] for step in STEPS] if command == "erase" else [[command]]:
            with pytest.raises(SystemExit):
                main([*words, "--help"])
        return set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", capsys.readouterr().out))

    return options


def test_commands_and_configurations_exist():
    configurations, missing = set(shipped_names(method_names())), set()
    for page, text in TEXTS.items():
        commands = re.findall(r"(?<![\w/-])gli ([a-z]+)\b", "\n".join(re.findall(r"`(gli [^`]*)`", text)))
        names = re.findall(r"(?<![\w/])[a-z]\w*_(?:mufac|mucac|synthetic)\b(?!/)", text)
        missing |= {f"{page}: gli {name}" for name in commands if name not in COMMANDS}
        missing |= {f"{page}: {name}" for name in names if name not in configurations}
    assert missing == set()


def check_command(arguments: list[str], options, capsys) -> None:
    command = arguments[0]
    assert command in COMMANDS
    if command in LIGHTNING:
        if any("my_method" in argument for argument in arguments):
            return  # test_the_examples_of_the_readme_run runs it.
        ends = [] if "--model.help" in arguments else ["--print_config"]
        with pytest.raises(SystemExit) as stop:
            main([*arguments, *ends])
        assert stop.value.code == 0
        assert capsys.readouterr().out
        return
    assert command in MODULES
    fitted = command in ("search", "check")  # They pass unknown options to gli fit.
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name = option.removeprefix("--")
        if option == "--config":
            assert expand(value, methods=method_names())
            assert fitted or (read_plan if command == "audit" else read_grid)(resolve(value)).entries
        elif option.startswith("--"):
            assert name in options(command) or (fitted and name in known_settings() | OWN), f"{option}: no such option"
        if option == "--try":
            prefix = "model." if command == "erase" else ""  # A rehearsal varies the settings of methods alone.
            assert {f"{prefix}{key}" for key in value.partition("=")[0].split("+")} <= known_settings()


def test_commands_are_understood(options, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for page, arguments in COMMAND_LINES:
        try:
            check_command(arguments, options, capsys)
        except BaseException as error:
            error.add_note(f"{page.name}: gli {shlex.join(arguments)}")
            raise


def test_settings_in_the_text_exist(options):
    known = known_settings() | OWN | FOREIGN | set().union(*map(options, MODULES))
    missing = set()
    for page, text in TEXTS.items():
        prose = outside_code_blocks(text)
        flags = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", prose)
        keys = re.findall(rf"`((?:model|data|trainer|{'|'.join(CALLBACKS)})\.[a-z][\w.]*)`", prose)
        missing |= {f"{page}: --{name}" for name in flags if name not in known}
        missing |= {
            f"{page}: {key}" for key in keys if key not in known and not key.endswith((".html", ".md", ".json"))
        }
    assert missing == set()


def makefile_targets() -> set[str]:
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())


def test_targets_of_make_exist():
    for page, text in TEXTS.items():
        code = [*re.findall(r"`([^`\n]+)`", outside_code_blocks(text)), *code_blocks(text, "sh")]
        for target in re.findall(r"^make ([a-z-]+)", "\n".join(code), re.MULTILINE):
            assert target in makefile_targets(), f"{page}: make {target}"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_target():
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    described = {line.split(maxsplit=1)[0] for line in done.stdout.splitlines() if len(line.split(maxsplit=1)) == 2}
    assert described == makefile_targets()
    assert {"demo", "test", "docs"} <= described


# -- the examples ------------------------------------------------------------------------------------------------------


def example(containing: str, page: Path = README) -> str:
    """The only Python block of a page that contains a text."""
    (block,) = (block for block in code_blocks(page.read_text(), "python") if containing in block)
    return block


def test_every_python_example_compiles():
    for page in PAGES:
        for block in code_blocks(page.read_text(), "python"):
            compile(block, str(page), "exec")


def test_the_examples_of_the_readme_run(tmp_path):
    """The method takes a step, the score is logged and selects the checkpoint, and the checkpoint loads."""
    (tmp_path / "my_method.py").write_text(example("class Pull") + "\n\n" + example("register("))
    (command,) = (arguments for arguments in gli_commands(README.read_text()) if "my_method.Pull" in arguments)
    monitor = re.search(r"`--checkpoint\.monitor (val/loss_gap)`", README.read_text())[1]
    limits = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", f"--checkpoint.monitor={monitor}"]
    done = run_in_fork([*command, *TINY, *limits], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "loss gap" in done.stdout + done.stderr

    folder = tmp_path / "lightning_logs/pull_synthetic/version_0"
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["val/accuracy"]] == [0, 1]
    for row in rows:
        if row["val/accuracy"]:
            gap = abs(float(row["val/loss_unseen"]) - float(row["val/loss_forget"]))
            assert float(row["val/loss_gap"]) == pytest.approx(gap, rel=1e-4)
    assert any(math.isfinite(float(row.get("train/loss") or "nan")) for row in rows)

    checkpoint = folder / "checkpoints/best.ckpt"
    code, replaced = re.subn(r'"[^"]+\.ckpt"', repr(str(checkpoint)), example("load_classifier", DOCS / "own_faces.md"))
    assert replaced == 1
    names = {"images": torch.rand(2, 3, 32, 32)}
    exec(code, names)
    assert names["logits"].shape == (2, 8)
