"""``kill -9`` at random moments of every step: the same step goes on, and the ledger has each entry once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from gli.erasure.batch_purge import purge_batch
from gli.erasure.batches import group, plan
from gli.erasure.certificate import release, verify
from gli.erasure.store import Policy, Store, read_policy
from gli.system.ledger import parse_lines
from tests.helpers.erasure import NOW, ask, fake_run, files_below, make_home, make_store

KILLS = 30
#: What a process does to the disk; it is killed in front of one of these calls, or in the middle of a write.
CALLS = ("fsync", "replace", "unlink", "link")


def step_create(home: Path) -> None:
    make_store(home, root="photos", table="faces.csv", held_out="held_out.csv")  # So that a copy is a whole home.


@contextmanager
def locked(home: Path) -> Iterator[Store]:
    """Return the store, locked as by the command."""
    store = Store(home / "erasures")
    with store.lock():
        yield store


def step_add(home: Path) -> None:
    with locked(home) as store:
        ask(store, "anna", "ben")


def step_plan(home: Path) -> None:
    with locked(home) as store:
        plan(store, measure=False, now=NOW)


def step_run(home: Path) -> None:
    with locked(home) as store:
        if not store.ledger.read().of_kind("run"):
            group(store, NOW)
            fake_run(store)


def step_purge(home: Path) -> None:
    with locked(home) as store:
        assert purge_batch(store, "batch-1", now=NOW).left == []


def step_release(home: Path) -> None:
    with locked(home) as store:
        release(store, "batch-1", now=NOW)


STEPS: list[Callable[[Path], None]] = [step_create, step_add, step_plan, step_run, step_purge, step_release]


def in_child(step: Callable[[Path], None], home: Path, kill_at: int | None) -> tuple[int, int]:
    """Run a step in a forked process that kills itself at its n-th call; return its signal and the number of calls."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status, calls = 1, 0

        def counted(function):
            def call(*arguments, **options):
                nonlocal calls
                if calls == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                calls += 1
                return function(*arguments, **options)

            return call

        try:
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            os.chdir(home)
            step(home)
            status = 0
        finally:
            os.write(writing, str(calls).encode())
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    return status, int(text or 0)


@pytest.fixture(scope="module")
def undisturbed(template, tmp_path_factory):
    """The home before each step, the number of calls of each step, and the home at the end."""
    root = tmp_path_factory.mktemp("undisturbed")
    homes, counts = [], []
    shutil.copytree(template, root / "0")
    for number, step in enumerate(STEPS):
        homes.append(root / str(number))
        shutil.copytree(homes[-1], root / str(number + 1))
        status, calls = in_child(step, root / str(number + 1), None)
        assert (status, calls > 0) == (0, True)
        counts.append(calls)
    return homes, counts, root / str(len(STEPS))


def kinds(home: Path) -> list[str]:
    return [entry["kind"] for entry in parse_lines((home / "erasures/ledger.jsonl").read_bytes(), "").entries]


def test_a_step_that_is_killed_anywhere_goes_on(undisturbed, tmp_path):
    homes, counts, last = undisturbed
    generator = random.Random(0)
    moments = [(number, call) for number, count in enumerate(counts) for call in range(count)]
    assert len(moments) > 2 * KILLS
    for number, call in generator.sample(moments, KILLS):
        home = tmp_path / f"{number}-{call}"
        shutil.copytree(homes[number], home)
        status, _ = in_child(STEPS[number], home, call)
        assert os.WTERMSIG(status) == signal.SIGKILL
        with chdir(home):
            for step in STEPS[number:]:
                step(home)
        assert kinds(home) == kinds(last), (number, call)
        assert {name for name in files_below(home)} == {name for name in files_below(last)}, (number, call)
        verify(home / "erasures/releases/batch-1/certificate.json")
        for name, data in files_below(home / "erasures").items():
            assert b"anna" not in data, name
        shutil.rmtree(home)


