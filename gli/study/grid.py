"""The configuration of a benchmark: a grid of methods, variants, backbones and seeds on one data set."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from gli.errors import DataError, SettingError, did_you_mean
from gli.reporting import SELECTIONS, Select
from gli.reporting.claims import Comparison, read_comparison
from gli.runs.folder import snake_case
from gli.system.files import read_yaml

#: The settings of a benchmark and the type of each.
SETTINGS: Mapping[str, type] = {
    "data": str,
    "methods": dict,
    "seeds": list,
    "seed_data": bool,
    "backbones": list,
    "settings": dict,
    "variants": dict,
    "select": str,
    "resamples": int,
    "compare": list,
}
#: Settings that earlier versions called otherwise.
RENAMED = {"draws": "resamples"}
#: Types of settings in words, for messages.
EXPECTED = {str: "a name", dict: "names with settings", list: "a list", bool: "true or false", int: "a whole number"}
NAME_OF_CONFIG = re.compile(r"\w[\w.-]*")
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Entry:
    """A method or a variant of the grid.

    Attributes:
        config: Name of its configuration.
        settings: Its own settings, by dotted name.
    """

    config: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The contents of ``configs/benchmark/<data>.yaml``.

    Attributes:
        data: Data set: the configuration of a method is called ``<method>_<data>``.
        entries: Methods, then variants, by name. The file has ``methods`` as a list of names or as names with
            settings, and ``variants`` as names with a ``config`` and ``settings``.
        seeds: Seeds.
        seed_data: Whether the seed is also that of the data (``data.seed``), so that other people are drawn.
        backbones: Backbones, each of which repeats the grid; empty for that of the configurations.
        settings: Settings of all cells, by dotted name; the settings of an entry override them.
        select: Which audit of a run is reported, see :func:`gli.reporting.results.load_results`.
        resamples: Number of bootstrap resamples for the confidence intervals of every run; 0 for none.
        compare: Claims that one entry is better than another, which the report decides.
    """

    data: str
    entries: Mapping[str, Entry]
    seeds: Sequence[int] = (0,)
    seed_data: bool = False
    backbones: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    select: Select = "final_score"
    resamples: int = 0
    compare: Sequence[Comparison] = ()

    def restricted(
        self,
        methods: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        backbones: Sequence[str] | None = None,
    ) -> Grid:
        """Return the grid of some methods and variants, and of other seeds or backbones; None leaves them as they are.

        Claims about methods and variants that are left out are left out too.

        Raises:
            SettingError: If the grid has no such method or variant.
        """
        for name in methods or ():
            if name not in self.entries:
                raise SettingError(
                    f"--methods: the benchmark has no {name!r}.{did_you_mean(name, self.entries)} "
                    f"Known: {', '.join(self.entries)}."
                )
        entries = {name: entry for name, entry in self.entries.items() if not methods or name in methods}
        kept = {*entries, "Original"}
        return replace(
            self,
            entries=entries,
            seeds=seeds or self.seeds,
            backbones=backbones or self.backbones,
            compare=tuple(claim for claim in self.compare if {claim.of, claim.baseline} <= kept),
        )

    def changed(self, settings: Mapping[str, Any]) -> Grid:
        """Return the grid with these settings in all cells, also where a method has its own."""
        kept = {
            name: replace(entry, settings={key: value for key, value in entry.settings.items() if key not in settings})
            for name, entry in self.entries.items()
        }
        return replace(self, entries=kept, settings={**self.settings, **settings})


