"""The contract of the seam, on local processes and on Ray."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from gli.engine import local
from gli.engine.execute import Executor, make_executor
from gli.engine.local import Local
from gli.errors import SettingError
from tests.helpers.processes import alive, eventually

#: Waits until a second job has started, so that two are there at once also on a busy machine.
WAIT_FOR_ANOTHER = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / sys.argv[2]).touch()
while len(list(folder.iterdir())) < 2:
    time.sleep(0.01)
"""
CODE = "import sys; print('hello', sys.argv[1]); print('error', file=sys.stderr); sys.exit(int(sys.argv[1]))"


def python(code: str, *arguments: str) -> list[str]:
    file = NamedTemporaryFile("w", suffix=".py", delete=False)  # noqa: SIM115
    with file:
        file.write(code)
    return [file.name, *arguments]


@pytest.fixture(params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "ray":
        pytest.importorskip("ray")
    chosen = Local(2) if request.param == "local" else make_executor(2, cluster="local")
    yield chosen
    chosen.close()


@pytest.mark.timeout(60)
def test_exit_statuses_come_back_and_output_goes_to_the_log(executor: Executor, tmp_path: Path) -> None:
    statuses = [0, 1, 2, 0]
    logs = [tmp_path / f"{number}/log.txt" for number in range(4)]
    futures = [executor.submit(python(CODE, str(status)), log=log) for status, log in zip(statuses, logs, strict=True)]
    assert [future.result(timeout=50) for future in futures] == statuses
    for status, log in zip(statuses, logs, strict=True):
        assert sorted(log.read_text().split()) == sorted(["hello", str(status), "error"])


@pytest.mark.timeout(60)
def test_no_more_jobs_at_once_than_asked_for(executor: Executor, tmp_path: Path) -> None:
    code = WAIT_FOR_ANOTHER + "start = time.time(); time.sleep(0.2); print(start, time.time())"
    commands = [python(code, str(tmp_path / "started"), str(number)) for number in range(4)]
    futures = [executor.submit(each, log=tmp_path / f"{number}.txt") for number, each in enumerate(commands)]
    assert [future.result(timeout=50) for future in futures] == [0] * 4
    spans = [tuple(map(float, (tmp_path / f"{number}.txt").read_text().split())) for number in range(4)]
    assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) <= 2


@pytest.mark.timeout(60)
def test_a_job_sees_no_gpu_where_there_is_none(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert executor.submit(python("import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"), log=log).result() == 0
    assert log.read_text().strip() == "''"


@pytest.mark.timeout(60)
def test_closing_leaves_no_process_behind(executor: Executor, tmp_path: Path) -> None:
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    logs = [tmp_path / f"{number}.txt" for number in range(2)]
    for log in logs:
        executor.submit(python(code), log=log)
    assert eventually(lambda: all(log.is_file() and log.read_text().strip() for log in logs))
    executor.close()
    processes = [int(log.read_text()) for log in logs]
    assert eventually(lambda: not any(alive(process) for process in processes))


@pytest.mark.timeout(60)
def test_ray_starts_the_job_of_a_killed_worker_again(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    executor = make_executor(1, cluster="local")
    code = (
        "import os, signal, sys, time, pathlib\nmark = pathlib.Path(sys.argv[1])\n"
        "if not mark.exists():\n    mark.touch()\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)\n"
    )
    try:
        future = executor.submit(python(code, str(tmp_path / "mark")), log=tmp_path / "log.txt")
        assert future.result(timeout=50) == 0
    finally:
        executor.close()


@pytest.mark.timeout(60)
def test_ray_assigns_one_gpu_to_each_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    init = ray.init
    monkeypatch.setattr(ray, "init", lambda **settings: init(**settings, num_gpus=2))
    executor = make_executor(2, cluster="local")
    code = WAIT_FOR_ANOTHER + "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    logs = [tmp_path / f"{number}.txt" for number in range(2)]
    try:
        scripts = [python(code, str(tmp_path / "started"), log.name) for log in logs]
        futures = [executor.submit(script, log=log) for script, log in zip(scripts, logs, strict=True)]
        assert [future.result(timeout=50) for future in futures] == [0, 0]
    finally:
        executor.close()
    assert {log.read_text().strip() for log in logs} == {"0", "1"}


def test_local_jobs_get_one_gpu_each_and_wait_for_a_free_one(tmp_path: Path) -> None:
    executor = Local(3, gpus=[4, 7])
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    logs = [tmp_path / f"{number}.txt" for number in range(3)]
    try:
        futures = [executor.submit(python(code), log=log) for log in logs]
        assert [future.result(timeout=50) for future in futures] == [0] * 3
    finally:
        executor.close()
    devices = [log.read_text().strip() for log in logs]
    assert set(devices) == {"4", "7"}


def test_a_script_is_forked_from_a_process_that_has_its_imports(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("import os\nparent = os.getpid()\n")
    (tmp_path / "light.py").write_text("import heavy, os, sys\nprint(heavy.parent != os.getpid(), sys.argv[1:])\n")
    code = (
        "import sys; sys.path.insert(0, '.')\nfrom pathlib import Path\nfrom gli.engine.local import Local\n"
        "executor = Local(1, preload=['heavy'])\n"  # At the top level of the script, which no job may repeat.
        "future = executor.submit(['light.py', 'x', '-y'], log=Path('log.txt'))\n"
        "print(future.result())\nexecutor.close()\n"
    )
    (tmp_path / "main.py").write_text(code)
    import subprocess

    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.strip() == "0", done.stderr
    assert (tmp_path / "log.txt").read_text().strip() == "True ['x', '-y']"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_jobs_share_the_cores_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``taskset`` or SLURM: threads for all cores of the machine would wait for each other."""
    for cores, jobs, expected in (({3}, 2, "1"), (set(range(8)), 2, "4")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        local, log = Local(jobs), tmp_path / f"{len(cores)}.txt"
        local.submit(python("import os; print(os.environ['OMP_NUM_THREADS'])"), log=log).result(timeout=30)
        local.close()
        assert log.read_text().strip() == expected


def test_a_killed_job_has_the_status_of_its_signal(tmp_path: Path) -> None:
    executor = Local(1)
    log = tmp_path / "log.txt"
    future = executor.submit(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"), log=log)
    assert eventually(lambda: log.is_file() and bool(log.read_text().strip()))
    os.kill(int(log.read_text()), signal.SIGKILL)
    assert future.result(timeout=30) == -signal.SIGKILL
    executor.close()
    assert threading.active_count() >= 1


def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="--jobs is 0"):
        make_executor(0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingError, match="pip install"):
        make_executor(1, cluster="local")


def test_the_environment_is_not_copied_while_it_is_changed(tmp_path: Path) -> None:
    executor = Local(1)
    try:
        with local._ENVIRONMENT:
            future = executor._pool.submit(executor._run, python(""), tmp_path / "log.txt")
            with pytest.raises(TimeoutError):
                future.result(timeout=0.5)
        assert future.result(timeout=60) == 0
    finally:
        executor.close()
