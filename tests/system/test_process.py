from __future__ import annotations

import subprocess
import sys

import numpy as np


def test_the_peak_is_of_this_process_and_rises_with_its_memory():
    # In a fresh process: another test may have left so much freed memory that the block takes no more.
    script = (
        "import numpy as np\nfrom gli.system.process import memory\n"
        "before, _ = memory()\nblock = np.ones(30_000_000)\nnow, peak = memory()\n"
        "print(before, now, peak, int(block.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, now, peak, total = map(int, done.stdout.split())
    assert 200e6 < now - before < 300e6
    assert peak >= now
    assert total == 30_000_000


def test_the_peak_of_a_child_is_not_its_parents():
    block = np.ones(60_000_000)  # Half a gigabyte, which the child never has.
    done = subprocess.run(
        [sys.executable, "-c", "from gli.system.process import memory; print(memory()[1])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 200e6 < block.nbytes
