"""A report of runs that are there: tables, figures and one page that opens anywhere.

    gli report lightning_logs/gli_synthetic/version_0 lightning_logs/scrub_synthetic/version_0 --output report

Every number is read from the runs' logs and names the run it came from. Runs of the same settings that differ in their
seed are one line of the tables. ``results.csv`` has a row for each run, ``results.json`` the same with the lines of the
tables, ``results.md`` the tables, ``report.html`` tables and figures in one file that needs no network.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from gli import plots
from gli.audits import Audit
from gli.cli import carry_out
from gli.data.files import replacing, writable
from gli.errors import DataError, GLIError
from gli.progress import progress
from gli.published import PUBLISHED
from gli.results import UNCHOSEN, Line, Result, Run, labels, lines, ranks, read_run, results, warm_up

HEADINGS = {
    "accuracy": "test accuracy ↑",
    "top2_accuracy": "top-2 accuracy ↑",
    "mia_accuracy": "MIA accuracy (0.5 is best)",
    "forgetting_score": "forgetting score ↓",
    "jsd": "JSD ↓",
    "final_score": "final score ↑",
}
WARM_UP = "Class-loss warm-up: LI, GLI with a fixed weight and with a warm-up"
SELECTS = {
    "final_score": "the audit with the best final score on the very sets that are reported, as in the released code",
    "held_out": "the audit with the best final score on half of the test and unseen people; the other half is reported",
}


def heading(score: str) -> str:
    """What a score is called."""
    return HEADINGS.get(score, score.replace("_", " "))


def number(value: float, spread: float = math.nan) -> str:
    """A score as it is printed, with its spread where there is one."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" + ("" if math.isnan(spread) else f" ± {spread:.3f}")


def cells(table: Sequence[Line], score: str, published: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A column of the table: mean and spread, best and second best marked, the published figure behind it."""
    places = ranks(table, score) if score in HEADINGS and score != "mia_accuracy" else {}
    marks = {1: ("**", "**"), 2: ("*", "*")}
    column = []
    for line in table:
        before, after = marks.get(places.get(line.label, 0), ("", ""))
        known = published.get(line.results[0].run.kind if line.label != "Original" else "Original", {}).get(score)
        behind = "" if known is None else f" ({known:.3f})"
        column.append(f"{before}{number(line.mean[score], line.spread[score])}{after}{behind}")
    return column


def table_of(found: Sequence[Result], data: str) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the main table."""
    table = lines(found)
    published = PUBLISHED.get(data, {})
    scores = list(table[0].mean) if table else []
    columns = [[line.label for line in table]]
    columns += [cells(table, score, published) for score in scores]
    headings = ["method", *map(heading, scores)]
    if any(line.gap for line in table):
        headings.append("final score, gap to retrained")
        columns.append([f"{line.gap['final_score']:+.3f}" if line.gap else "" for line in table])
    costs = {line.label: [result.cost for result in line.results] for line in table}
    if any(cost for each in costs.values() for cost in each):
        for name, unit, divisor in (
            ("training_seconds", "training, s", 1),
            ("peak_memory_bytes", "peak memory, MB", 2**20),
        ):
            headings.append(unit)
            columns.append([_mean_cost(costs[line.label], name, divisor) for line in table])
    headings.append("iteration of each run")
    columns.append([", ".join(str(result.iteration) for result in line.results) for line in table])
    return headings, [list(row) for row in zip(*columns, strict=True)]


def _mean_cost(costs: Sequence[Mapping[str, float]], name: str, divisor: float) -> str:
    known = [cost[name] / divisor for cost in costs if name in cost]
    return f"{sum(known) / len(known):,.0f}" if known else ""


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines_ = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines_, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)])


