"""Killed, interrupted and simultaneous runs: the same command ends with the weights of an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from gli.commands.main import main
from gli.engine.resume import AtomicCheckpointIO, find_run, iteration_of, lock_run
from gli.errors import DataError
from gli.methods import Method
from gli.runs import log as logs
from gli.runs.folder import snake_case
from gli.system.classes import concrete_subclasses
from gli.system.files import atomic_write
from tests.helpers.forks import Fork, at_step, in_cache, in_checkpoint, run_in_fork
from tests.helpers.processes import alive, eventually
from tests.helpers.tiny import EVERY, NEEDED, TINY

ARGUMENTS = [*TINY, *EVERY, "--data.recipe.epochs=2", "--trainer.max_steps=4"]
GLI = ["fit", "--model=GLI", *ARGUMENTS]
SHIPPED = sorted(name for name, method in concrete_subclasses(Method).items() if method.__module__.startswith("gli."))
#: The iteration that a run of any method ends with, audited and saved after every second one; kills come in between.
END = 18
TO_THE_END = ["--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", f"--trainer.max_steps={END}"]
#: Settings that give the optimiser and the schedule a state, and each stage and each pass several iterations.
OWN = {name: ["--model.momentum=0.9"] for name in SHIPPED}
OWN |= {"SSD": [], "NoisyFineTune": [], "LoTUS": NEEDED["LoTUS"]}
OWN |= {"Original": ["--data.recipe.milestones=[1,2]"]}
OWN |= {"Retrained": ["--data.recipe.schedule=linear"]}
OWN |= {"BadTeaching": ["--model.batch_size=8"], "GLI": [*OWN["GLI"], "--model.class_weight.initial=50"]}
OWN |= {"UNSIR": [*OWN["UNSIR"], "--model.impair_epochs=4"], "SCRUB": [*OWN["SCRUB"], "--model.forget_batch_size=4"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return the folder of an uninterrupted run, in a separate working directory."""
    home = tmp_path_factory.mktemp("whole")
    done = run_in_fork(GLI, home)
    assert done.returncode == 0, done.stderr
    return home / "lightning_logs/gli_synthetic/version_0"


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]


def assert_identical(run: Path, other: Path) -> None:
    for checkpoint in ("last.ckpt", "best.ckpt"):
        values, other_values = weights(run, checkpoint), weights(other, checkpoint)
        assert values.keys() == other_values.keys()
        assert all(torch.equal(value, other_values[name]) for name, value in values.items())
    # Iterations that ran again after the kill are in the log once.
    assert logs.read_rows(run / "metrics.csv") == logs.read_rows(other / "metrics.csv")
    audits = [{path.name: path.read_bytes() for path in folder.glob("audits/*")} for folder in (run, other)]
    assert audits[0] == audits[1]


@pytest.mark.parametrize(
    ("kill", "originals"),
    [
        (in_cache, 0),
        (partial(at_step, method="Original", iteration=7), 0),
        (partial(in_checkpoint, number=2), 0),
        (partial(at_step, method="GLI", iteration=3), 1),
        (partial(in_checkpoint, number=6), 1),
    ],
    ids=["filling the cache", "training the original", "writing its checkpoint", "unlearning", "writing a checkpoint"],
)
def test_a_run_killed_anywhere_continues_with_the_same_command(kill, originals, whole, tmp_path, monkeypatch):
    assert run_in_fork(GLI, tmp_path, partial(kill, signal.SIGKILL)).returncode == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    assert len(list(Path("lightning_logs/originals").glob("*.ckpt"))) == originals
    assert main([*GLI, "--ckpt_path=last"]) == 0
    runs = sorted(Path("lightning_logs/gli_synthetic").glob("version_*/checkpoints/last.ckpt"))
    assert len(runs) == 1
    assert_identical(runs[0].parent.parent, whole)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_at_random_times_ends_like_an_uninterrupted_one(tmp_path):
    """Three runs, each killed and resumed until it finishes; the times are random, between start-up and end."""
    arguments = [argument for argument in GLI if "max_steps" not in argument]
    arguments += ["--trainer.max_steps=20", "--data.recipe.epochs=4"]
    command = [*arguments, "--ckpt_path=last"]
    start = time.monotonic()
    assert run_in_fork(command, tmp_path).returncode == 0
    whole, seconds = tmp_path / "lightning_logs/gli_synthetic/version_0", time.monotonic() - start
    kills, generator = 0, random.Random(0)
    for repeat in range(3):
        home = tmp_path / str(repeat)
        home.mkdir()
        for _ in range(100):
            try:
                assert Fork(command, home).wait(generator.uniform(0.3, 0.8) * seconds).returncode == 0
                break
            except TimeoutError:
                kills += 1
        (checkpoint,) = home.glob("lightning_logs/gli_synthetic/version_*/checkpoints/last.ckpt")
        assert_identical(checkpoint.parent.parent, whole)
        assert not list(home.rglob("*.part"))
    print(f"{kills} kills")
    assert kills >= 3


