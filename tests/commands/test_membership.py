"""Who an original was trained on is recorded or declared; otherwise a run says that its scores mean nothing."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
import torch

from gli.commands.main import main
from gli.engine.fit import run
from gli.models.training_images import TRAINING_IMAGES, drop_training_images, read_training_images
from gli.runs.membership import MEMBERSHIP, read_membership
from tests.helpers.tiny import TINY

pytestmark = pytest.mark.usefixtures("at_home")
FIT = ["fit", "--model=FineTune", *TINY, "--trainer.max_steps=1"]
HELD_OUT = [f"person{number:04d}" for number in range(0, 24, 3)]
MEANINGLESS = "The privacy scores of this run mean nothing"


@pytest.fixture(scope="module")
def first(home):
    """A run whose original is trained first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return run(FIT)


@pytest.fixture(scope="module")
def foreign(first, home) -> Path:
    """The original's weights as a plain state dict, as somebody else would hand them over."""
    path = home / "foreign.pth"
    contents = torch.load(home / first.model.original, weights_only=True)
    torch.save(contents["state_dict"], path)
    return path


def fit(*arguments: str) -> tuple[list[str], Path]:
    """Run a command; return its lines on standard error and the folder of the run."""
    with redirect_stderr(io.StringIO()) as stream:
        command = run([*FIT, *arguments])
    lines = [line.strip() for line in stream.getvalue().splitlines() if line.strip()]
    return lines, Path(str(command.trainer.log_dir))


@pytest.fixture(scope="module")
def unknown(foreign, home) -> tuple[list[str], Path]:
    """A run from the original of somebody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return fit(f"--model.original={foreign}")


@pytest.fixture(scope="module")
def mixed(first, home) -> tuple[list[str], Path]:
    """A run from a known original, whose test and unseen people it has seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return fit(f"--model.original={first.model.original}", "--data.split_seed=1")


# -- neither known nor declared ----------------------------------------------------------------------------------------


def test_a_run_from_an_unknown_original_says_first_and_last_that_its_scores_mean_nothing(
    unknown, foreign, capsys, home
):
    lines, folder = unknown
    for line in (lines[0], lines[-1]):
        assert line.startswith(MEANINGLESS)
        assert str(foreign) in line
        assert "data.held_out" in line
    membership = read_membership(folder)
    assert membership.known == "unknown"
    assert membership.warning == lines[0]
    assert read_training_images(folder / "checkpoints" / "last.ckpt") is None
    # The audit refuses it, the report notes it.
    assert main(["audit", str(folder), "--references", "3", "--output", str(home / "audit")]) == 2
    refusal = capsys.readouterr().err.strip()
    assert refusal.startswith(f"gli audit: {folder}: cannot be audited, because its privacy scores mean nothing")
    assert refusal.count("\n") == 0
    assert not list((home / "audit").glob("references/*"))
    assert main(["report", str(folder), "--output", str(home / "report")]) == 0
    assert f"{folder}: {MEANINGLESS}" in (home / "report" / "results.md").read_text()