def flat_row(result: Result, select: str) -> dict[str, Any]:
    """A result as a row of ``results.csv``."""
    scores = {name: value for name, value in result.scores.items() if not name.startswith("loss_")}
    limits = {
        f"{name}_{end}": value
        for name, pair in result.limits.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
    where = {"data": result.run.data, "method": result.label, "seed": result.run.seed, "select": select}
    return {**where, "iteration": result.iteration, **scores, **limits, **result.cost, "run": str(result.run.folder)}


def figures(runs: Sequence[Run], found: Sequence[Result]) -> dict[str, Figure]:
    """The figures, each under what it shows; one run (the first seed) of each kind."""
    named = labels(runs)
    first: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: (named[run.folder], run.seed)):
        if run.method not in UNCHOSEN:
            first.setdefault(named[run.folder], run)
    drawn = {
        "Utility drop: scores over the iterations": plots.utility_grid({name: run.rows for name, run in first.items()})
    }
    losses, points = {}, {}
    for line in lines(found):
        result = line.results[0]
        points[line.label] = (line.mean["forgetting_score"], line.mean["jsd"])
        audit: Audit | None = result.run.audit(result.iteration)
        if audit is not None:
            losses[line.label] = (audit.values["forget"]["loss"], audit.values["unseen"]["loss"])
    if compared := lines(warm_up(found)):
        curves = {line.label: line.results[0].run.rows for line in compared}
        drawn["Class-loss warm-up: score curves"] = plots.utility_grid(curves)
    drawn["Forgetting score against JSD"] = plots.scatter(points, "forgetting score", "JSD")
    if losses:
        drawn["Loss densities of forget and unseen"] = plots.density_grid(losses)
    return drawn


def svg(figure: Figure) -> str:
    """A figure as SVG to be put into a page."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gli"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #ffffff; --line: #d0d7de; --soft: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --back: #0f1419; --line: #30363d; --soft: #182028; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  margin: 0 auto; padding: 1rem; max-width: 80rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .5rem; text-align: right; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; min-width: 4rem; } th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--soft); }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; padding: .5rem; overflow-x: auto; }
figure svg { max-width: 100%; min-width: 34rem; height: auto; display: block; margin: auto; }
code { font-size: .9em; }
"""


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in HTML; ``**best**`` and ``*second*`` become bold and underlined."""

    def cell(text: str) -> str:
        text = html.escape(text)
        for mark, tag in (("**", "b"), ("*", "u")):
            if text.startswith(mark):
                inside, _, rest = text[len(mark) :].partition(mark)
                return f"<{tag}>{inside}</{tag}>{rest}"
        return text

    head = "".join(f"<th>{html.escape(one)}</th>" for one in headings)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell(one)}</td>' for one in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def run_table(found: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of single runs, with the limits over resampled people."""
    scores = ("accuracy", "mia_accuracy", "jsd", "final_score")
    rows = []
    for result in found:
        values = []
        for score in scores:
            limits = result.limits.get(score)
            between = f" [{limits[0]:.3f}, {limits[1]:.3f}]" if limits else ""
            values.append(number(result.scores[score]) + between)
        rows.append([result.label, str(result.run.seed), str(result.iteration), *values, str(result.run.folder)])
    return ["method", "seed", "iteration", *map(heading, scores), "run"], rows


