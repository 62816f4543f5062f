from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest


def test_the_peak_is_of_this_process_and_rises_with_its_memory():
    # In a fresh process: another test may have left so much freed memory that the block takes no more.
    script = (
        "import numpy as np\nfrom gli.system.memory import memory\n"
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
        [sys.executable, "-c", "from gli.system.memory import memory; print(memory()[1])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 200e6 < block.nbytes


FAULTS = """
import resource
import numpy as np
from gli.speed.freed_memory import keep_freed_memory
keep_freed_memory()
faults = []
for _ in range(8):
    blocks = [np.ones(3_000_000) for _ in range(4)]
    del blocks
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
@pytest.mark.parametrize("settings", [{}, {"MALLOC_ARENA_MAX": "8"}])
def test_freed_memory_is_kept_unless_the_environment_has_settings_for_it(settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment)
    pages = 7 * 96e6 / os.sysconf("SC_PAGE_SIZE")
    assert (int(done.stdout) > 0.9 * pages / 512) if settings else (int(done.stdout) < 100)