def test_validating_such_an_original_or_its_checkpoint_says_so_as_well(unknown, foreign, capsys):
    checkpoint = unknown[1] / "checkpoints" / "last.ckpt"
    # A checkpoint's settings that differ from those of the command line are listed first.
    for end, place in ([f"--model.original={foreign}"], 0), ([f"--ckpt_path={checkpoint}"], 1):
        capsys.readouterr()
        assert main(["validate", "--model=FineTune", *TINY, *end]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert lines[place].startswith(MEANINGLESS)
        assert lines[-1].startswith(MEANINGLESS)


# -- recorded ----------------------------------------------------------------------------------------------------------


def _digests(command, *names: str) -> list[bytes]:
    data = command.datamodule
    return sorted({bytes(each) for name in names for each in data.digests[data.rows(name)]})


def test_originals_and_checkpoints_record_their_training_images(first):
    trained = _digests(first, "retain", "forget")
    assert read_training_images(first.model.original).tolist() == trained
    checkpoints = list((Path(first.trainer.log_dir) / "checkpoints").glob("*.ckpt"))
    assert checkpoints
    for path in checkpoints:
        assert read_training_images(path).tolist() == trained
    assert read_membership(Path(first.trainer.log_dir)).known == "trained here"


def test_a_retrained_model_records_the_retained_images_alone():
    command = run(["fit", "--model=Retrained", *TINY, "--trainer.max_epochs=1"])
    for path in (Path(command.trainer.log_dir) / "checkpoints").glob("*.ckpt"):
        assert read_training_images(path).tolist() == _digests(command, "retain")


def test_a_recorded_original_with_its_own_sets_raises_no_warning(first):
    lines, folder = fit(f"--model.original={first.model.original}")
    assert not [line for line in lines if MEANINGLESS in line]
    assert read_membership(folder).known == "recorded"


def test_test_and_unseen_people_on_whom_the_original_was_trained_make_the_scores_meaningless(mixed):
    lines, folder = mixed
    assert lines[0] == lines[-1] == read_membership(folder).warning
    assert "unseen images are among the training images" in lines[0]


def test_the_record_of_a_run_includes_that_of_its_original(first, mixed):
    """Otherwise a third model would not know of the people of the first."""
    recorded = set(read_training_images(mixed[1] / "checkpoints" / "last.ckpt").tolist())
    assert recorded > set(_digests(first, "train"))


def test_an_original_of_an_earlier_version_without_a_record_is_still_found_and_known(first):
    path = Path(first.model.original)
    contents = torch.load(path, weights_only=True)
    before = contents.pop(TRAINING_IMAGES)
    torch.save(contents, path)
    try:
        lines, folder = fit()
    finally:
        torch.save({**contents, TRAINING_IMAGES: before}, path)
    assert not [line for line in lines if MEANINGLESS in line]
    assert read_training_images(folder / "checkpoints" / "last.ckpt").tolist() == _digests(first, "train")


def test_run_folders_of_earlier_versions_stay_readable_and_a_damaged_file_is_named(home, capsys):
    _, folder = fit()
    (folder / MEMBERSHIP).unlink()
    assert read_membership(folder) is None
    assert main(["report", str(folder), "--output", str(home / "report")]) == 0
    assert MEANINGLESS not in (home / "report" / "results.md").read_text()
    (folder / MEMBERSHIP).write_text('{"known": 3}')
    capsys.readouterr()
    assert main(["audit", str(folder), "--references", "3", "--output", str(home / "audit")]) == 2
    assert f"{folder / MEMBERSHIP}: cannot be read" in capsys.readouterr().err
    assert main(["report", str(folder), "--output", str(home / "report")]) == 0
    assert f"{folder / MEMBERSHIP}: cannot be read" in (home / "report" / "results.md").read_text()


def test_hashes_of_erased_people_can_be_removed_from_a_checkpoint(first, home):
    path = home / "erased.ckpt"
    path.write_bytes(Path(first.model.original).read_bytes())
    recorded = read_training_images(path)
    gone = np.array([recorded[1], recorded[3], b"0" * 32])
    assert drop_training_images(path, gone) == 2
    assert read_training_images(path).tolist() == [each for n, each in enumerate(recorded) if n not in (1, 3)]
    before = path.read_bytes()
    assert drop_training_images(path, gone) == 0
    assert path.read_bytes() == before
    for each in gone[:2]:
        assert bytes.fromhex(each.decode()) not in before
    kept, old = (torch.load(each, weights_only=True)["state_dict"] for each in (path, first.model.original))
    assert all(torch.equal(kept[name], old[name]) for name in old)


# -- declared ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("original", ["trained here", "declared"])
def test_declared_people_are_the_test_and_unseen_people(original, foreign, capsys):
    given = [f"--model.original={foreign}"] if original == "declared" else []
    command = run([*FIT, f"--data.held_out=[{','.join(HELD_OUT)}]", *given])
    assert MEANINGLESS not in capsys.readouterr().err
    assert read_membership(Path(command.trainer.log_dir)).known == original
    data = command.datamodule
    chosen = {str(name) for each in ("test", "unseen") for name in data.identities[data.splits[each]]}
    assert chosen == set(HELD_OUT)


def test_people_on_whom_the_original_was_trained_cannot_be_declared_held_out(first, capsys):
    arguments = [*FIT, f"--model.original={first.model.original}", f"--data.held_out=[{','.join(HELD_OUT)}]"]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "data.held_out declares 'person" in message
    assert str(first.model.original) in message
    assert "Traceback" not in message


def test_test_people_who_are_not_declared_make_the_scores_meaningless(first, foreign, home):
    data, lines = first.datamodule, ["identity,set"]
    sets = {str(name): each for each, rows in data.splits.items() for name in data.identities[rows]}
    lines += [f"{name},{each}" for name, each in sets.items()]
    (home / "sets.csv").write_text("\n".join(lines) + "\n")
    unseen = ",".join(name for name, each in sets.items() if each == "unseen")
    settings = [f"--model.original={foreign}", f"--data.assignment={home / 'sets.csv'}", f"--data.held_out=[{unseen}]"]
    said, _ = fit(*settings)
    people = sum(each == "test" for each in sets.values())
    assert said[0] == said[-1]
    assert f"{people} test people are not declared in data.held_out" in said[0]
    assert "unseen" not in said[0]


# -- the next request --------------------------------------------------------------------------------------------------


def test_a_second_request_does_not_train_on_the_people_of_the_first(home):
    """Forget three people, then one more, from the model that has forgotten the three."""
    stable = ["--data.split=stable", "--data.split_seed=2", "--data.test_share=0.2", "--data.unseen_share=0.3"]
    one = run([*FIT, *stable, "--data.forget_identities=[person0003,person0007,person0011]"])
    weights = Path(one.trainer.log_dir) / "checkpoints" / "last.ckpt"
    (home / "erased.txt").write_text("person0003\nperson0007\nperson0011\n")
    names = {str(each) for each in one.datamodule.identities[one.datamodule.rows("retain")]}
    more = [f"--data.forget_identities=[{min(names)}]", f"--data.erased={home / 'erased.txt'}"]
    two = run([*FIT, *stable, f"--model.original={weights}", *more])
    data = two.datamodule
    used = {str(name) for rows in data.splits.values() for name in data.identities[rows]}
    assert not {"person0003", "person0007", "person0011"} & used
    assert two.model.membership.known == "recorded"
    assert not two.model.membership.reasons