def test_two_processes_at_once_wait_for_each_other(store):
    before = len(store.ledger.read().entries)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                with store.lock():
                    time.sleep(0.02)
                    store.ledger.append("test", {"child": number})
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    entries = store.ledger.read().entries[before:]
    assert sorted(entry["child"] for entry in entries) == [0, 1, 2, 3]


def test_the_lock_of_a_killed_process_is_free(store):
    child = os.fork()
    if child == 0:
        with store.lock():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with store.lock():
        pass


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_or_interrupted_while_it_trains_goes_on(tmp_path):
    home = make_home(tmp_path / "home")
    policy = {"route": "retrain", "utility_margin": 0.9}
    policy |= {"recipe": {"epochs": 30, "lr": 0.01}, "trainer_settings": {"accelerator": "cpu"}}
    (home / "policy.yaml").write_text(yaml.safe_dump(policy))
    store = make_store(home, policy=read_policy(home / "policy.yaml"))
    ask(store, "anna", "ben")
    plan(store, measure=False, now=NOW)
    command = [sys.executable, "-m", "gli", "erase", "run", "--store", str(store.folder)]
    work = store.batch("batch-1") / "work"
    for kill, how in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGINT)):
        process = subprocess.Popen(
            command,
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # A job in the background ignores Ctrl-C.
        )
        begun, log = time.time(), "retrain-*/lightning_logs/*/*/checkpoints/last.ckpt"
        while process.poll() is None and not any(path.stat().st_mtime > begun for path in work.glob(log)):
            time.sleep(0.05)
        time.sleep(0.1 * kill)
        assert process.poll() is None
        os.killpg(process.pid, how)
        said = process.communicate()[1]
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert said.endswith("gli erase run: stopped. The same command continues.\n")
            assert "Traceback" not in said
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert len(list(work.glob("retrain-*/lightning_logs/*/version_*"))) == 1
    assert len(store.ledger.read().of_kind("run")) == 1


COMMANDS = (
    ("add", "--subject", "anna", "--received", "2026-11-03"),
    ("plan",),
    ("run",),
    ("purge",),
    ("release",),
    ("add", "--subject", "ben", "--received", "2026-11-04"),
    ("plan", "--no-measure"),
    ("run", "--route", "unlearn"),
    ("purge", "--accept-risk", "a test"),
    ("release",),
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_that_is_killed_at_random_moments_goes_on(tmp_path):
    """The commands themselves, with real training, killed with all their children; 30 kills in all."""
    first, second = make_home(tmp_path / "first"), make_home(tmp_path / "second")
    settings = {"recipe": {"epochs": 3, "lr": 0.01}, "trainer_settings": {"accelerator": "cpu"}}
    for home in (first, second):
        make_store(home, policy=Policy(route="retrain", utility_margin=0.9, references=3, **settings))

    def start(home: Path, arguments: tuple[str, ...]) -> subprocess.Popen:
        command = [sys.executable, "-m", "gli", "erase", *arguments, "--store", str(home / "erasures")]
        return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(process: subprocess.Popen) -> None:
        _, error = process.communicate()
        assert process.returncode in (0, 3, 4), error.decode()

    generator, killed = random.Random(1), 0
    for arguments in COMMANDS:
        begun = time.monotonic()
        finish(start(first, arguments))
        seconds = time.monotonic() - begun
        for _ in range(KILLS // len(COMMANDS)):
            process = start(second, arguments)
            with suppress(subprocess.TimeoutExpired):
                process.wait(generator.uniform(0.2, 0.9) * seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
            process.communicate()
        finish(start(second, arguments))
    assert killed >= KILLS // 2
    assert kinds(second) == kinds(first)
    assert set(files_below(second)) == set(files_below(first))
    for name in ("batch-1", "batch-2"):
        verify(second / f"erasures/releases/{name}/certificate.json")
    for path, data in files_below(second / "erasures").items():
        assert b"anna" not in data, path
        assert b"ben" not in data, path
