"""Jobs import the package that started them, also in a folder that holds another folder called ``gli``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gli
from gli.runs.spec import finished_run
from tests.helpers.tiny import TINY

METHOD = """
from gli.methods import FineTune

class Pull(FineTune):
    pass
"""
#: Runs a specification as an executor of this name does, with the package of this checkout.
START = """
import sys
sys.path.append({root!r})
from pathlib import Path
from gli.engine import local
from gli.engine.cluster import _run
from gli.engine.execute import SCRIPT, execute, failures, make_executor
from gli.engine.fit import specify
sys.path.remove({root!r})
sys.path.append("")
if __name__ == "__main__":
    local.usable_cores = lambda: 1
    spec = specify({arguments!r}, row="Pull", column="seed 0", folder=Path("job"))
    if sys.argv[1] == "local":
        sys.exit(len(failures(execute([spec], make_executor(1)))))
    spec.prepare()
    sys.exit(_run([str(SCRIPT), "job"], str(spec.log), ".", 0))
"""


@pytest.fixture
def parent_of_a_clone(tmp_path: Path) -> Path:
    """A folder that holds a clone called gli, which is no package, and a module with a user's own method."""
    (tmp_path / "gli" / "gli").mkdir(parents=True)
    (tmp_path / "gli" / "gli" / "__init__.py").touch()
    (tmp_path / "my_method.py").write_text(METHOD)
    return tmp_path


@pytest.mark.parametrize(("executor", "clone"), [("local", True), ("worker of a cluster", False)])
def test_jobs_run_the_package_that_started_them(executor, clone, parent_of_a_clone):
    folder = parent_of_a_clone if clone else parent_of_a_clone / "gli"
    arguments = ["--model=my_method.Pull", *TINY, "--trainer.max_steps=1"]
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
    assert finished_run(folder / "job") is not None
