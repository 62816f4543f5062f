"""``make scaling``: seconds and bytes as a run grows, and the growth that was fitted to them; writes docs/scaling.md.

python -m benchmarks.scaling
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.audits import auditing
from benchmarks.beside import beside, silence, some_weights
from benchmarks.faces import files
from benchmarks.plain import gli
from benchmarks.timing import MACHINE, seconds
from gli.data import FaceTable
from gli.data import splits as splitting
from gli.metrics.jensen_shannon import jensen_shannon_distance
from gli.metrics.membership_inference import membership_inference_accuracy
from gli.system.console import progress
from gli.system.files import atomic_write

PAGE = Path("docs/scaling.md")
ROUNDS = 3


@dataclass(frozen=True)
class Growth:
    """What was measured while one thing grew.

    Attributes:
        title: What grew, and in what.
        over: Name of what grew.
        at: Its values.
        measured: Medians by name; names end in a unit.
        linear: Whether a straight line is fitted (what does not begin at nothing), or a power.
    """

    title: str
    over: str
    at: Sequence[int]
    measured: Mapping[str, Sequence[float]]
    linear: bool = False

    def fit(self, values: Sequence[float]) -> str:
        """The fitted growth in words."""
        if self.linear:
            slope, start = np.polyfit(self.at, values, 1)
            return f"{start:.3g} + {slope:.3g} n"
        power = np.polyfit(np.log(self.at), np.log(values), 1)[0]
        return f"n^{power:.2f}"

    def table(self) -> str:
        """A Markdown table: a row for each value, the fit in the last."""
        names = list(self.measured)
        lines = [f"## {self.title}", "", f"| {self.over} | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
        for place, number in enumerate(self.at):
            lines.append(f"| {number:,} | {' | '.join(f'{self.measured[name][place]:.3g}' for name in names)} |")
        lines.append(f"| grows as | {' | '.join(self.fit(self.measured[name]) for name in names)} |")
        return "\n".join(lines)


def median(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median seconds of some calls."""
    return statistics.median(seconds(function) for _ in range(rounds))


def images() -> Growth:
    """First use of a table and one audit, from its JPEG files."""
    folder, counts = files(), (600, 1200, 2400)
    lines = (folder / "faces.csv").read_text().splitlines()
    measured: dict[str, list[float]] = {"first use, s": [], "cache, MB": [], "one audit, s": []}
    with tempfile.TemporaryDirectory() as cache:
        for count in counts:
            table = folder / f"first-{count}.csv"
            rows = [line.rpartition(",")[0] for line in lines[: count + 1]]
            table.write_text("\n".join(rows) + "\n")

            def first_use(table: Path = table, count: int = count) -> FaceTable:
                # All but a few images are evaluated, so that an audit is of as many as there are.
                data = FaceTable(
                    str(folder), table.name, image_size=64, cache_dir=f"{cache}/{count}", labels=["age"],
                    split="identity", test_share=0.4, unseen_share=0.4, forget_share=0.9,
                )  # fmt: skip
                with silence():
                    data.prepare_data()
                return data

            measured["first use, s"].append(seconds(first_use))
            size = sum(path.stat().st_size for path in Path(cache, str(count)).iterdir())
            measured["cache, MB"].append(size / 1e6)
            audit, _ = auditing(first_use(), some_weights(folder))
            audit()
            measured["one audit, s"].append(median(audit))
    return Growth("Images", "images", counts, measured)


def identities() -> Growth:
    """Dealing people out to the sets, and checking that nobody is in two: six pictures of each."""
    counts, generator = (1_000, 10_000, 100_000), np.random.default_rng(0)
    measured: dict[str, list[float]] = {"identity split, s": [], "check, s": []}
    shares = {"unseen": 0.1, "test": 0.1, "forget": 0.1}
    for count in counts:
        people = generator.permutation(np.repeat([f"person{number}" for number in range(count)], 6))
        content = np.array([f"{number:032x}" for number in range(len(people))], dtype="S32")
        split = splitting.identity_split(splitting.identity_groups(people, content), shares, "retain", 0)
        measured["identity split, s"].append(
            median(
                lambda people=people, content=content: splitting.identity_split(
                    splitting.identity_groups(people, content), shares, "retain", 0
                )
            )
        )
        measured["check, s"].append(
            median(lambda split=split, people=people, content=content: splitting.check_disjoint(split, people, content))
        )
    return Growth("Identities", "identities", counts, measured)


