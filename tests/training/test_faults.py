"""Faults of machine, data and arithmetic in the middle of a run: one message, and finished work is kept."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gli.commands.main import machine_error, main
from gli.methods import Method
from gli.models.checkpoints import load_classifier
from gli.training.resume import iteration_of
from tests.helpers.tiny import TINY

ARGUMENTS = [*TINY, "--early_stopping.patience=null", "--trainer.max_steps=6"]
pytestmark = pytest.mark.usefixtures("at_home")


class Faulty(Method):
    """Fails in its fourth iteration, in a way that a test chooses."""

    fault = staticmethod(lambda: 1.0)

    def unlearn(self, retain, forget):
        return self.loss(retain) * (type(self).fault() if self.iteration == 3 else 1.0)


def run_with(fault, monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    return main(["fit", f"--model={__name__}.Faulty", *ARGUMENTS, *arguments])


def newest() -> Path:
    return max(Path("lightning_logs/faulty_synthetic").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))


def said(capsys) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_at_once(value, monkeypatch, capsys):
    """At the fourth iteration, though the next audit would be at the sixth."""
    assert run_with(lambda: value, monkeypatch, "--trainer.val_check_interval=2") == 0
    text = said(capsys)
    assert "Stopped at iteration 4: the losses of Faulty are no longer finite" in text
    assert "smaller --model.lr" in text
    assert text.count("Stopped at iteration") == 1
    assert iteration_of(newest() / "checkpoints/last.ckpt") == 2
    for name in ("last", "best"):
        weights = load_classifier(newest() / f"checkpoints/{name}.ckpt").state_dict().values()
        assert all(value.isfinite().all() for value in weights)


def too_much() -> float:
    return float(torch.empty(2**50).sum())


def too_much_on_a_gpu() -> float:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nOf the allocated memory ...")


def too_much_for_python() -> float:
    raise MemoryError


@pytest.mark.parametrize("fault", [too_much, too_much_on_a_gpu, too_much_for_python])
def test_too_little_memory_is_one_message_with_the_settings_to_lower(fault, monkeypatch, capsys):
    assert run_with(fault, monkeypatch, "--trainer.val_check_interval=1") == 2
    text = said(capsys)
    assert "gli: out of memory (" in text
    assert "Lower --data.batch_size" in text
    assert iteration_of(newest() / "checkpoints/last.ckpt") == 3


def test_other_errors_are_not_taken_for_faults_of_the_machine(monkeypatch):
    def broken() -> float:
        raise RuntimeError("shapes do not match")

    assert machine_error(RuntimeError("shapes do not match")) is None
    assert machine_error(FileNotFoundError(errno.ENOENT, "no such file")) is None
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_with(broken, monkeypatch)


@pytest.mark.parametrize(
    ("limit", "where"),
    [(200_000, "the pixel cache cannot be written"), (2_000_000, "last.ckpt: the checkpoint cannot be written")],
    ids=["cache", "checkpoint"],
)
def test_a_disk_that_takes_no_more_is_one_message(limit, where, tmp_path):
    """A limit to the size of files, which the system enforces as it does a full disk."""
    done = subprocess.run(
        [sys.executable, "-m", "gli", "fit", "--model=FineTune", *ARGUMENTS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    text = re.sub(r"\s+", " ", done.stderr)
    assert done.returncode == 2, text
    assert where in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("pixels-*.npy")) or limit > 200_000
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_log_that_cannot_be_written_is_one_message_and_the_run_can_be_resumed(monkeypatch, capsys):
    def full() -> float:
        (newest() / "metrics.csv").unlink()
        (newest() / "metrics.csv").symlink_to("/dev/full")
        return 1.0

    assert run_with(full, monkeypatch, "--trainer.val_check_interval=1") == 2
    text = said(capsys)
    assert "cannot be written (No space left on device)" in text
    assert "--ckpt_path last continues" in text
    folder = newest()
    assert iteration_of(folder / "checkpoints/last.ckpt") in (3, 4)
    (folder / "metrics.csv").unlink()
    assert run_with(lambda: 1.0, monkeypatch, "--trainer.val_check_interval=1", "--ckpt_path=last") == 0
    assert newest() == folder
    assert iteration_of(folder / "checkpoints/last.ckpt") == 6


def test_a_log_folder_that_cannot_be_written_is_refused_before_anything_is_trained(capsys, tmp_path):
    """Read-only for everyone, for the superuser too."""
    folder = Path("/proc") if os.path.isdir("/proc") else tmp_path
    if folder == tmp_path:
        folder.chmod(0o500)
    assert main(["fit", "--model=FineTune", *ARGUMENTS, f"--trainer.default_root_dir={folder}"]) == 2
    assert "the folder of this run cannot be created" in said(capsys)


def test_an_image_that_turns_bad_between_two_runs_is_named(make_mufac, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = make_mufac(tmp_path / "mufac")
    settings = [
        one for one in ARGUMENTS if "people" not in one and "pictures" not in one and "SyntheticFaces" not in one
    ]
    settings += ["--data=MUFAC", f"--data.root={root}", "--data.split=identity", "--data.batch_size=4"]
    assert main(["fit", "--model=FineTune", *settings]) == 0
    assert main(["fit", "--model=FineTune", *settings]) == 0
    image = next(path for path in sorted((root / "train_images").iterdir()) if path.suffix.lower() == ".jpg")
    image.write_bytes(image.read_bytes()[:200])
    capsys.readouterr()
    assert main(["fit", "--model=FineTune", *settings]) == 2
    assert f"{image}: this image cannot be read" in said(capsys)