def kill_in_the_middle(command: list[str], home: Path, run: Path, ahead: int) -> None:
    """Run a command, and kill it when it has logged ``ahead`` iterations more than the run's checkpoint has."""
    last = run / "checkpoints/last.ckpt"
    before = iteration_of(last) or 0

    def is_logged() -> bool:
        with suppress(FileNotFoundError):
            return any(float(row["step"]) >= before + ahead for row in logs.read_rows(run / "metrics.csv"))
        return False

    fork = Fork(command, home)
    reached = eventually(lambda: fork.poll() is not None or is_logged(), 240)
    fork.kill()
    printed = fork.wait().stderr
    assert reached, f"no iteration {before + ahead} in the log after 240 s: {printed}"
    assert fork.returncode == -signal.SIGKILL, f"the run ended by itself: {printed}"
    saved, logged = iteration_of(last) or 0, logs.read_rows(run / "metrics.csv")[-1]["step"]
    print(f"killed after iteration {logged}, with a checkpoint of iteration {saved}")
    assert before < saved < END, "the process was not killed in the middle of the run"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", SHIPPED)
def test_a_run_of_any_method_killed_twice_ends_like_an_uninterrupted_one(method, tmp_path):
    """The kills come 3 iterations after the start and 5 after the checkpoint: neither iteration has a checkpoint."""
    command = ["fit", f"--model={method}", *TINY, *EVERY, *TO_THE_END, *OWN[method]]
    runs = tmp_path / "lightning_logs" / f"{snake_case(method)}_synthetic"
    kill_in_the_middle(command, tmp_path, runs / "version_0", 3)
    kill_in_the_middle([*command, "--ckpt_path=last"], tmp_path, runs / "version_0", 5)
    for resume in (["--ckpt_path=last"], []):
        process = run_in_fork([*command, *resume], tmp_path)
        assert process.returncode == 0, process.stderr
    assert {path.name for path in runs.glob("version_*")} == {"version_0", "version_1"}
    assert iteration_of(runs / "version_1/checkpoints/last.ckpt") == END
    assert_identical(runs / "version_0", runs / "version_1")
    assert not list(tmp_path.rglob("*.part"))


def test_ctrl_c_keeps_finished_work_and_the_run_can_be_resumed(whole, tmp_path, monkeypatch, capsys):
    for place, message in (
        (("Original", 7), "continues the original"),
        (("GLI", 3), "--ckpt_path last continues"),
    ):
        process = run_in_fork(GLI, tmp_path, partial(at_step, signal.SIGINT, *place))
        assert process.returncode == 130, process.stderr
        assert message in " ".join(process.stderr.split())
        assert "Traceback" not in process.stderr
    (checkpoint,) = tmp_path.glob("lightning_logs/gli_synthetic/version_*/checkpoints/last.ckpt")
    assert iteration_of(checkpoint) == 3
    monkeypatch.chdir(tmp_path)
    assert main([*GLI, "--ckpt_path=last"]) == 0
    assert "From lightning_logs/gli_synthetic/version_1" in capsys.readouterr().err
    assert_identical(checkpoint.parent.parent, whole)


