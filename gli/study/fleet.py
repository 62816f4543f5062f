"""An audit of methods with a fleet of originals: its settings, its runs, and the models that they give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from jsonargparse.typing import NonNegativeInt, OpenUnitInterval

from gli.auditing.chosen_on import NOT_DECLARED
from gli.auditing.fleet import Draw, Fleet, plan_draws, read_fleet
from gli.auditing.verdict import MARGIN
from gli.errors import DataError, SettingError, did_you_mean
from gli.runs.configs import expand
from gli.runs.cost import read_cost
from gli.runs.folder import snake_case
from gli.runs.spec import NEVER
from gli.study.settings import Entry, Methods, check_settings, entries_of, flags_of, read_study
from gli.system.console import progress
from gli.system.files import write_text

if TYPE_CHECKING:
    from gli.data import FaceDataModule
    from gli.runs.spec import RunSpec

#: Guesses for the estimate of time: core seconds of an original and of an unlearning, per thousand training images.
ORIGINAL_SECONDS, UNLEARNING_SECONDS = 20.0, 12.0
ORIGINAL, RETRAINED = "Original", "Retrained"
#: Pairs of originals that all methods must have finished.
LEAST_PAIRS = 3
#: Sizes that ``--budget`` chooses from, the largest first: numbers of originals and draws.
SIZES = ((16, 2), (12, 2), (8, 2), (8, 1), (6, 1))


@dataclass(frozen=True)
class FleetPlan:
    """The contents of ``configs/audit/<data>.yaml``.

    Attributes:
        data: Data set: the configuration of a method is called ``<method>_<data>``.
        methods: Methods as a list of names, or as names with settings.
        originals: Number of originals K.
        draws: Number of draws J from each.
        forget_share: Share of the seen people that a draw forgets.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
        seed: Seed of the assignment of people, and of the first original.
        settings: Settings of all runs, by dotted name.
        chosen_on: Values of settings, by dotted name, whose people chose the settings of the methods (such as
            ``data.seed: [0, 1]``); nobody of them may be audited. Empty if that is not declared.
        entries: Methods by name; retrained models are always among them.
    """

    data: Annotated[str, "a name"]
    methods: Annotated[Methods, "names, or names with settings"]
    originals: Annotated[int, "a whole number"] = 16
    draws: Annotated[int, "a whole number"] = 2
    forget_share: Annotated[OpenUnitInterval, "a number between 0 and 1"] = 1 / 3
    margin: Annotated[OpenUnitInterval, "a number between 0 and 0.5"] = MARGIN
    seed: Annotated[NonNegativeInt, "a whole number that is not negative"] = 0
    settings: Annotated[dict[str, Any], "names with values"] = field(default_factory=dict)
    chosen_on: Annotated[dict[str, list[Any]], "names of settings, each with a list of values"] = field(
        default_factory=dict
    )
    entries: Mapping[str, Entry] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check what types do not say, and read the methods."""
        if not 0 < self.margin < 0.5:
            raise SettingError(f"margin is {self.margin:g}; it must lie between 0 and 0.5.")
        entries = {**entries_of([RETRAINED], self.data), **entries_of(self.methods, self.data)}
        check_settings("settings", self.settings)
        for name, entry in entries.items():
            check_settings(name, entry.settings)
            if any(key.startswith("data.") for key in entry.settings):
                raise SettingError(f"{name} sets data of its own; all methods must have the same people.")
        object.__setattr__(self, "entries", entries)

    @property
    def who_chose(self) -> str:
        """Sentence about the people who chose the settings."""
        if not self.chosen_on:
            return NOT_DECLARED
        used = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in self.chosen_on.items())
        return f"the settings of the methods were chosen on other people ({used})"

    def restricted(self, methods: Sequence[str] | None) -> FleetPlan:
        """Return the plan of some methods; retrained models are always part of it. SettingError for an unknown one."""
        if methods is None:
            return self
        for name in methods:
            if name not in self.entries:
                raise SettingError(
                    f"--methods: the audit has no {name!r}.{did_you_mean(name, self.entries)} "
                    f"It has {', '.join(self.entries)}."
                )
        if set(methods) == {RETRAINED}:
            raise SettingError("--methods: Retrained is always part of an audit. Name another method.")
        chosen = {name: entry.settings for name, entry in self.entries.items() if name in methods or name == RETRAINED}
        return replace(self, methods=chosen)

    def minutes(self, images: int, jobs: int) -> float:
        """Return an estimate of the time that all runs take."""
        unlearnings = self.originals * self.draws * len(self.entries)
        seconds = (self.originals * ORIGINAL_SECONDS + unlearnings * UNLEARNING_SECONDS) * images / 1000
        return seconds / 60 / jobs

    def within(self, minutes: float, images: int, jobs: int) -> FleetPlan:
        """Return the plan with as many originals and draws as a budget allows.

        Raises:
            SettingError: If not even the smallest audit fits into the budget.
        """
        for originals, draws in ((self.originals, self.draws), *SIZES):
            smaller = replace(self, originals=min(self.originals, originals), draws=min(self.draws, draws))
            if smaller.minutes(images, jobs) <= minutes:
                return smaller
        smallest = math.ceil(smaller.minutes(images, jobs))
        raise SettingError(
            f"--budget {minutes:g}m: the smallest audit of these methods takes about {smallest} minutes."
        )


