"""What runs came to: read from their folders, one audit of each chosen, runs of one kind put together."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from gli import audits
from gli.audits import Audit
from gli.callbacks.audit import best_audit
from gli.callbacks.checkpoint import SCORES
from gli.data.files import read_yaml
from gli.errors import DataError
from gli.logs import read_rows
from gli.runs import read_cost

Select = Literal["final_score", "held_out"]
#: Settings that repeat a run on another draw, on another machine or for another time; all others make it another kind.
REPEATS = {"seed", "original", "root", "cache_dir", "num_workers", "eval_batch_size", "csv"}
#: Their last audit is reported: there is no iteration to choose.
UNCHOSEN = ("Original", "Retrained")
#: GLI without warm-up, in the paper's Table 3.
FIXED = "GLI with fixed weight"
#: Every audit has them; top-2 accuracy is of classes only.
NEEDED = ("accuracy", "mia_accuracy", "forgetting_score", "jsd", "final_score")
TABLE = ("accuracy", "top2_accuracy", "mia_accuracy", "forgetting_score", "jsd", "final_score")


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
        folder: Where it lies.
        method: The method's class name.
        data: The data module's class name.
        seed: The seed.
        settings: Everything that makes it another kind of run, by dotted name.
        rows: The audits in its log: ``iteration`` and the scores.
    """

    folder: Path
    method: str
    data: str
    seed: int
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]

    @property
    def kind(self) -> str:
        """The method as the paper's tables know it: GLI with a fixed weight is a line of its own in Table 3."""
        first, last = (self.settings.get(f"model.class_weight.{end}") for end in ("initial", "final"))
        return FIXED if self.method == "GLI" and first is not None and first == last else self.method

    def audit(self, iteration: int) -> Audit | None:
        """What it kept of an audit; None where it kept nothing."""
        return audits.read_one(self.folder, iteration)

    @cached_property
    def people(self) -> dict[str, npt.NDArray]:
        """Who is on the images of its evaluation sets."""
        return audits.read_people(self.folder)


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def read_log(folder: Path) -> list[dict[str, float]]:
    """The audits in a run's log, ``val/`` taken off, in the order of their iterations.

    Raises:
        DataError: If there is no log, or it holds no audit.
    """
    path = folder / "metrics.csv"
    try:
        logged = [row for row in read_rows(path) if row.get("val/accuracy")]
        rows = [
            {k[4:]: float(v) for k, v in row.items() if k.startswith("val/") and v} | {"iteration": float(row["step"])}
            for row in logged
        ]
        for row in rows:
            if lacking := [name for name in NEEDED if name not in row]:
                raise ValueError(f"step {row['iteration']:g} has no val/{lacking[0]}")
            if not row["iteration"].is_integer() or row["iteration"] < 0:
                raise ValueError(f"{row['iteration']:g} is no step")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such log. Name the folder of a run: lightning_logs/<method>_<data>/version_<n>."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as the log of a run ({error}).") from error
    if not rows:
        raise DataError(f"{path}: holds no audit. Let the run get as far as its first one.")
    # A run that went on after a stop may have logged an iteration twice: the later counts.
    return sorted({row["iteration"]: row for row in rows}.values(), key=lambda row: row["iteration"])


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        DataError: If it is not the folder of a run, or a file in it is damaged.
    """
    path = folder / "config.yaml"
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        config = read_yaml(path, "the settings of a run")
        model, data = config["model"], config["data"]
        method, module = (part["class_path"].rpartition(".")[2] for part in (model, data))
        settings = {f"model.{name}": value for name, value in flat(model.get("init_args") or {}).items()}
        settings |= {f"data.{name}": value for name, value in flat(data.get("init_args") or {}).items()}
        seed = int(config["seed_everything"])
        if not method.isidentifier() or not module.isidentifier():
            raise ValueError(f"{method!r} or {module!r} is no class")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file. Name the folder of a run: lightning_logs/<method>_<data>/version_<n>."
        ) from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as the settings of a run ({error}).") from error
    kind = {name: value for name, value in settings.items() if name.rpartition(".")[2] not in REPEATS}
    return Run(folder, method, module, seed, kind, read_log(folder))


@dataclass(frozen=True)
class Result:
    """The audit of a run that is reported.

    Attributes:
        run: The run that every number of it comes from.
        label: What it is called in tables.
        iteration: The audit's iteration.
        scores: Its scores.
        limits: For each score the 2.5 % and 97.5 % quantile over resampled people; empty where not asked for.
    """

    run: Run
    label: str
    iteration: int
    scores: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]]

    @property
    def cost(self) -> Mapping[str, float]:
        """What the run cost; empty for an original that the run found trained."""
        return read_cost(self.run.folder) if self.label != "Original" or self.run.method == "Original" else {}


def choose(run: Run, select: Select, label: str = "", draws: int = 0) -> Result:
    """Choose the audit of a run that is reported.

    Args:
        run: The run.
        select: ``final_score`` chooses by the final score on the sets that are reported, as the released code does;
            ``held_out`` by that on half of the people of test and unseen, and reports the other half.
        label: What it is called; the method's name by default.
        draws: Resamples of the people for the limits; 0 for none.

    Raises:
        DataError: If no audit is sound, or what is needed was not kept.
    """
    report: dict[str, npt.NDArray] | None = None
    rows: Sequence[Mapping[str, float]] = run.rows
    if select == "held_out":
        by, report = audits.identity_halves(run.people)
        kept = audits.read(run.folder)
        for audit in kept:
            audits.check_people(run.folder, audit, run.people)
        rows = [{"iteration": float(audit.iteration), **audit.scores(by)} for audit in kept]
    row = rows[-1] if run.method in UNCHOSEN and rows else best_audit(rows)
    if row is None:
        raise DataError(f"{run.folder}: none of its audits gives a final score.")
    return _result(run, label or run.method, int(row["iteration"]), row, report, draws)


def original(run: Run, select: Select, draws: int = 0) -> Result:
    """The original model as an unlearning run found it: its audit at iteration 0."""
    report = audits.identity_halves(run.people)[1] if select == "held_out" else None
    return _result(run, "Original", 0, run.rows[0], report, draws)


def _result(
    run: Run, label: str, iteration: int, row: Mapping[str, float], report: dict[str, npt.NDArray] | None, draws: int
) -> Result:
    audit = None
    if report is not None or draws:
        audit = run.audit(iteration)
        if audit is None:
            raise DataError(
                f"{run.folder}: the audit of iteration {iteration} was not kept. Run again, or use --select final_score."
            )
        audits.check_people(run.folder, audit, run.people)
    scores = row if report is None or audit is None else audit.scores(report)
    limits: dict[str, tuple[float, float]] = {}
    if draws and audit is not None:
        people = run.people
        for name, mask in (report or {}).items():
            part = {key: value[mask] for key, value in audit.values[name].items()}
            audit = Audit(audit.iteration, {**audit.values, name: part})
            people = {**people, name: people[name][mask]}
        limits = audits.bootstrap(audit, people, draws)
    return Result(run, label, iteration, {name: scores[name] for name in scores if name != "iteration"}, limits)


def labels(runs: Sequence[Run]) -> dict[Path, str]:
    """What each run is called: its method, and the settings in which runs of the same method differ."""
    named = {}
    for run in runs:
        rivals = [other for other in runs if (other.method, other.data) == (run.method, run.data)]
        shared = set.intersection(*(set(other.settings) for other in rivals))
        differing = sorted(name for name in shared if len({repr(other.settings[name]) for other in rivals}) > 1)
        said = ", ".join(f"{name.partition('.')[2]} {_short(run.settings[name])}" for name in differing)
        named[run.folder] = f"{run.method} ({said})" if said else run.method
    return named


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def results(
    runs: Sequence[Run],
    select: Select = "final_score",
    draws: int = 0,
    failed: list[str] | None = None,
    tick: Callable[[int], None] = lambda count: None,
) -> list[Result]:
    """The reported audit of every run, and of the original of each seed, in the order of the table.

    Args:
        runs: The runs.
        select: See :func:`choose`.
        draws: Resamples of the people for each result; 0 for none.
        failed: Takes a message for every run that gives no result; where left out the first one is raised.
        tick: Called with 1 after each run.

    Raises:
        DataError: If a run gives no result and ``failed`` was not given.
    """
    named = labels(runs)
    found: list[Result] = []
    seen: set[tuple[str, int]] = {(run.data, run.seed) for run in runs if run.method == "Original"}
    for run in sorted(runs, key=lambda run: (run.method not in UNCHOSEN, run.method, run.seed, str(run.folder))):
        try:
            if run.method not in UNCHOSEN and (run.data, run.seed) not in seen and run.rows[0]["iteration"] == 0:
                seen.add((run.data, run.seed))
                found.append(original(run, select, draws))
            found.append(choose(run, select, named[run.folder], draws))
        except DataError as error:
            if failed is None:
                raise
            failed.append(str(error))
        tick(1)
    order = {name: place for place, name in enumerate(UNCHOSEN)}
    return sorted(found, key=lambda result: (order.get(result.label, 2), result.label, result.run.seed))


@dataclass(frozen=True)
class Line:
    """A line of a table: results of one kind.

    Attributes:
        label: What they are called.
        results: One for each seed.
        mean: Mean of each score.
        spread: Standard deviation of each score over the results; NaN for a single one.
        gap: How far the mean of each score is from that of the retrained model; empty where there is none.
    """

    label: str
    results: Sequence[Result]
    mean: Mapping[str, float]
    spread: Mapping[str, float]
    gap: Mapping[str, float]


def lines(found: Sequence[Result]) -> list[Line]:
    """Results of one kind put together."""
    kinds: dict[str, list[Result]] = {}
    for result in found:
        kinds.setdefault(result.label, []).append(result)
    names = [name for name in TABLE if any(name in result.scores for result in found)]
    names += sorted({name for result in found for name in result.scores if name.startswith("accuracy_")})
    means = {label: {name: _mean(each, name) for name in names} for label, each in kinds.items()}
    retrained = means.get("Retrained", {})
    return [
        Line(
            label,
            each,
            means[label],
            {name: _spread(each, name) for name in names},
            {name: means[label][name] - retrained[name] for name in retrained},
        )
        for label, each in kinds.items()
    ]


def _values(found: Sequence[Result], name: str) -> list[float]:
    return [result.scores.get(name, math.nan) for result in found]


def _mean(found: Sequence[Result], name: str) -> float:
    return statistics.fmean(_values(found, name))


def _spread(found: Sequence[Result], name: str) -> float:
    values = _values(found, name)
    return statistics.stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else math.nan


def warm_up(found: Sequence[Result]) -> list[Result]:
    """What the paper's Table 3 compares: LI, GLI with a fixed weight and with a warm-up; empty where one GLI is missing."""
    order = ("LI", FIXED, "GLI")
    compared = [result for result in found if result.run.kind in order and result.label != "Original"]
    if not {FIXED, "GLI"} <= {result.run.kind for result in compared}:
        return []
    return sorted(compared, key=lambda result: order.index(result.run.kind))


def ranks(table: Sequence[Line], name: str) -> dict[str, int]:
    """Who is best (1) and second best (2) at a score among the unlearning methods; the others are left out."""
    sign = 1 if SCORES.get(name) == "min" else -1
    scored = [(sign * line.mean[name], line.label) for line in table if line.label not in UNCHOSEN]
    return {label: place for place, (value, label) in enumerate(sorted(scored)[:2], start=1) if not math.isnan(value)}