def write(
    runs: Sequence[Run],
    output: Path,
    select: str = "final_score",
    draws: int = 0,
    missing: Sequence[str] = (),
) -> list[str]:
    """Write the report of runs on one data set.

    Args:
        runs: The runs.
        output: Folder of the report.
        select: Which audit of a run is reported, see :func:`gli.results.choose`.
        draws: Resamples of the people for the limits of every run; 0 for none.
        missing: Messages for runs that should be there and are not.

    Returns:
        A message for every run that gave no result.

    Raises:
        DataError: If the runs are of several data sets, or none gave a result.
    """
    kinds = sorted({run.data for run in runs})
    if len(kinds) != 1:
        raise DataError(
            f"The runs are of several data sets ({', '.join(kinds)}): their scores do not compare. Report each alone."
        )
    failed: list[str] = []
    with progress("Reading runs" + (f", {draws} resamples each" if draws else ""), len(runs)) as tick:
        found = results(runs, select, draws, failed, tick)  # type: ignore[arg-type]
    if not found:
        raise DataError("None of the runs gave a result: " + " ".join(failed))
    main, each = table_of(found, kinds[0]), run_table(found)
    ablation = table_of(warm_up(found), kinds[0])
    notes = [
        f"Reported: {SELECTS[select]}.",
        "Mean ± standard deviation over runs; **best** and *second best* of the methods.",
    ]
    if kinds[0] in PUBLISHED:
        notes.append("In brackets the paper's figures (ResNet-18 at 128x128).")
    if draws:
        notes.append(f"In square brackets the central 95 % over {draws} resamples of the people.")
    if failed or missing:
        notes.append("Without a result: " + " ".join([*missing, *failed]))
    rows = [flat_row(result, select) for result in found]
    names = list(dict.fromkeys(name for row in rows for name in row if name != "run"))
    with replacing(output / "results.csv") as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*names, "run"])
        writer.writeheader()
        writer.writerows(rows)
    with replacing(output / "results.json") as aside:
        table = [
            {"method": line.label, "mean": line.mean, "standard_deviation": line.spread, "gap_to_retrained": line.gap,
             "runs": [str(result.run.folder) for result in line.results]}
            for line in lines(found)
        ]  # fmt: skip
        contents = {"data": kinds[0], "select": select, "lines": table, "results": rows, "failed": [*missing, *failed]}
        aside.write_text(json.dumps(_plain(contents), indent=1), encoding="utf-8")
    texts = [f"# {kinds[0]}", "\n".join(f"- {note}" for note in notes), markdown(*main)]
    texts += [f"## {WARM_UP}", markdown(*ablation)] if ablation[1] else []
    texts += ["## Runs", markdown(*each)]
    with replacing(output / "results.md") as aside:
        aside.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    with rc_context({"text.parse_math": False}):  # A dollar in the name of a run begins no formula.
        drawn = "\n".join(
            f"<h2>{html.escape(title)}</h2>\n<figure>{svg(figure)}</figure>"
            for title, figure in figures(runs, found).items()
        )
    said = "".join(
        f"<p>{html.escape(note).replace('**best**', '<b>best</b>').replace('*second best*', '<u>second best</u>')}</p>"
        for note in notes
    )
    with replacing(output / "report.html") as aside:
        aside.write_text(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{kinds[0]}: unlearning methods</title>\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
            f"<body><h1>{kinds[0]}: unlearning methods compared</h1>{said}\n{html_table(*main)}\n"
            + (f"<h2>{WARM_UP}</h2>\n{html_table(*ablation)}\n" if ablation[1] else "")
            + f"{drawn}\n"
            f"<h2>Runs</h2>\n{html_table(*each)}</body></html>\n",
            encoding="utf-8",
        )
    return failed


def _plain(value: Any) -> Any:
    """Values as JSON knows them: NaN becomes null."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(args: Sequence[str]) -> int:
    """``gli report RUN...``; exit status 0, or 2 after a mistake that the user can mend."""
    parser = argparse.ArgumentParser(prog="gli report", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder of the report (default: report)")
    parser.add_argument(
        "--select", choices=list(SELECTS), default="final_score", help="which audit of a run is reported"
    )
    parser.add_argument(
        "--draws", type=int, default=0, help="resamples of the people for each run's limits (default: none)"
    )
    options = parser.parse_args(args)
    return carry_out("gli report", lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    if options.draws < 0:
        raise GLIError(f"--draws is {options.draws}; it must not be negative.")
    runs, missing = [], []
    for folder in dict.fromkeys(options.runs):
        try:
            runs.append(read_run(folder))
        except DataError as error:
            if not folder.is_dir():  # A mistyped path.
                raise
            missing.append(str(error))  # A run that was cut off before its first audit, say.
    if not runs:
        raise DataError(" ".join(missing))
    with writable(options.output, what="the report", setting="--output"):
        failed = write(runs, options.output, options.select, options.draws, missing)
    for message in (*missing, *failed):
        print(f"gli report: left out: {message}", file=sys.stderr)
    print(options.output / "report.html")
    return 0
