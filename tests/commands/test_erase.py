"""``gli erase`` and ``gli purge`` on the command line: quick help, exit statuses, one message for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from gli.commands.erase import STEPS
from gli.commands.main import main
from gli.erasure.batch_purge import purge_batch
from gli.erasure.certificate import release
from tests.helpers.erasure import BACKBONE, ask, fake_run, files_below, make_home, make_store


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(make_home(tmp_path / "home"))
    return tmp_path / "home"


def test_status_and_verify_need_no_torch():
    code = "import gli.erasure.requests, gli.erasure.certificate, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_requests_from_init_to_status(home, capsys):
    init = ["erase", "init", "--weights", "classifier.pth", "--backbone", BACKBONE, "--table", "faces.csv"]
    init += ["--held-out", "held_out.csv", "--root", "photos", "--image-size", "24"]
    assert main(init) == 0
    shown = capsys.readouterr().out
    assert "Smallest AUC" in shown
    assert main(init) == 0
    assert capsys.readouterr().out == shown
    assert main(["erase", "add", "--subject", "ana", "--received", "2026-01-31"]) == 2
    assert "Did you mean 'anna'" in capsys.readouterr().err
    assert main(["erase", "add", "--subject", "anna", "--received", "2026-01-31"]) == 0
    assert "due 2026-02-28" in capsys.readouterr().out
    assert main(["erase", "plan", "--no-measure"]) == 0
    assert "route: retrain" in capsys.readouterr().out
    assert main(["erase", "status"]) == 0
    line, head = capsys.readouterr().out.splitlines()
    assert head.startswith("ledger: ")
    assert "anna" not in line
    assert "batch-1" in line
    assert main(["erase", "status", "--fail-if-due-in", "7d"]) == 1
    assert main(["erase", "status", "--fail-if-due-in", "soon"]) == 2
    assert main(["erase", "purge"]) == 2
    assert "No batch is run or purged: gli erase run comes first" in capsys.readouterr().err
    assert main(["erase", "release", "--batch", "batch-1"]) == 2
    assert main(["erase", "run", "--batch", "../x"]) == 2


def test_a_store_is_made_of_safetensors_and_not_of_a_file_that_cannot_be_read(home, capsys):
    init = ["erase", "init", "--backbone", BACKBONE, "--table", "faces.csv", "--held-out", "held_out.csv"]
    init += ["--root", "photos", "--image-size", "24", "--weights"]
    (home / "empty.pth").touch()
    assert main([*init, "empty.pth"]) == 2
    assert "empty.pth: cannot be read as a checkpoint (EOFError)" in capsys.readouterr().err
    state = torch.load("classifier.pth")
    save_file({name: each.contiguous() * float("nan") for name, each in state.items()}, "nan.safetensors")
    assert main([*init, "nan.safetensors"]) == 2
    assert "not finite" in capsys.readouterr().err
    assert not (home / "erasures").exists()
    save_file({name: each.contiguous() for name, each in state.items()}, "classifier.safetensors")
    assert main([*init, "classifier.safetensors"]) == 0
    assert main([*init, "classifier.safetensors"]) == 0


def test_held_out_people_in_the_table_are_refused(home, capsys):
    init = ["erase", "init", "--weights", "classifier.pth", "--backbone", BACKBONE, "--table", "faces.csv"]
    assert main([*init, "--held-out", "faces.csv", "--root", "photos", "--image-size", "24"]) == 2
    assert "must never have been in training" in capsys.readouterr().err


def test_a_certificate_that_was_changed_does_not_verify(home, capsys):
    store = make_store(home)
    ask(store, "anna")
    fake_run(store)
    purge_batch(store)
    folder = release(store).folder
    certificate = str(folder / "certificate.json")
    assert main(["erase", "verify", certificate, "--weights", str(folder / "model.safetensors")]) == 0
    assert capsys.readouterr().out.endswith("verified\n")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (home / "changed").write_bytes(data)
    assert main(["erase", "verify", certificate, "--weights", str(home / "changed")]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is not a file of weights of this release" in error


def test_purge_of_a_folder_that_holds_nothing_of_gli_changes_nothing(home, capsys):
    before = files_below(home)
    assert main(["purge", "photos", "--names", "anna"]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    (home / "runs/gli_x/version_0").mkdir(parents=True)
    (home / "runs/gli_x/version_0/config.yaml").write_text("people: [anna]\n")
    assert main(["purge", "runs", "--names", "anna", "--dry-run"]) == 0
    assert "would be removed" in capsys.readouterr().out
    assert main(["purge", "runs", "--names", "anna"]) == 0
    assert not (home / "runs/gli_x").exists()
    assert json.loads((home / "runs/purge.json").read_bytes())["left"] == []
    assert {name: data for name, data in files_below(home).items() if not name.startswith("runs")} == before


def test_every_step_has_a_help(capsys):
    for step in STEPS:
        with pytest.raises(SystemExit) as end:
            main(["erase", step, "--help"])
        assert end.value.code == 0
    assert "--accept-risk" in capsys.readouterr().out
