"""Find a method's settings on other people than those who are reported on.

Run the same configuration over a grid of settings and rank the runs by their best final score::

    python -m gli.search --config configs/gli_synthetic.yaml --data.seed 100 \
        --try model.lr=0.003,0.01 --try model.class_weight.initial=1,10,100

Everything but ``--try`` and ``--output`` goes to ``gli fit`` as it stands. With drawn faces another ``--data.seed`` draws
other people; with a data set of one's own use another ``--data.split_seed``, or a table without the people to be
reported on. A setting may name several keys joined by ``+``, which then take each value together:
``--try model.class_weight.initial+model.class_weight.final=10,100`` is a fixed weight.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from gli.callbacks import ForgettingAudit
from gli.callbacks.audit import best_audit
from gli.cli import carry_out, quiet
from gli.command import run
from gli.data.files import replacing, writable
from gli.errors import GLIError, SettingError
from gli.progress import console
from gli.runs import comparison

Trial = dict[str, str]
#: A trial and the scores of its best audit.
Found = tuple[Trial, dict[str, float]]


def grid(settings: Sequence[str]) -> list[Trial]:
    """All combinations of settings written as ``key=value,value`` or ``key+key=value,value``.

    Raises:
        SettingError: If one is not of that form.
    """
    axes: list[list[Trial]] = []
    for setting in settings:
        keys, equals, values = setting.partition("=")
        if not keys or not equals or not all(values.split(",")):
            raise SettingError(f"--try {setting}: expected KEY=VALUE,VALUE such as model.lr=0.003,0.01")
        axes.append([dict.fromkeys(keys.split("+"), value) for value in values.split(",")])
    return [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*axes)]


def search(
    arguments: Sequence[str],
    trials: Sequence[Trial],
    max_utility_drop: float = 1.0,
    keep: Callable[[Sequence[Found]], None] = lambda found: None,
) -> list[Found]:
    """Run every trial.

    Args:
        arguments: What goes to ``gli fit`` as it stands.
        trials: The settings of each.
        max_utility_drop: Audits that lost more accuracy are left out.
        keep: Called after each trial with what was found so far, so that an end before the last one costs nothing.

    Returns:
        The trials, each with its best audit (and the original's final score), best first.
    """
    found: list[Found] = []
    for number, trial in enumerate(trials, start=1):
        console.rule(f"{number} of {len(trials)}: {' '.join(f'{key}={value}' for key, value in trial.items())}")
        command = run(["fit", *arguments, *(f"--{key}={value}" for key, value in trial.items())])
        audit = ForgettingAudit.of(command.trainer)
        best = best_audit(audit.rows, max_utility_drop) if audit else None
        if audit is not None and best is not None and audit.original is not None:
            found.append((trial, {**best, "original": audit.original["final_score"]}))
            found.sort(key=lambda result: -result[1]["final_score"])
            keep(found)
    return found


def write(output: Path, found: Sequence[Found]) -> None:
    """The table of the trials so far.

    Raises:
        DataError: If it cannot be written.
    """
    rows = [trial | {key: str(value) for key, value in scores.items()} for trial, scores in found]
    columns = dict.fromkeys(key for row in rows for key in row)
    with (
        writable(output.parent, what="the table of the trials", setting="--output"),
        replacing(output) as aside,
        aside.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def main(args: Sequence[str] | None = None) -> int:
    """Run a search from the command line; exit status 0, or 2 after a mistake that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m gli.search", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--try", dest="settings", action="append", required=True, metavar="KEY=VALUE,VALUE")
    parser.add_argument("--max-utility-drop", type=float, default=1.0, help="leave out audits that lost more accuracy")
    parser.add_argument(
        "--output", type=Path, default=Path("lightning_logs/search.csv"), help="table of the trials, best first"
    )
    options, arguments = parser.parse_known_args(args)
    quiet()
    return carry_out(
        "gli.search", lambda: _search(options, arguments), f"stopped. The trials so far are in {options.output}."
    )


def _search(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    trials = grid(options.settings)
    if options.output.is_dir():
        raise SettingError(f"--output {options.output} is a folder; name the file that the table is to be written to.")
    with writable(options.output.parent, what="the table of the trials", setting="--output"):
        options.output.parent.mkdir(parents=True, exist_ok=True)
    found = search(arguments, trials, options.max_utility_drop, lambda so_far: write(options.output, so_far))
    if not found:
        raise GLIError("no trial gave a finite score within the utility drop allowed.")
    best, scores = found[0]
    console.print(comparison([(f"best of {len(found)}", scores)]))
    print(" ".join(f"--{key} {value}" for key, value in best.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