def read_plan(path: Path) -> FleetPlan:
    """Read the configuration of an audit, see :func:`read_study`."""
    return read_study(FleetPlan, path, "an audit")


def data_of(plan: FleetPlan, config: Path) -> FaceDataModule:
    """Return the data module of an audit; the configurations of the methods are near ``config``."""
    from gli.engine.build import build_data  # Loads torch.
    from gli.engine.fit import method_names, specify

    settings = flags_of({name: value for name, value in plan.settings.items() if name.startswith("data.")})
    return build_data(specify([*expand(f"retrained_{plan.data}", config, method_names()), *settings]).data)


def check_who_chose(plan: FleetPlan, data: FaceDataModule) -> None:
    """Refuse an audit of the people who chose the settings of the methods (``chosen_on``).

    Raises SettingError if they are the same, if the data has no such setting, or if it is the rehearsal of the same
    data.
    """
    for name, values in plan.chosen_on.items():
        setting = name.removeprefix("data.")
        if setting == "rehearsal":
            raise SettingError(
                "chosen_on: data.rehearsal: an audit of methods assigns all people of the data to its models, those of "
                "a rehearsal too. Name what sets other people apart, such as data.seed; or audit runs, with gli audit "
                "RUN --chosen-on REHEARSAL."
            )
        if not name.startswith("data.") or not hasattr(data, setting):
            raise SettingError(f"chosen_on: {name} is not a setting of {type(data).__name__}.")
        if getattr(data, setting) in values:
            raise SettingError(
                f"The people of {name} {getattr(data, setting)} chose the settings of the methods (chosen_on), so they "
                "cannot judge them. Audit other people."
            )


def people_of(data: FaceDataModule) -> list[list[str]]:
    """Return the people of a data set, grouped by household and by identical files."""
    from gli.data.split_plan import identity_groups  # gli.data loads torch.

    numbers = identity_groups(data.faces.households, data.digests)
    groups: dict[int, dict[str, None]] = {}
    for number, name in zip(numbers.tolist(), data.identities.tolist(), strict=True):
        groups.setdefault(number, {})[name] = None
    return [list(names) for names in groups.values()]


def draws_of(plan: FleetPlan, data: FaceDataModule) -> list[Draw]:
    """Return the draws of an audit."""
    return plan_draws(people_of(data), plan.originals, plan.draws, forget_share=plan.forget_share, seed=plan.seed)


def training_images(data: FaceDataModule, draws: Sequence[Draw]) -> int:
    """Return the mean number of training images of an original."""
    counts = dict(zip(*np.unique(data.identities, return_counts=True), strict=True))
    sizes = [sum(int(counts[name]) for name in (*draw.retain, *draw.forget)) for draw in draws if draw.number == 0]
    return round(sum(sizes) / len(sizes))


