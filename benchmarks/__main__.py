"""``make bench``: every comparison, as a Markdown table and as JSON.

    python -m benchmarks                 all of them, about half an hour on two cores
    python -m benchmarks images audits   some of them

Two ways of doing one thing are timed in turn in one run, so that the ratios hold on a machine that is busy with other
things; what is absolute (seconds of the start) is not. The plain ways are written out here in straightforward torch.
"""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import audits, images, iterations, memory, speed, startup
from benchmarks.plain import PLAIN
from benchmarks.timing import MACHINE, Finding, markdown
from gli.speed.freed_memory import keep_freed_memory
from gli.system.console import progress
from gli.system.files import atomic_write

OUTPUT = Path("benchmarks/results.json")
SIZES = (64, 128)

GROUPS: dict[str, list[Callable[[], Finding | list[Finding]]]] = {
    "gli": [lambda size=size, steps=steps: iterations.gli_iteration(size, steps) for size in SIZES for steps in (2, 5)],
    "audits": [lambda: audits.audit(64), lambda: audits.audit(128, rounds=2)],
    "speed": [
        *(lambda size=size: speed.pixel_gradient(size) for size in SIZES),
        speed.density,
        lambda: audits.memory_kept(64),
    ],
    "images": [
        *(lambda size=size: images.cached(size) for size in SIZES),
        *(lambda size=size: images.first_decode(size) for size in SIZES),
        images.opening,
    ],
    "framework": [lambda method=method: iterations.framework(method) for method in PLAIN],
    "startup": [startup.help_page, startup.first_iteration],
    "memory": [lambda size=size: memory.peak(size) for size in SIZES],
}


def write(path: Path, found: list[Finding]) -> None:
    """What was found so far, as JSON and as a table beside it."""
    report = {"machine": MACHINE, "findings": [asdict(one) for one in found]}
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(report, indent=2) + "\n")
    with atomic_write(path.with_suffix(".md")) as aside:
        aside.write_text(f"{MACHINE}\n\n{markdown(found)}\n")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"some of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"the JSON; the table lies beside it ({OUTPUT})")
    options = parser.parse_args()
    unknown = set(options.groups) - GROUPS.keys()
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    todo = [one for name in options.groups or GROUPS for one in GROUPS[name]]
    found: list[Finding] = []
    failed = 0
    keep_freed_memory()  # As the command does. What is compared with has it too.
    with progress("Timing", len(todo)) as advance:
        for one in todo:
            try:
                result = one()
            except Exception:  # The others still count.
                traceback.print_exc()
                failed += 1
            else:
                found += result if isinstance(result, list) else [result]
                write(options.output, found)
            advance(1)
    print(f"\n{MACHINE}\n\n{markdown(found)}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
