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
import sys
from collections.abc import Sequence
from pathlib import Path

from gli.callbacks import ForgettingAudit
from gli.callbacks.audit import best_audit
from gli.cli import quiet
from gli.command import run
from gli.data.files import replacing
from gli.errors import GLIError, SettingError
from gli.processes import keep_freed_memory
from gli.progress import console
from gli.runs import comparison

Trial = dict[str, str]


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
    arguments: Sequence[str], trials: Sequence[Trial], max_utility_drop: float = 1.0
) -> list[tuple[Trial, dict[str, float]]]:
    """Run every trial; the trials with their best audit (and the original's final score), best first."""
    found: list[tuple[Trial, dict[str, float]]] = []
    for number, trial in enumerate(trials, start=1):
        console.rule(f"{number} of {len(trials)}: {' '.join(f'{key}={value}' for key, value in trial.items())}")
        command = run(["fit", *arguments, *(f"--{key}={value}" for key, value in trial.items())])
        audit = ForgettingAudit.of(command.trainer)
        best = best_audit(audit.rows, max_utility_drop) if audit else None
        if audit is not None and best is not None and audit.original is not None:
            found.append((trial, {**best, "original": audit.original["final_score"]}))
    return sorted(found, key=lambda result: -result[1]["final_score"])


def main(args: Sequence[str] | None = None) -> int:
    """Run a search from the command line; exit status 0, or 2 after a mistake that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m gli.search", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--try", dest="settings", action="append", required=True, metavar="KEY=VALUE,VALUE")
    parser.add_argument("--max-utility-drop", type=float, default=1.0, help="leave out audits that lost more accuracy")
    parser.add_argument("--output", default="lightning_logs/search.csv", help="table of all trials")
    options, arguments = parser.parse_known_args(args)
    quiet()
    keep_freed_memory()
    try:
        results = search(arguments, grid(options.settings), options.max_utility_drop)
    except GLIError as error:
        print(f"gli.search: {error}", file=sys.stderr)
        return 2
    if not results:
        print("gli.search: no trial gave a finite score within the utility drop allowed.", file=sys.stderr)
        return 2
    with replacing(Path(options.output)) as aside, aside.open("w", newline="") as file:
        rows = [trial | {key: str(value) for key, value in scores.items()} for trial, scores in results]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    best, scores = results[0]
    console.print(comparison([(f"best of {len(results)}", scores)]))
    print(" ".join(f"--{key} {value}" for key, value in best.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
