"""Run the benchmarks of speed and memory; write a Markdown table and JSON.

    python -m benchmarks                 all groups, about half an hour on two cores
    python -m benchmarks images audits   some groups

gli and its baseline, written in straightforward PyTorch, are timed in turn within one run, so that other load on the
machine affects both alike. Absolute times (group startup) have no baseline and depend on that load.
"""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import audits, images, iterations, memory, neighbour, speed, startup
from benchmarks.bare_loops import BARE_LOOPS
from benchmarks.timing import MACHINE, Measurement, markdown
from gli.system.console import progress
from gli.system.files import write_text

OUTPUT = Path("benchmarks/results.json")
SIZES = (64, 128)

#: Functions of each group. Each returns one or more rows of the table.
GROUPS: dict[str, list[Callable[[], Measurement | list[Measurement]]]] = {
    "gli": [partial(iterations.gli_iteration, size, steps) for size in SIZES for steps in (2, 5)],
    "audits": [partial(audits.audit, 64), partial(audits.audit, 128, rounds=2)],
    "speed": [partial(speed.small_maps, size) for size in SIZES],
    "images": [
        *(partial(images.augmented_epoch, size) for size in SIZES),
        *(partial(images.fill_cache, size) for size in SIZES),
        images.open_cache,
    ],
    "framework": [partial(iterations.fit_iteration, method) for method in BARE_LOOPS],
    "neighbour": [neighbour.beside_a_neighbour],
    "precision": [neighbour.half_precision],
    "startup": [startup.help_page, startup.first_iteration],
    "memory": [partial(memory.peak_memory, size) for size in SIZES],
}


def write(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write measurements as JSON, and as a table into a file of the same name with the suffix ``.md``."""
    report = {"machine": MACHINE, "measurements": [asdict(measurement) for measurement in measurements]}
    write_text(path, json.dumps(report, indent=2) + "\n")
    write_text(path.with_suffix(".md"), f"{MACHINE}\n\n{markdown(measurements)}\n")


def main() -> None:
    """Run the groups named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"groups to run: {', '.join(GROUPS)} (default: all)")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"JSON file; the table is written next to it as .md ({OUTPUT})"
    )
    options = parser.parse_args()
    unknown = set(options.groups) - GROUPS.keys()
    if unknown:
        parser.error(f"unknown groups: {', '.join(sorted(unknown))}; choose from {', '.join(GROUPS)}")
    benchmarks = [benchmark for group in options.groups or GROUPS for benchmark in GROUPS[group]]
    measurements: list[Measurement] = []
    failures = 0
    with progress("Benchmarks", len(benchmarks)) as advance:
        for benchmark in benchmarks:
            try:
                result = benchmark()
            except Exception:  # One failure must not discard the other measurements.
                traceback.print_exc()
                failures += 1
            else:
                measurements += result if isinstance(result, list) else [result]
                write(options.output, measurements)
            advance(1)
    print(f"\n{MACHINE}\n\n{markdown(measurements)}")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
