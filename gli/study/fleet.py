"""The configuration of an audit with a fleet of originals, and the runs that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gli.auditing.chosen_on import NOT_DECLARED
from gli.auditing.fleet import Draw, plan_draws
from gli.auditing.verdict import MARGIN
from gli.data import FaceDataModule
from gli.data.split_plan import identity_groups
from gli.engine.data import build_data
from gli.engine.job import NEVER, Job
from gli.errors import SettingError, did_you_mean
from gli.runs.configs import argument, contents_of, find_config
from gli.runs.folder import snake_case
from gli.study.grid import Entry, check_names, check_settings, read_settings
from gli.system.digest import digest
from gli.system.files import atomic_write, read_yaml

#: The settings of an audit and the type of each.
SETTINGS: Mapping[str, type | tuple[type, ...]] = {
    "data": str,
    "methods": (dict, list),
    "originals": int,
    "draws": int,
    "forget_share": (int, float),
    "margin": (int, float),
    "seed": int,
    "settings": dict,
    "chosen_on": dict,
}
#: Guesses for the estimate of time: core seconds of an original and of an unlearning, per thousand training images.
ORIGINAL_SECONDS, UNLEARNING_SECONDS = 20.0, 12.0
ORIGINAL, RETRAINED = "Original", "Retrained"
#: Sizes that ``--budget`` chooses from, the largest first: numbers of originals and draws.
SIZES = ((16, 2), (12, 2), (8, 2), (8, 1), (6, 1))


@dataclass(frozen=True)
class FleetPlan:
    """The contents of ``configs/audit/<data>.yaml``.

    Attributes:
        data: Data set: the configuration of a method is called ``<method>_<data>``.
        entries: Methods by name, each with its settings.
        originals: Number of originals K.
        draws: Number of draws J from each.
        forget_share: Share of the seen people that a draw forgets.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.
        seed: Seed of the assignment of people, and of the first original.
        settings: Settings of all runs, by dotted name.
        chosen_on: Values of settings, by dotted name, whose people chose the settings of the methods (such as
            ``data.seed: [0, 1]``); nobody of them may be audited. Empty if that is not declared.
    """

    data: str
    entries: Mapping[str, Entry]
    originals: int = 16
    draws: int = 2
    forget_share: float = 1 / 3
    margin: float = MARGIN
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    chosen_on: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def who_chose(self) -> str:
        """Sentence about the people who chose the settings."""
        if not self.chosen_on:
            return NOT_DECLARED
        used = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in self.chosen_on.items())
        return f"the settings of the methods were chosen on other people ({used})"

    def restricted(self, methods: Sequence[str] | None) -> FleetPlan:
        """Return the plan of some methods; retrained models are always part of it.

        Raises:
            SettingError: If there is no such method.
        """
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
        kept = {name: entry for name, entry in self.entries.items() if name in methods or name == RETRAINED}
        return replace(self, entries=kept)

    def minutes(self, images: int, jobs: int) -> float:
        """Return an estimate of the time that all runs take.

        Args:
            images: Number of training images of an original.
            jobs: Number of runs at once.
        """
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
    """Read the configuration of an audit.

    Raises:
        SettingError: If the file cannot be read, or a setting is unknown, missing or has an unusable value.
    """
    example = "An audit names data and methods, see configs/audit/."
    contents = read_settings(path, "the configuration of an audit", example)
    check_names(path, contents, SETTINGS)
    for name, value in contents.items():
        if not isinstance(value, SETTINGS[name]) or isinstance(value, bool):
            raise SettingError(f"{path}: {name} is {value!r}, which is of the wrong type.")
    for name, values in contents.get("chosen_on", {}).items():
        if not isinstance(values, list):
            raise SettingError(f"{path}: chosen_on has {name}: {values!r}; expected a list of values.")
    methods = contents["methods"]
    methods = {str(name): {} for name in methods} if isinstance(methods, list) else methods
    if not all(isinstance(settings, dict) for settings in methods.values()):
        raise SettingError(f"{path}: methods are names, each with its settings (or {{}}).")
    for place, own in {"settings": contents.get("settings", {}), **methods}.items():
        check_settings(f"{path}, {place}", own)
    for name, own in methods.items():
        if any(key.startswith("data.") for key in own):
            raise SettingError(f"{path}: {name} sets data of its own; all methods must have the same people.")
    if contents.get("seed", 0) < 0 or not 0 < contents.get("margin", MARGIN) < 0.5:
        raise SettingError(f"{path}: seed must not be negative, and margin must lie between 0 and 0.5.")
    methods = {RETRAINED: {}, **methods}
    entries = {name: Entry(f"{snake_case(name)}_{contents['data']}", own) for name, own in methods.items()}
    others = {name: value for name, value in contents.items() if name != "methods"}
    return FleetPlan(entries=entries, **others)


def data_of(plan: FleetPlan, config: Path) -> FaceDataModule:
    """Return the data module of an audit.

    Args:
        plan: The plan.
        config: File of the plan, near which the configurations of the methods are.
    """
    run = find_config(f"retrained_{plan.data}", near=config)
    section = read_yaml(run, "a configuration")["data"]
    settings = [argument(name, value) for name, value in plan.settings.items() if name.startswith("data.")]
    return build_data(run.parent / section if isinstance(section, str) else section, settings)


def check_who_chose(plan: FleetPlan, data: FaceDataModule) -> None:
    """Refuse an audit of the people who chose the settings of the methods.

    Raises:
        SettingError: If they are the same, or ``chosen_on`` names a setting that the data does not have, or the
            rehearsal of the same data.
    """
    for name, values in plan.chosen_on.items():
        own = name.removeprefix("data.")
        if own == "rehearsal":
            raise SettingError(
                "chosen_on: data.rehearsal: an audit of methods assigns all people of the data to its models, those of "
                "a rehearsal too. Name what sets other people apart, such as data.seed; or audit runs, with gli audit "
                "RUN --chosen-on REHEARSAL."
            )
        if not name.startswith("data.") or not hasattr(data, own):
            raise SettingError(f"chosen_on: {name} is not a setting of {type(data).__name__}.")
        if getattr(data, own) in values:
            raise SettingError(
                f"The people of {name} {getattr(data, own)} chose the settings of the methods (chosen_on), so they "
                "cannot judge them. Audit other people."
            )


def people_of(data: FaceDataModule) -> list[list[str]]:
    """Return the people of a data set, grouped by household and by identical files."""
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


@dataclass(frozen=True)
class Planned:
    """A job of an audit: a method on a draw.

    Attributes:
        method: Name of the method; ``Original`` for the training of an original.
        draw: The draw.
        job: The run.
    """

    method: str
    draw: Draw
    job: Job


def plan_jobs(plan: FleetPlan, config: Path, data: FaceDataModule, output: Path) -> list[Planned]:
    """Return the runs of an audit, originals first, and write the assignments of people that they read.

    Args:
        plan: The plan.
        config: File of the plan.
        data: The data module.
        output: Folder of the audit.
    """
    tables: dict[Draw, Path] = {}
    for draw in draws_of(plan, data):
        tables[draw] = output / "people" / f"{draw.name}.csv"
        with atomic_write(tables[draw]) as temporary:
            temporary.write_text(draw.table(), encoding="utf-8")
    runs = output / "runs"
    planned = []
    for name, entry in {ORIGINAL: Entry(f"original_{plan.data}"), **plan.entries}.items():
        config_of_run = find_config(entry.config, near=config)
        contents = contents_of(config_of_run)
        for draw, table in tables.items():
            if name == ORIGINAL and draw.number > 0:
                continue
            settings: dict[str, Any] = {
                "seed_everything": plan.seed + draw.original,
                "trainer.enable_progress_bar": False,
                "checkpoint.monitor": None,
                "early_stopping.patience": None,
                "trainer.val_check_interval": NEVER,
                **plan.settings,
                **entry.settings,
            }
            fixed = tuple(argument(key, value) for key, value in settings.items())
            folder = runs / f"{snake_case(name)}_{draw.name}"
            original = runs / f"{snake_case(ORIGINAL)}_{replace(draw, number=0).name}"
            places = (
                f"--data.assignment={table.absolute()}",
                f"--trainer.default_root_dir={folder.absolute()}",
                f"--originals={(output / 'originals').absolute()}",
            )
            job = Job(
                name,
                draw.name,
                folder,
                ("fit", f"--config={config_of_run.absolute()}", *fixed, *places),
                digest(*contents, *fixed, draw.table()),
                frozenset() if name in (ORIGINAL, RETRAINED) else frozenset({original}),
            )
            planned.append(Planned(name, draw, job))
    return planned