def losses() -> Growth:
    """The statistics of an audit; from 20,000 losses on, densities are binned."""
    counts, generator = (1_000, 10_000, 100_000, 1_000_000), np.random.default_rng(0)
    measured: dict[str, list[float]] = {"attack, s": [], "Jensen-Shannon distance, s": []}
    for count in counts:
        forget, unseen = generator.exponential(1, count), generator.exponential(1.3, count)
        for name, function in zip(measured, (membership_inference_accuracy, jensen_shannon_distance), strict=True):
            function(forget[:1000], unseen[:1000])
            times = median(lambda function=function, forget=forget, unseen=unseen: function(forget, unseen))
            measured[name].append(times)
    return Growth("Losses in an audit", "losses of each set", counts, measured)


def _fit(*settings: str, threads: int | None = None) -> tuple[dict[str, float], float]:
    """A run of GLI on drawn faces in a process of its own: what it cost, and the MB of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gli", "fit", "--config", "configs/gli_synthetic.yaml", *settings]
        command += [f"--trainer.default_root_dir={folder}", f"--originals={Path('lightning_logs/originals').resolve()}"]
        command += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=-1"]
        environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
        subprocess.run(command, check=True, capture_output=True, env=environment)
        run = Path(folder, "lightning_logs/gli_synthetic/version_0")
        cost = json.loads((run / "cost.json").read_text())
        return cost, sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 1e6


def iterations() -> Growth:
    """A run with an audit after every second iteration: training steps, and what lies in its folder."""
    counts = (10, 20, 40)
    measured: dict[str, list[float]] = {"training steps, s": [], "peak memory, MB": [], "run folder, MB": []}
    for count in counts:
        cost, size = _fit(f"--trainer.max_steps={count}")
        measured["training steps, s"].append(cost["training_seconds"])
        measured["peak memory, MB"].append(cost["peak_memory_bytes"] / 1e6)
        measured["run folder, MB"].append(size)
    return Growth("Iterations (audited in twos)", "iterations", counts, measured)


def inner_steps() -> Growth:
    """One GLI iteration, ResNet-18, 64 x 64, batch 64."""
    counts = (0, 1, 2, 5)
    times = [beside("GLI", {"least": gli}, 64, 4, [f"--model.steps={steps}"])[0]["gli"] for steps in counts]
    measured = {"iteration, s": [statistics.median(one) for one in times]}
    return Growth("Inner steps (T)", "T", counts, measured, linear=True)


def processes() -> Growth:
    """One run of 20 iterations on 1 and 2 processes, one thread each, with the same 64 images in a step."""
    counts = (1, 2)
    measured: dict[str, list[float]] = {"training steps, s": [], "peak memory of the first, MB": []}
    # The original depends on the batch size: both start from the one that is there.
    original = sorted(Path("lightning_logs/originals").resolve().glob("original_synthetic-*.ckpt"))[0]
    short = [f"--model.original={original}", "--trainer.max_steps=20", "--trainer.val_check_interval=100"]
    for count in counts:
        divided = [f"--data.batch_size={64 // count}", f"--trainer.devices={count}"]
        cost, _ = _fit(*short, *divided, *(["--trainer.strategy=ddp"] if count > 1 else []), threads=1)
        measured["training steps, s"].append(cost["training_seconds"])
        measured["peak memory of the first, MB"].append(cost["peak_memory_bytes"] / 1e6)
    return Growth("Processes (one thread each, 64 images in a step)", "processes", counts, measured)


def main() -> None:
    """Measure everything and write the page."""
    parts = (identities, images, losses, processes, inner_steps, iterations)
    page = (
        "# What grows with what\n\n"
        f"Written by `make scaling` ({MACHINE}); medians of {ROUNDS} where one is quick to repeat, the growth fitted "
        "by least squares (of logarithms, where it is a power)."
    )
    with progress("Growing", len(parts)) as advance:
        for part in parts:
            page += "\n\n" + part().table().replace("\n\n", f"\n\n{part.__doc__}\n\n", 1)
            with atomic_write(PAGE) as aside:  # What was measured stays, whatever comes of the rest.
                aside.write_text(page + "\n")
            advance(1)
    print(page)


if __name__ == "__main__":
    main()
