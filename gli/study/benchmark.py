"""A benchmark: methods, variants, backbones and seeds on one data set, each combination one run, and their report."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jsonargparse.typing import NonNegativeInt

from gli.errors import DataError, SettingError, did_you_mean
from gli.reporting import Select
from gli.reporting.claims import Claims, Comparison
from gli.reporting.write import write_report
from gli.runs.configs import expand
from gli.runs.read import read_run
from gli.runs.spec import finished_run
from gli.study.settings import Entry, Methods, Seed, check_settings, entries_of, flags_of, from_settings, read_study
from gli.system.files import writable

if TYPE_CHECKING:
    from gli.runs.spec import RunSpec

#: Folder of the runs in that of a benchmark.
CELLS = "cells"


@dataclass(frozen=True)
class Grid:
    """The contents of ``configs/benchmark/<data>.yaml``.

    Attributes:
        data: Data set: the configuration of a method is called ``<method>_<data>``.
        methods: Methods as a list of names, or as names with settings.
        seeds: Seeds.
        seed_data: Whether the seed is also that of the data (``data.seed``), so that other people are sampled.
        backbones: Backbones, each of which repeats the grid; empty for that of the configurations.
        settings: Settings of all runs, by dotted name; the settings of a method or variant override them.
        variants: Variants by name, each with a ``config`` and ``settings``.
        select: Which audit of a run is reported, see :func:`gli.reporting.results.select_audit`.
        resamples: Number of bootstrap resamples for the confidence intervals of every run; 0 for none.
        compare: Claims that one method or variant is better than another, which the report decides.
        entries: Methods, then variants, by name.
        claims: The claims, read.
    """

    data: Annotated[str, "a name"]
    methods: Annotated[Methods, "names, or names with settings"]
    seeds: Annotated[list[Seed], "a list of whole numbers from 0 to 4294967295"] = field(default_factory=lambda: [0])
    seed_data: Annotated[bool, "true or false"] = False
    backbones: Annotated[list[str], "a list of names"] = field(default_factory=list)
    settings: Annotated[dict[str, Any], "names with values"] = field(default_factory=dict)
    variants: Annotated[dict[str, Entry], "names, each with the name of a config and settings"] = field(
        default_factory=dict
    )
    select: Annotated[Literal["final_score", "held_out", "end"], "one of final_score, held_out, end"] = "final_score"
    resamples: Annotated[NonNegativeInt, "a whole number that is not negative"] = 0
    compare: Annotated[list[Any], "a list"] = field(default_factory=list)
    entries: Mapping[str, Entry] = field(init=False, compare=False)
    claims: tuple[Comparison, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check what types do not say, and read the methods."""
        entries = {**entries_of(self.methods, self.data), **self.variants}
        for name, entry in entries.items():
            check_settings(f"settings of {name}", entry.settings)
        check_settings("settings", self.settings)
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "claims", tuple(self._claim(contents) for contents in self.compare))

    def _claim(self, contents: Any) -> Comparison:
        """Return a claim; its methods are entries of the benchmark, or the original that every run starts from."""
        names = {*self.entries, "Original"}
        try:
            if not isinstance(contents, Mapping):
                raise SettingError("expected names as of, with, score, at and claim")
            comparison = from_settings(Comparison, contents, spelled={"baseline": "with"})
            for name in (comparison.of, comparison.baseline):
                if name not in names:
                    raise SettingError(f"the benchmark has no {name!r}.{did_you_mean(name, names)}")
        except SettingError as error:
            raise SettingError(f"compare has {contents!r}: {error}") from error
        return comparison

    def restricted(
        self,
        methods: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        backbones: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Grid:
        """Return the grid of some methods and variants, of other seeds or backbones, or with settings for all runs.

        Claims about methods and variants that are left out are left out too. SettingError for an unknown one.
        """
        for name in methods or ():
            if name not in self.entries:
                raise SettingError(
                    f"--methods: the benchmark has no {name!r}.{did_you_mean(name, self.entries)} "
                    f"Known: {', '.join(self.entries)}."
                )
        changed = settings or {}
        entries = {
            name: replace(entry, settings={key: value for key, value in entry.settings.items() if key not in changed})
            for name, entry in self.entries.items()
            if not methods or name in methods
        }
        grid = replace(
            self,
            seeds=list(seeds or self.seeds),
            backbones=list(backbones or self.backbones),
            settings={**self.settings, **changed},
        )
        claims = tuple(claim for claim in self.claims if {claim.of, claim.baseline} <= {*entries, "Original"})
        object.__setattr__(grid, "entries", entries)
        object.__setattr__(grid, "claims", claims)
        return grid


def read_grid(path: Path) -> Grid:
    """Read the configuration of a benchmark, see :func:`read_study`."""
    return read_study(Grid, path, "a benchmark", {"draws": "resamples"})


def runs_of(grid: Grid, benchmark: Path, output: Path, originals: Path) -> list[RunSpec]:
    """Return the runs of a grid, seed by seed, originals first.

    The configurations of the methods are looked for near ``benchmark``, the file of the grid.

    Raises:
        GLIError: If a method has no configuration, a setting is wrong, or two runs have the same folder.
    """
    from gli.engine.fit import method_names, specify  # Loads torch.

    entries = sorted(grid.entries.items(), key=lambda item: item[0] != "Original")
    configs = {}
    for name, entry in entries:
        try:
            configs[name] = expand(entry.config, benchmark, method_names())
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from error
    cells = list(itertools.product(grid.seeds, grid.backbones or (None,), entries))
    folders = [_folder_of(output, name, seed, backbone) for seed, backbone, (name, _) in cells]
    if len(set(folders)) < len(folders):
        raise SettingError(
            "Two cells of the benchmark have the same name and seed. Name each method, variant and seed once."
        )
    runs: list[RunSpec] = []
    parsed: dict[tuple[str, str | None], RunSpec] = {}  # Settings are parsed once for all seeds: it takes long.
    for folder, (seed, backbone, (name, entry)) in zip(folders, cells, strict=True):
        waits = "Original" in grid.entries and name != "Original"
        place: dict[str, Any] = {
            "row": name if backbone is None else f"{name}, {backbone}",
            "column": f"seed {seed}",
            "folder": folder,
            "after": frozenset({_folder_of(output, "Original", seed, backbone)} if waits else ()),
        }
        own = {**grid.settings, **entry.settings}
        settings: dict[str, Any] = {"seed_everything": seed, **own, **({"data.seed": seed} if grid.seed_data else {})}
        settings |= {"model.backbone": backbone} if backbone else {}
        if (name, backbone) not in parsed:
            parsed[name, backbone] = specify([*configs[name], *flags_of(settings)], originals=originals, **place)
        first = parsed[name, backbone]
        seeded = {"seed": int(seed)} if grid.seed_data else {}
        data = {**first.data, "init_args": {**first.data["init_args"], **seeded}}
        runs.append(replace(first, seed=first.seed if "seed_everything" in own else int(seed), data=data, **place))
    return runs


def _folder_of(output: Path, name: str, seed: int, backbone: str | None) -> Path:
    stem = re.sub(r"[^A-Za-z0-9]+", "_", f"{name} {backbone or ''}").strip("_")
    return output / CELLS / f"{stem}-seed{seed}"


def finished_runs(benchmark: Path) -> tuple[list[Path], list[str]]:
    """Return the folders of the finished runs of a benchmark, and a message for every other cell."""
    folders = sorted(path for path in (benchmark / CELLS).iterdir() if path.is_dir())
    if not folders:
        raise DataError(f"{benchmark}: has no cells. Run the benchmark first.")
    runs = {folder: finished_run(folder) for folder in folders}
    unfinished = [
        f"{folder}: this cell is not finished. Repeat the benchmark to finish it."
        for folder, run in runs.items()
        if run is None
    ]
    return [run for run in runs.values() if run is not None], unfinished


def benchmark(
    config: Path,
    grid: Grid,
    output: Path,
    originals: Path,
    jobs: int = 1,
    cluster: str | None = None,
    select: Select | None = None,
    audit: Path | None = None,
) -> list[str]:
    """Run a benchmark and write its report.

    The arguments are those of the command; ``grid`` is the contents of ``config``, perhaps restricted.

    Returns:
        A message for every cell without a result.

    Raises:
        GLIError: If a setting is wrong, or no cell gave a result.
    """
    from gli.engine.execute import execute, failures, make_executor

    executor = make_executor(jobs, cluster)
    with writable(output, content="the benchmark", setting="--output"):
        output.mkdir(parents=True, exist_ok=True)
    records = execute(runs_of(grid, config, output, originals.absolute()), executor, slots=jobs)
    failed = failures(records)
    names = {_relative(record.run): name_of(record.spec) for record in records if record.run is not None}
    runs = [read_run(run) for run in names]
    if not runs:
        raise DataError("No cell of the benchmark was finished. " + " ".join(failed))
    with writable(output, content="the report", setting="--output"):
        claims = Claims(grid.claims, names)
        return [*failed, *write_report(runs, output, select or grid.select, grid.resamples, failed, audit, claims)]


def name_of(run: RunSpec) -> str:
    """Return the method or variant of a run, without the backbone; a user's own method may have none."""
    return run.row.removesuffix(f", {run.method.get('init_args', {}).get('backbone')}")


def _relative(path: Path) -> Path:
    """Return a path relative to the working directory where it is inside it."""
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
