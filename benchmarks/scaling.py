"""Measure how time and memory grow with the size of a run, fit the growth, and write docs/scaling.md.

python -m benchmarks.scaling
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.audits import make_audit
from benchmarks.bare_loops import gli_minimal
from benchmarks.faces import jpeg_folder
from benchmarks.fit_timing import save_random_weights, silence, time_fit
from benchmarks.timing import MACHINE, image_size, run_command, seconds
from gli.data import FaceTable, split_plan
from gli.metrics.jensen_shannon import jensen_shannon_distance
from gli.metrics.membership_inference import membership_inference_accuracy
from gli.system.console import progress
from gli.system.files import write_text

PAGE = Path("docs/scaling.md")
#: Backbone of ``configs/gli_synthetic.yaml``.
BACKBONE = "resnet18_slim"
#: Number of calls whose median is reported, if one is quick to repeat.
ROUNDS = 3


@dataclass(frozen=True)
class Growth:
    """One section of the page: values measured at several sizes, and their fitted growth.

    Attributes:
        title: Heading of the section.
        description: The work that was measured, in a sentence.
        variable: Name of the variable that grows.
        sizes: Values of the variable.
        measured: Values at each size, by their name, which ends in a unit.
        linear: Fit a straight line, for work that takes time at size 0 too; otherwise fit a power.
    """

    title: str
    description: str
    variable: str
    sizes: Sequence[int]
    measured: Mapping[str, Sequence[float]]
    linear: bool = False

    def fit(self, values: Sequence[float]) -> str:
        """Return the fitted growth of some values as a formula."""
        if self.linear:
            slope, start = np.polyfit(self.sizes, values, 1)
            return f"{start:.3g} + {slope:.3g} n"
        exponent = np.polyfit(np.log(self.sizes), np.log(values), 1)[0]
        return f"n^{exponent:.2f}"

    def section(self) -> str:
        """Return the section in Markdown: a table with a row for each size, and the fit in the last row."""
        names = list(self.measured)
        lines = [f"## {self.title}", "", self.description, ""]
        lines += [f"| {self.variable} | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
        for place, size in enumerate(self.sizes):
            lines.append(f"| {size:,} | {' | '.join(f'{self.measured[name][place]:.3g}' for name in names)} |")
        lines.append(f"| grows as | {' | '.join(self.fit(self.measured[name]) for name in names)} |")
        return "\n".join(lines)


def median_seconds(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median seconds of a few calls."""
    return statistics.median(seconds(function) for _ in range(rounds))


def images(sizes: Sequence[int] = (600, 1200, 2400)) -> Growth:
    """Measure the first use of a table of JPEG files and one audit, by the number of images."""
    folder = jpeg_folder()
    lines = (folder / "faces.csv").read_text().splitlines()
    measured: dict[str, list[float]] = {"first use, s": [], "cache, MB": [], "one audit, s": []}
    with tempfile.TemporaryDirectory() as cache:
        for count in sizes:
            table = folder / f"first-{count}.csv"
            rows = [line.rpartition(",")[0] for line in lines[: count + 1]]
            table.write_text("\n".join(rows) + "\n")

            def first_use(table: Path = table, count: int = count) -> FaceTable:
                # With these shares nearly all images are in an evaluation set, so that the audit grows with the table.
                data = FaceTable(
                    str(folder), table.name, image_size=64, cache_dir=f"{cache}/{count}", labels=["age"],
                    split="identity", test_share=0.4, unseen_share=0.4, forget_share=0.9,
                )  # fmt: skip
                with silence():
                    data.prepare_data()
                return data

            measured["first use, s"].append(seconds(first_use))
            cache_bytes = sum(path.stat().st_size for path in Path(cache, str(count)).iterdir())
            measured["cache, MB"].append(cache_bytes / 1e6)
            audit, _ = make_audit(first_use(), save_random_weights(folder))
            audit()
            measured["one audit, s"].append(median_seconds(audit))
    return Growth("Images", "First use of a table of JPEG files, and one audit of it.", "images", sizes, measured)


def identities(sizes: Sequence[int] = (1_000, 10_000, 100_000)) -> Growth:
    """Measure the random split by identity and its check, by the number of people, with six pictures each."""
    generator = np.random.default_rng(0)
    measured: dict[str, list[float]] = {"identity split, s": [], "check, s": []}
    shares = {"unseen": 0.1, "test": 0.1, "forget": 0.1}

    def assign(people: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_]) -> dict[str, split_plan.Rows]:
        return split_plan.assign_groups(split_plan.identity_groups(people, digests), shares, "retain", 0)

    for count in sizes:
        people = generator.permutation(np.repeat([f"person{number}" for number in range(count)], 6))
        digests = np.array([f"{number:032x}" for number in range(len(people))], dtype="S32")
        splits = assign(people, digests)
        measured["identity split, s"].append(median_seconds(partial(assign, people, digests)))
        measured["check, s"].append(median_seconds(partial(split_plan.describe_overlaps, splits, people, digests)))
    description = "Assign people, with six pictures each, to the splits, and check that nobody is in two splits."
    return Growth("Identities", description, "identities", sizes, measured)


