"""Failures of the machine, the data or the arithmetic during a run: one message, and finished work is kept."""

from __future__ import annotations

import errno
import os
import re
import resource
from pathlib import Path

import pytest
import torch

from gli.commands.main import main
from gli.commands.parse import machine_error
from gli.engine.resume import iteration_of
from gli.methods import Method
from gli.models.checkpoints import load_classifier
from tests.helpers.forks import run_in_fork
from tests.helpers.tiny import TINY

ARGUMENTS = [*TINY, "--early_stopping.patience=null", "--trainer.max_steps=6"]
pytestmark = pytest.mark.usefixtures("at_home")


class Faulty(Method):
    """A method that fails in its fourth iteration: ``fault`` raises or returns a factor of the loss."""

    fault = staticmethod(lambda: 1.0)

    def unlearn(self, retain, forget):
        return self.loss(retain) * (type(self).fault() if self.iteration == 3 else 1.0)


def run_with(fault, monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    return main(["fit", f"--model={__name__}.Faulty", *ARGUMENTS, *arguments])


def newest_run() -> Path:
    return max(Path("lightning_logs/faulty_synthetic").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))


def error_output(capsys) -> str:
    """Return the text on standard error, with single spaces, and assert that it has no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_at_once(value, monkeypatch, capsys):
    """The run stops at iteration 4; the next audit would be at iteration 6."""
    assert run_with(lambda: value, monkeypatch, "--trainer.val_check_interval=2") == 0
    text = error_output(capsys)
    assert "Stopped at iteration 4: the losses of Faulty are no longer finite" in text
    assert "A smaller learning rate or fewer iterations avoid it" in text
    assert text.count("Stopped at iteration") == 1
    assert iteration_of(newest_run() / "checkpoints/last.ckpt") == 2
    for name in ("last", "best"):
        weights = load_classifier(newest_run() / f"checkpoints/{name}.ckpt").state_dict().values()
        assert all(value.isfinite().all() for value in weights)


def out_of_memory() -> float:
    return float(torch.empty(2**50).sum())


def out_of_gpu_memory() -> float:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nOf the allocated memory ...")


def out_of_memory_in_python() -> float:
    raise MemoryError


@pytest.mark.parametrize("fault", [out_of_memory, out_of_gpu_memory, out_of_memory_in_python])
def test_too_little_memory_is_one_message_with_the_settings_to_lower(fault, monkeypatch, capsys):
    assert run_with(fault, monkeypatch, "--trainer.val_check_interval=1") == 2
    text = error_output(capsys)
    assert "gli: out of memory (" in text
    assert "Lower --data.batch_size" in text
    assert iteration_of(newest_run() / "checkpoints/last.ckpt") == 3


def test_other_errors_are_not_reported_as_errors_of_the_machine(monkeypatch):
    def broken() -> float:
        raise RuntimeError("shapes do not match")

    assert machine_error(RuntimeError("shapes do not match")) is None
    assert machine_error(FileNotFoundError(errno.ENOENT, "no such file")) is None
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_with(broken, monkeypatch)


@pytest.mark.parametrize(
    ("limit", "message"),
    [(200_000, "the pixel cache cannot be written"), (2_000_000, "last.ckpt: the checkpoint cannot be written")],
    ids=["cache", "checkpoint"],
)
def test_a_full_disk_is_one_message(limit, message, tmp_path):
    """The test limits the size of files; a write beyond the limit fails as on a full disk."""
    limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    process = run_in_fork(["fit", "--model=FineTune", *ARGUMENTS], tmp_path, before=limited)
    text = re.sub(r"\s+", " ", process.stderr)
    assert process.returncode == 2, text
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("pixels-*.npy")) or limit > 200_000
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_log_that_cannot_be_written_is_one_message_and_the_run_can_be_resumed(monkeypatch, capsys):
    def full() -> float:
        (newest_run() / "metrics.csv").unlink()
        (newest_run() / "metrics.csv").symlink_to("/dev/full")
        return 1.0

    assert run_with(full, monkeypatch, "--trainer.val_check_interval=1") == 2
    text = error_output(capsys)
    assert "cannot be written (No space left on device)" in text
    assert "--ckpt_path last continues" in text
    folder = newest_run()
    assert iteration_of(folder / "checkpoints/last.ckpt") in (3, 4)
    (folder / "metrics.csv").unlink()
    assert run_with(lambda: 1.0, monkeypatch, "--trainer.val_check_interval=1", "--ckpt_path=last") == 0
    assert newest_run() == folder
    assert iteration_of(folder / "checkpoints/last.ckpt") == 6


def test_a_log_folder_that_cannot_be_written_is_refused_before_training(capsys, tmp_path):
    """The folder is read-only, for the superuser too if there is a /proc."""
    folder = Path("/proc") if os.path.isdir("/proc") else tmp_path
    if folder == tmp_path:
        folder.chmod(0o500)
    assert main(["fit", "--model=FineTune", *ARGUMENTS, f"--trainer.default_root_dir={folder}"]) == 2
    assert "the folder of this run cannot be created" in error_output(capsys)


def test_an_image_that_is_damaged_between_two_runs_is_named(make_mufac, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = make_mufac(tmp_path / "mufac")
    settings = [
        argument
        for argument in ARGUMENTS
        if not any(word in argument for word in ("people", "pictures", "SyntheticFaces"))
    ]
    settings += ["--data=MUFAC", f"--data.root={root}", "--data.split=identity", "--data.batch_size=4"]
    assert main(["fit", "--model=FineTune", *settings]) == 0
    assert main(["fit", "--model=FineTune", *settings]) == 0
    image = next(path for path in sorted((root / "train_images").iterdir()) if path.suffix.lower() == ".jpg")
    image.write_bytes(image.read_bytes()[:200])
    capsys.readouterr()
    assert main(["fit", "--model=FineTune", *settings]) == 2
    assert f"{image}: this image cannot be read" in error_output(capsys)
