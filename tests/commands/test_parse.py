"""The one parser: a function's signature and docstring give its command line, and every error is one line."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from gli.commands.fit import check_spelling
from gli.commands.main import COMMANDS
from gli.commands.parse import Flag, choose, parse, run
from gli.errors import SettingError
from tests.helpers.tiny import EVERY, TINY


def copy(
    sources: Sequence[Path],
    output: str | Path = "there",
    *,
    names: Sequence[str],
    depth: int = 1,
    share: float | None = None,
    kind: Literal["file", "folder"] = "file",
    chosen_on: Sequence[Path] = (),
    tries: Annotated[Sequence[str], Flag("--try", "KEY=VALUE", repeat=True)] = (),
    dry_run: bool = False,
    measure: bool = True,
) -> int:
    """Copy files.

    copy a b --names x

    Args:
        sources: Files to copy,
            as many as you like.
        depth: How deep, at most 100 %.
        measure: Do not measure.
    """
    if depth < 0:
        raise SettingError(f"depth is {depth}; it must not be negative.")
    warnings.warn("something was left out", stacklevel=2)
    return depth


def arguments(*args: str) -> dict[str, Any]:
    return parse("gli copy", copy, args)[1]


def test_every_kind_of_parameter_is_read():
    values = arguments(
        *("a", "b", "--names", "x", "1", "--depth=3", "--share", "0.5", "--kind", "folder", "--chosen-on", "c", "d"),
        *("--try", "k=1", "--try", "k=2", "--dry-run", "--no-measure", "--output", "o"),
    )
    assert values == {
        "sources": [Path("a"), Path("b")],
        "names": ["x", "1"],
        "depth": 3,
        "share": 0.5,
        "kind": "folder",
        "chosen_on": [Path("c"), Path("d")],
        "tries": ["k=1", "k=2"],
        "dry_run": True,
        "measure": False,
        "output": "o",
    }
    assert arguments("a", "--names", "x", "--chosen_on=c")["chosen_on"] == [Path("c")]
    defaults = arguments("a", "--names", "x")
    assert (defaults["depth"], defaults["chosen_on"], defaults["tries"], defaults["measure"]) == (1, [], [], True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--names x", "SOURCES is missing. See gli copy --help."),
        ("a", "--names is missing. See gli copy --help."),
        ("a --names x --depth u", "--depth is 'u'; expected a whole number."),
        ("a --names x --depth -1", "--depth is -1; it must not be negative."),
        ("a --names x --share u", "--share is 'u'; expected a number."),
        ("a --names x --kind files", "--kind is 'files'; expected one of file, folder. Did you mean 'file'?"),
        ("a --names x --chosen-no c", "--chosen-no: no such setting. Did you mean 'chosen-on'?"),
        ("a --names x --zzz", "--zzz: no such setting. See gli copy --help."),
        ("a --names x --dept 1", "--dept: no such setting. Did you mean 'depth'?"),
        ("a --names", "argument --names: expected at least one argument"),
    ],
)
def test_every_error_is_one_line(args, message, capsys):
    assert run("gli copy", copy, args.split()) == 2
    assert capsys.readouterr().err == f"gli copy: {message}\n"


def test_the_help_is_that_of_the_docstring(capsys):
    with pytest.raises(SystemExit):
        run("gli copy", copy, ["--help"])
    text = capsys.readouterr().out
    for piece in ("Copy files.\n\ncopy a b --names x", "SOURCE [SOURCE ...]", "at most 100 % (default: 1)", "--try K"):
        assert piece in text
    assert "Files to copy, as many as you like" in " ".join(text.split())


def test_results_and_warnings_of_a_function_are_printed(capsys):
    assert run("gli copy", copy, ["a", "--names", "x", "--depth", "4"]) == 4
    assert capsys.readouterr().err == "gli copy: something was left out\n"

    def where(*places: Path) -> Path:
        """Return the first of some places."""
        return places[0]

    assert run("gli where", where, ["b", "c"]) == 0
    assert capsys.readouterr().out == "b\n"


def test_what_a_command_does_not_know_goes_to_another_parser():
    def search(
        *,
        tries: Annotated[Sequence[str], Flag("--try", repeat=True)] = (),
        methods: Sequence[str] = (),
        quick: bool = False,
        rest: Annotated[Sequence[str], Flag(rest=True)] = (),
    ) -> None:
        """Search."""

    line = "--config a --try lr=1,2 --model.lr -1 --methods A B --data.x z --quick --trainer.max_steps=3 --try=b=2"
    assert parse("gli search", search, line.split())[1] == {
        "tries": ["lr=1,2", "b=2"],
        "methods": ["A", "B"],
        "quick": True,
        "rest": ["--config", "a", "--model.lr", "-1", "--data.x", "z", "--trainer.max_steps=3"],
    }


def test_choose_names_the_command_that_was_meant(capsys):
    commands = {"add": "add requests", "plan": "show the next batch"}
    assert choose("gli erase", commands, ["add", "x"], "Erase.") is None
    assert choose("gli erase", commands, ["--help"], "Erase.") == 0
    assert "  add        add requests" in capsys.readouterr().out
    assert choose("gli erase", commands, ["pla"], "Erase.") == 2
    expected = "gli erase: there is no command 'pla'. Did you mean 'plan'? Commands: add, plan.\n"
    assert capsys.readouterr().err == expected
    assert choose("gli erase", commands, [], "Erase.") == 2


def test_help_of_every_command_is_there_before_torch_could_be_imported():
    """In a tenth of a second of processor time each, with 350 modules; the limits allow for a slow and busy machine."""
    code = """
import contextlib, io, os, sys, time
from gli.commands.main import main
for command in sys.argv[1:]:
    if os.fork() == 0:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            sys.exit(main([*command.split(), "--help"]))
        heavy = {"torch", "lightning", "sklearn", "scipy", "matplotlib", "optuna"} & sys.modules.keys()
        os._exit(bool(heavy) + 2 * (time.process_time() > 1.5) + 4 * (len(sys.modules) > 500))
    assert os.wait()[1] == 0, command
"""
    subprocess.run([sys.executable, "-c", code, *COMMANDS, "erase run"], check=True)


def test_misspelt_settings_are_answered_before_torch_could_be_imported():
    code = """
import sys
from gli.commands.main import main
for wrong in (["--trainer.max_stpes=3"], ["--model", "Scrubb"], ["--modle.lr", "1"], ["--ckpt_pth=last"]):
    assert main(["fit", "--config", "gli_synthetic", *wrong]) == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "gli: --trainer.max_stpes: no such setting. Did you mean 'trainer.max_steps'?",
        "gli: --model Scrubb: no such class. Did you mean 'SCRUB'?",
        "gli: --modle.lr: no such option. Did you mean '--model'?",
        "gli: --ckpt_pth: no such option. Did you mean '--ckpt_path'?",
    ]


def test_what_is_no_misspelling_is_left_to_the_parser():
    right = [
        "--config=scrub_mufac",
        "--model.lr=1",
        "--model.class_weight.final=1",
        "--trainer.callbacks+=EarlyStopping",
    ]
    for args in (
        [*right, *TINY, *EVERY, "--data.recipe.epochs=1", "--model.init_args.lr=1", "--model.help=GLI"],
        ["--model=my.Pull", "--model.lrr=1"],
        ["--config=mine.yaml", "--model.lrr=1"],
        ["--model=scrub", "--model.zzzz=1"],
    ):
        check_spelling(args)
