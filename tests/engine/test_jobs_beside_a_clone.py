"""Jobs import the package that started them, also in a folder that holds another folder called ``gli``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gli
from gli.engine.job import finished_run
from tests.helpers.tiny import TINY

METHOD = """
from gli.methods import FineTune

class Pull(FineTune):
    pass
"""
#: Runs the job of a folder as an executor of this name does, with the package of this checkout.
START = """
import sys
sys.path.append({root!r})
from pathlib import Path
from gli.engine.choose import make_executor
from gli.engine.cluster import _run
from gli.engine.job import Job
sys.path.remove({root!r})
if __name__ == "__main__":
    job = Job("Pull", "seed 0", Path("job"), {arguments!r}, "key")
    job.prepare()
    if sys.argv[1] == "local":
        executor = make_executor(1)
        status = executor.submit(job.command, log=job.log).result()
        executor.close()
    else:
        status = _run(job.command, str(job.log), ".", 1, 0)
    sys.exit(status)
"""


@pytest.fixture
def parent_of_a_clone(tmp_path: Path) -> Path:
    """A folder that holds a clone called gli, which is no package, and a module with a user's own method."""
    (tmp_path / "gli" / "gli").mkdir(parents=True)
    (tmp_path / "gli" / "gli" / "__init__.py").touch()
    (tmp_path / "my_method.py").write_text(METHOD)
    return tmp_path


@pytest.mark.parametrize("executor", ["local", "worker of a cluster"])
@pytest.mark.parametrize("clone", [True, False], ids=["beside a clone", "inside another package called gli"])
def test_jobs_run_the_package_that_started_them(executor, clone, parent_of_a_clone):
    folder = parent_of_a_clone if clone else parent_of_a_clone / "gli"
    arguments = (
        "fit",
        "--model=my_method.Pull",
        *TINY,
        "--trainer.max_steps=1",
        f"--trainer.default_root_dir={folder}/job",
    )
    (folder / "my_method.py").write_text(METHOD)
    (parent_of_a_clone / "start").mkdir()
    script = parent_of_a_clone / "start" / "start.py"
    script.write_text(START.format(root=str(Path(gli.__file__).parents[1]), arguments=arguments))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, script, executor], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    log = folder / "job" / "log.txt"
    assert done.returncode == 0, f"{done.stderr}\n{log.read_text() if log.exists() else ''}"
    assert finished_run(folder / "job", "key") is not None