def read_pairs(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return settings from arguments such as ``data.split=identity``; values are read as YAML.

    Args:
        option: Name of the command-line option, for messages.
        pairs: The arguments.

    Raises:
        SettingError: If one has another form.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingError(f"{option} {pair}: expected NAME=VALUE, such as data.split=identity.")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingError(f"{option} {pair}: the value cannot be read. Put it in quotes.") from error
    check_settings(option, settings)
    return settings


def read_grid(path: Path) -> Grid:
    """Read the configuration of a benchmark.

    Raises:
        SettingError: If the file cannot be read, or a setting in it is unknown, missing or has an unusable value.
    """
    example = "A benchmark names data, methods and seeds, such as configs/benchmark/synthetic.yaml."
    contents = read_settings(path, "the configuration of a benchmark", example)
    methods = contents.get("methods")
    if isinstance(methods, list):
        contents = {**contents, "methods": {str(name): {} for name in methods}}
    _check_types(path, contents)
    _check_values(path, contents)
    entries = _entries(path, contents)
    for place, settings in {
        **{f"settings of {name}": entry.settings for name, entry in entries.items()},
        "settings": contents.get("settings", {}),
    }.items():
        check_settings(f"{path}, {place}", settings)
    others = {name: value for name, value in contents.items() if name not in ("methods", "variants", "compare")}
    return Grid(entries=entries, compare=_claims(path, contents.get("compare", []), entries), **others)


def read_settings(path: Path, kind: str, example: str) -> Mapping[Any, Any]:
    """Return the settings in a YAML file, unchecked.

    Args:
        path: The file.
        kind: Kind of file, for the message.
        example: Sentence about what such a file holds.

    Raises:
        SettingError: If the file cannot be read or holds no settings.
    """
    try:
        contents = read_yaml(path, kind)
    except DataError as error:
        raise SettingError(str(error)) from error
    if not isinstance(contents, Mapping):
        raise SettingError(f"{path}: holds no settings. {example}")
    return contents


def check_names(path: Path, contents: Mapping[Any, Any], known: Collection[str]) -> None:
    """Refuse unknown settings, and a file that lacks ``data`` or ``methods``.

    Raises:
        SettingError: Naming the setting.
    """
    for name in contents:
        if name not in known:
            raise SettingError(
                f"{path}: there is no setting {name!r}.{did_you_mean(str(name), known)} Known: {', '.join(known)}."
            )
    for name in ("data", "methods"):
        if name not in contents:
            raise SettingError(f"{path}: the setting {name!r} is missing. Add it.")


def _check_types(path: Path, contents: Mapping[Any, Any]) -> None:
    """Refuse settings that are unknown, missing, or of another type."""
    for name in contents:
        if name in RENAMED:
            raise SettingError(f"{path}: the setting {name!r} is now called {RENAMED[name]!r}. Rename it.")
    check_names(path, contents, SETTINGS)
    for name, value in contents.items():
        if not _is(value, SETTINGS[name]):
            raise SettingError(f"{path}: {name} is {value!r}; expected {EXPECTED[SETTINGS[name]]}.")


def _is(value: Any, kind: type) -> bool:
    """Return whether a value is of a type; unlike in Python, true and false are not numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _check_values(path: Path, contents: Mapping[str, Any]) -> None:
    """Refuse values that no run can use."""
    data, select, resamples = contents["data"], contents.get("select", "final_score"), contents.get("resamples", 0)
    if not NAME_OF_CONFIG.fullmatch(data):
        raise SettingError(f"{path}: data is {data!r}; expected the last part of the configurations' names.")
    for seed in contents.get("seeds", []):
        if not _is(seed, int) or not 0 <= seed <= LARGEST_SEED:
            raise SettingError(f"{path}: seeds has {seed!r}; expected whole numbers from 0 to {LARGEST_SEED}.")
    for backbone in contents.get("backbones", []):
        if not isinstance(backbone, str):
            raise SettingError(f"{path}: backbones has {backbone!r}; expected names.")
    if select not in SELECTIONS:
        raise SettingError(f"{path}: select is {select!r}; expected one of {', '.join(SELECTIONS)}.")
    if resamples < 0:
        raise SettingError(f"{path}: resamples is {resamples}; it must not be negative.")


def _entries(path: Path, contents: Mapping[str, Any]) -> dict[str, Entry]:
    """Return the methods and variants by name."""
    entries = {}
    for name, settings in contents["methods"].items():
        if not isinstance(name, str) or not isinstance(settings, dict):
            raise SettingError(f"{path}: methods has {name!r}: {settings!r}; expected a name and its settings.")
        entries[name] = Entry(f"{snake_case(name)}_{contents['data']}", settings)
    for name, variant in contents.get("variants", {}).items():
        if (
            not isinstance(name, str)
            or not isinstance(variant, dict)
            or not isinstance(variant.get("config"), str)
            or not isinstance(variant.get("settings", {}), dict)
        ):
            raise SettingError(
                f"{path}: variants has {name!r}: {variant!r}; expected a name, with the name of a config and settings."
            )
        entries[name] = Entry(variant["config"], variant.get("settings", {}))
    return entries


def _claims(path: Path, claims: Sequence[Any], entries: Mapping[str, Entry]) -> tuple[Comparison, ...]:
    """Return the claims; their methods are entries of the benchmark, or the original that every run starts from."""
    known = {*entries, "Original"}
    comparisons = []
    for claim in claims:
        try:
            comparison = read_comparison(claim)
            for name in (comparison.of, comparison.baseline):
                if name not in known:
                    raise SettingError(f"the benchmark has no {name!r}.{did_you_mean(name, known)}")
        except SettingError as error:
            raise SettingError(f"{path}: compare has {claim!r}: {error}") from error
        comparisons.append(comparison)
    return tuple(comparisons)


def check_settings(place: str, settings: Mapping[Any, Any]) -> None:
    """Refuse settings that a command line cannot express."""
    for name, value in settings.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name):
            raise SettingError(f"{place}: {name!r} is not the name of a setting. Names look like model.lr.")
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{place}: {name} is {value!r} ({error}). Put the value in quotes.") from error
