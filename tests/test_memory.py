from __future__ import annotations

import subprocess
import sys

import numpy as np

from gli.processes import memory


def test_the_peak_is_of_this_process_and_rises_with_what_it_takes():
    before, _ = memory()
    block = np.ones(30_000_000)
    now, peak = memory()
    assert 200e6 < now - before < 300e6
    assert peak >= now
    assert block.sum() == 30_000_000


def test_the_peak_of_a_child_is_not_its_parents():
    block = np.ones(60_000_000)  # Half a gigabyte, which the child never has.
    done = subprocess.run(
        [sys.executable, "-c", "from gli.processes import memory; print(memory()[1])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 200e6 < block.nbytes