def losses(sizes: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000)) -> Growth:
    """Measure the two statistics of an audit, by the number of losses in each set."""
    generator = np.random.default_rng(0)
    functions = {"attack, s": membership_inference_accuracy, "Jensen-Shannon distance, s": jensen_shannon_distance}
    measured: dict[str, list[float]] = {name: [] for name in functions}
    for count in sizes:
        forget, unseen = generator.exponential(1, count), generator.exponential(1.3, count)
        for name, function in functions.items():
            function(forget[:1000], unseen[:1000])
            measured[name].append(median_seconds(partial(function, forget, unseen)))
    description = "The statistics of an audit; densities of more than 20,000 losses are binned."
    return Growth("Losses in an audit", description, "losses of each set", sizes, measured)


def _fit(*settings: str, threads: int | None = None) -> tuple[dict[str, float], float]:
    """Run GLI on drawn faces in a separate process, from random weights.

    Args:
        settings: More settings of the command line.
        threads: Number of threads of each process; None for PyTorch's default.

    Returns:
        The cost of the run (contents of ``cost.json``), and the size of its folder in MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Training an original model in the same process would count towards the peak memory.
        original = save_random_weights(Path(folder), BACKBONE)
        command = [sys.executable, "-m", "gli", "fit", "--config", "configs/gli_synthetic.yaml", *settings]
        command += [f"--trainer.default_root_dir={folder}", f"--model.original={original}"]
        command += [f"--model.backbone={BACKBONE}"]
        command += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=-1"]
        environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
        run_command(command, environment)
        run = Path(folder, "lightning_logs/gli_synthetic/version_0")
        cost = json.loads((run / "cost.json").read_text())
        return cost, sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 1e6


def iterations(sizes: Sequence[int] = (10, 20, 40)) -> Growth:
    """Measure the training steps, the memory and the folder of a run, by the number of iterations."""
    measured: dict[str, list[float]] = {"training steps, s": [], "peak memory, MB": [], "run folder, MB": []}
    for count in sizes:
        cost, folder_size = _fit(f"--trainer.max_steps={count}")
        measured["training steps, s"].append(cost["training_seconds"])
        measured["peak memory, MB"].append(cost["peak_memory_bytes"] / 1e6)
        measured["run folder, MB"].append(folder_size)
    description = (
        "One run with an audit after every second iteration: its training steps, its memory, and the size of its "
        "folder."
    )
    return Growth("Iterations (every second one audited)", description, "iterations", sizes, measured)


def inner_steps(sizes: Sequence[int] = (0, 1, 2, 5), size: int = 64) -> Growth:
    """Measure an iteration of GLI, by the number of inner steps."""
    measured: dict[str, list[float]] = {"iteration, s": []}
    for steps in sizes:
        times, _ = time_fit("GLI", {"minimal": gli_minimal}, size, 4, [f"--model.steps={steps}"])
        measured["iteration, s"].append(statistics.median(times["gli"]))
    description = f"One GLI iteration, ResNet-18, {image_size(size)}, batch 64."
    return Growth("Inner steps (T)", description, "T", sizes, measured, linear=True)


def processes(sizes: Sequence[int] = (1, 2), iterations: int = 20) -> Growth:
    """Measure the training steps and the memory of a run, by the number of processes with one thread each."""
    measured: dict[str, list[float]] = {"training steps, s": [], "peak memory of the first process, MB": []}
    for count in sizes:
        settings = [f"--trainer.max_steps={iterations}", "--trainer.val_check_interval=100"]
        settings += [f"--data.batch_size={64 // count}", f"--trainer.devices={count}"]
        settings += ["--trainer.strategy=ddp"] if count > 1 else []
        cost, _ = _fit(*settings, threads=1)
        measured["training steps, s"].append(cost["training_seconds"])
        measured["peak memory of the first process, MB"].append(cost["peak_memory_bytes"] / 1e6)
    description = (
        f"One run of {iterations} iterations on {' and '.join(map(str, sizes))} processes, one thread each, with the "
        "same 64 images per step."
    )
    return Growth("Processes (one thread each, 64 images per step)", description, "processes", sizes, measured)


def main() -> None:
    """Measure everything, write the page and print it."""
    benchmarks: Sequence[Callable[[], Growth]] = (identities, images, losses, processes, inner_steps, iterations)
    page = (
        "# How time and memory grow\n\n"
        f"Written by `make scaling` ({MACHINE}). Values are medians of {ROUNDS} where a measurement is quick to "
        "repeat. The growth is fitted by least squares (of logarithms, where it is a power)."
    )
    with progress("Benchmarks", len(benchmarks)) as advance:
        for benchmark in benchmarks:
            page += f"\n\n{benchmark().section()}"
            write_text(PAGE, page + "\n")  # After every section, so that a later failure loses nothing.
            advance(1)
    print(page)


if __name__ == "__main__":
    main()