def runs_of(plan: FleetPlan, config: Path, data: FaceDataModule, output: Path) -> dict[tuple[str, Draw], RunSpec]:
    """Return the runs of an audit by method and draw, originals first; write the assignments that they read."""
    from gli.engine.fit import method_names, specify  # Loads torch.

    tables: dict[Draw, Path] = {}
    for draw in draws_of(plan, data):
        tables[draw] = output / "people" / f"{draw.name}.csv"
        write_text(tables[draw], draw.table())

    def folder_of(name: str, draw: Draw) -> Path:
        return output / "runs" / f"{snake_case(name)}_{draw.name}"

    runs: dict[tuple[str, Draw], RunSpec] = {}
    for name, entry in {ORIGINAL: Entry(f"original_{plan.data}"), **plan.entries}.items():
        for draw, table in tables.items():
            if name == ORIGINAL and draw.number > 0:
                continue
            settings: dict[str, Any] = {
                "seed_everything": plan.seed + draw.original,
                "checkpoint.monitor": None,
                "figures.enabled": False,
                "early_stopping.patience": None,
                "audit.views": True,
                "trainer.val_check_interval": NEVER,
                **plan.settings,
                **entry.settings,
                "data.assignment": str(table.absolute()),
            }
            waits = name not in (ORIGINAL, RETRAINED)
            runs[name, draw] = specify(
                [*expand(entry.config, config, method_names()), *flags_of(settings)],
                row=name,
                column=draw.name,
                folder=folder_of(name, draw),
                originals=output / "originals",
                after=frozenset({folder_of(ORIGINAL, replace(draw, number=0))} if waits else ()),
            )
    return runs


def read_fleets(runs: Mapping[tuple[str, Draw], Path | None], failed: Sequence[str]) -> tuple[dict[str, Fleet], Fleet]:
    """Return the models of each method, and the originals (iteration 0 of the runs of a method).

    ``runs`` has the folder of each finished run, and None where there is none. DataError if too few have finished.
    """
    finished: dict[str, list[tuple[Draw, Path]]] = {}
    for (name, draw), run in runs.items():
        if run is not None and name != ORIGINAL:
            finished.setdefault(name, []).append((draw, run))
    if RETRAINED not in finished or len(finished) < 2:
        raise DataError("No method of the audit has a finished run. " + " ".join(failed))
    # Methods are compared model by model, so all need the same draws.
    common = set.intersection(*({draw.name for draw, _ in models} for models in finished.values()))
    pairs = {draw.original // 2 for draw, _ in finished[RETRAINED] if draw.name in common}
    if len(pairs) < LEAST_PAIRS:
        raise DataError(
            f"All methods have finished the draws of {len(pairs)} pairs of originals; an audit needs {LEAST_PAIRS}. "
            "Leave out the methods that fail (--methods). " + " ".join(failed)
        )
    shared = {name: [(draw, run) for draw, run in models if draw.name in common] for name, models in finished.items()}
    fleets = {}
    with progress("Reading models", len(shared)) as tick:
        for name, models in shared.items():
            fleets[name] = read_fleet(models)
            tick(1)
    unlearned = next(name for name in shared if name != RETRAINED)
    return fleets, read_fleet(shared[unlearned], iteration=0)


def costs_of(runs: Mapping[tuple[str, Draw], Path | None]) -> dict[str, float]:
    """Return the median training time of each method as a share of that of retraining."""
    seconds: dict[str, list[float]] = {}
    for (name, _), run in runs.items():
        cost = read_cost(run).get("training_seconds") if run is not None else None
        if cost is not None:
            seconds.setdefault(name, []).append(float(cost))
    medians = {name: median(values) for name, values in seconds.items()}
    retrained = medians.get(RETRAINED)
    return {name: value / retrained for name, value in medians.items()} if retrained else {}