def test_a_run_waits_for_an_original_that_another_one_trains(whole, tmp_path):
    first = Fork(GLI, tmp_path, partial(at_step, signal.SIGSTOP, "Original", 3))
    try:
        assert eventually(lambda: first.stopped)
        second = Fork(GLI, tmp_path)
        assert eventually(lambda: "waiting for it to finish" in second.text(1))
        os.kill(first.pid, signal.SIGCONT)
        processes = [first.wait(), second.wait()]
    finally:
        first.kill()
    outputs = [process.stderr for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for number in range(2):
        assert_identical(tmp_path / f"lightning_logs/gli_synthetic/version_{number}", whole)
    assert len(list(tmp_path.glob("lightning_logs/originals/*.ckpt"))) == 1
    assert len(list(tmp_path.glob("data/cache/pixels-*.npy"))) == 1
    assert sum("waiting for it to finish" in output for output in outputs) == 1


def test_a_run_that_another_process_writes_is_not_resumed(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(whole.parents[2])

    def hold() -> None:
        lock = lock_run(whole)
        (tmp_path / "held").touch()
        time.sleep(60)
        del lock

    holder = Fork(hold)
    assert eventually((tmp_path / "held").exists)
    assert main([*GLI, "--ckpt_path=last"]) == 2
    holder.kill()
    assert "another process is writing" in " ".join(capsys.readouterr().err.split())


def test_only_a_run_of_the_same_model_data_and_seed_is_resumed(whole, monkeypatch, capsys):
    settings = yaml.safe_load((whole / "config.yaml").read_text())
    root = whole.parents[1]
    assert find_run(root, "GLI", settings) == whole
    assert find_run(root, "LI", settings) is None
    assert find_run(root, "GLI", {**settings, "trainer": {}}) == whole
    assert find_run(root, "GLI", {**settings, "seed_everything": 1}) is None
    data = {**settings["data"], "init_args": {**settings["data"]["init_args"], "cache_dir": "elsewhere"}}
    assert find_run(root, "GLI", {**settings, "data": data}) == whole
    data["init_args"]["image_size"] = 64
    assert find_run(root, "GLI", {**settings, "data": data}) is None
    monkeypatch.chdir(whole.parents[2])
    assert main(["test", "--model=GLI", *ARGUMENTS, "--seed_everything=1", "--ckpt_path=last"]) == 2
    assert "holds no run of GLI with these settings" in " ".join(capsys.readouterr().err.split())


def test_a_checkpoint_that_cannot_be_written_leaves_the_previous_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"classifier": {"iteration": 1}}, path)
    save = torch.save
    monkeypatch.setattr("gli.engine.resume.torch.save", lambda contents, path: save(contents, "/dev/full"))
    with pytest.raises(DataError, match=r"last.ckpt: the checkpoint cannot be written .*--ckpt_path last"):
        AtomicCheckpointIO().save_checkpoint({"classifier": {"iteration": 2}}, path)
    assert iteration_of(path) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_damaged_or_absent_checkpoint_has_no_iteration(tmp_path):
    path = tmp_path / "last.ckpt"
    assert iteration_of(path) is None
    torch.save({"classifier": {"iteration": 3}}, path)
    assert iteration_of(path) == 3
    path.write_bytes(path.read_bytes()[:-100])
    assert iteration_of(path) is None
    torch.save({"weights": torch.ones(1)}, path)
    assert iteration_of(path) is None


def test_a_log_continues_after_the_iteration_of_the_checkpoint(tmp_path):
    log = logs.MetricsLog(tmp_path, "gli", 0)
    for step in range(4):
        log.log_metrics({"train/loss": float(step)}, step)
    log.log_metrics({"val/accuracy": 0.5}, 3)  # A new column: the file is rewritten.
    path = tmp_path / "gli/version_0/metrics.csv"
    path.write_text(path.read_text() + "4,0.1")  # An incomplete row.
    assert [row["step"] for row in logs.read_rows(path)] == ["0", "1", "2", "3", "3"]
    resumed = logs.MetricsLog(tmp_path, "gli", 0, iteration=2)
    resumed.log_metrics({"train/loss": 9.0, "val/accuracy": 0.25}, 3)
    rows = [(row["step"], row["train/loss"], row["val/accuracy"]) for row in logs.read_rows(path)]
    assert rows == [("0", "0.0", ""), ("1", "1.0", ""), ("2", "2.0", ""), ("3", "9.0", "0.25")]
    new = logs.MetricsLog(tmp_path, "gli", 0)
    new.log_metrics({"train/loss": 1.0}, 1)
    assert [row["step"] for row in logs.read_rows(path)] == ["1"]


def test_a_file_does_not_exist_if_writing_it_fails(tmp_path):
    path = tmp_path / "file"

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_children_end_when_their_parent_is_killed(tmp_path):
    """Otherwise workers that fill the cache, or run a cell of a benchmark, would continue in the background."""
    code = (
        "import multiprocessing, time, os\nfrom gli.system.process import end_with_parent\n"
        "def child(path):\n    end_with_parent()\n    open(path, 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    for number, method in enumerate(('fork', 'forkserver')):\n"
        "        multiprocessing.get_context(method).Process(target=child, args=(f'{number}.pid',)).start()\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    with subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path) as parent:
        children = [tmp_path / f"{number}.pid" for number in range(2)]
        assert eventually(lambda: all(path.is_file() and path.read_text() for path in children))
        parent.kill()
    for path in children:
        assert eventually(lambda path=path: not alive(int(path.read_text())))
