"""Runs on several processes have the steps, audits and figures of a run on one; an error in one process ends all."""

from __future__ import annotations

import csv
import os
import re
import socket
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_utilities.core.rank_zero import rank_zero_only

from gli.auditing import record as audits
from gli.commands.main import main
from gli.methods import Method
from gli.system.classes import concrete_subclasses
from gli.system.ranks import is_first
from tests.helpers import two_processes as worker
from tests.helpers.forks import Fork
from tests.helpers.two_processes import BACKBONE, CASES

# The first test computes what all compare.
pytestmark = [pytest.mark.timeout(1000), pytest.mark.figures]
SEVERAL = pytest.mark.parametrize("world", [2, 3])


def run_ranks(world: int, output: Path, folder: Path) -> str:
    """Run the work on several processes, forked with the environment that torchrun gives; return what they print."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    def start(rank: int) -> Fork:
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}

        def before() -> None:
            os.environ.update({name: str(value) for name, value in (ranks | place).items()})
            rank_zero_only.rank = rank

        return Fork(lambda: worker.work(folder / "logs", output, world, rank), folder, before)

    forks = [start(rank) for rank in range(world)]
    try:
        ends = [fork.wait(400) for fork in forks]
    finally:
        for fork in forks:
            fork.kill()
    printed = "".join(end.stdout + end.stderr for end in ends)
    assert [end.returncode for end in ends] == [0] * world, printed[-3000:]
    return printed


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Return a function from the number of processes to the results of each; they run once."""
    folder = tmp_path_factory.mktemp("processes")

    @cache
    def results(world: int) -> list[dict]:
        output = folder / str(world)
        output.mkdir()
        if world == 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                worker.work(folder / "logs", output)
        else:
            results(1)  # It trains the originals.
            (output / "output.txt").write_text(run_ranks(world, output, folder))
        return [torch.load(output / f"{rank}.pt", weights_only=False) for rank in range(world)]

    return results


def difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference between two state dicts."""
    assert first.keys() == second.keys()
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def test_every_method_is_compared():
    shipped = {name for name, method in concrete_subclasses(Method).items() if method.__module__.startswith("gli.")}
    assert {case.method for case in CASES.values()} == shipped
    assert {case.task for case in CASES.values()} == {"age", "attributes"}


@SEVERAL
def test_processes_with_shares_of_a_batch_train_the_model_of_one_with_the_whole(world, computed):
    (single,), several = computed(1), computed(world)
    for name, case in CASES.items():
        if world == 3 and not case.on_three:
            continue
        expected, shares, tolerance = single[name], [result[name] for result in several], 1e-8 if case.double else 1e-5
        assert difference(shares[0]["weights"], expected["weights"]) < tolerance, name
        assert len(expected["made"]) == {"LI": 5, "GLI": 5, "UNSIR": 2}.get(case.method, 0), name
        images = [torch.cat(parts) for parts in zip(*(result["made"] for result in shares), strict=True)]
        torch.testing.assert_close(
            images, expected["made"], rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
        if case.method not in ("Original", "Retrained", "EUk"):
            start = torch.load(single["originals"][case.task], weights_only=True)["state_dict"]
            # Otherwise the comparison would say little.
            assert difference(expected["weights"], start) > 1e-3, name


@SEVERAL
def test_all_processes_end_with_one_model(world, computed):
    """In train mode too, although BatchNorm's statistics come from another share of the batch on each process."""
    (single,), several = computed(1), computed(world)
    for name in ("train mode", *(name for name, case in CASES.items() if world == 2 or case.on_three)):
        for result in several[1:]:
            assert difference(result[name]["weights"], several[0][name]["weights"]) == 0, name
    start = torch.load(single["originals"]["age"], weights_only=True)["state_dict"]
    weights = several[0]["train mode"]["weights"]
    changed = {name for name, value in start.items() if not torch.equal(value, weights[name])}
    assert {name for name in start if name.endswith("running_var")} <= changed


@SEVERAL
def test_scores_losses_and_figures_are_those_of_one_process(world, computed):
    """Each set has 25 images, so the shares of the processes differ in size."""
    (single,), several = computed(1), computed(world)
    expected = single["audit"]
    assert [row["iteration"] for row in expected["rows"]] == [0, 1, 2, 3]
    for result in several:  # All processes have the scores, because all must stop at the same iteration.
        for row, expected_row in zip(result["audit"]["rows"], expected["rows"], strict=True):
            assert row == pytest.approx(expected_row, abs=1e-5)
    folder, expected_folder = Path(several[0]["audit"]["folder"]), Path(expected["folder"])
    assert {result["audit"]["folder"] for result in several} == {str(folder)}
    people, expected_people = audits.read_people(folder), audits.read_people(expected_folder)
    records, expected_records = audits.read_records(folder), audits.read_records(expected_folder)
    for name in ("test", "forget", "unseen"):
        assert people[name].tolist() == expected_people[name].tolist()
        assert len(people[name]) == 25
        for record, expected_record in zip(records, expected_records, strict=True):
            assert record.values[name].keys() == expected_record.values[name].keys()
            for key, values in record.values[name].items():
                np.testing.assert_allclose(values, expected_record.values[name][key], rtol=0, atol=1e-5)
    drawn = several[0]["audit"]["drawn"]
    assert [name for name, _ in drawn] == ["densities", "utility_drop", "densities"]
    for (name, arrays), (expected_name, expected_arrays) in zip(drawn, expected["drawn"], strict=True):
        assert name == expected_name
        for array, expected_array in zip(arrays, expected_arrays, strict=True):
            assert array == pytest.approx(expected_array, abs=1e-5)
    assert not any(result["audit"]["drawn"] for result in several[1:])


@SEVERAL
def test_a_run_of_several_processes_has_one_folder_and_one_log(world, computed):
    folders = [Path(computed(number)[0]["audit"]["folder"]) for number in (world, 1)]
    assert [folder.name for folder in folders[0].parent.iterdir()] == ["version_0"]
    logs = []
    for folder in folders:
        with (folder / "metrics.csv").open() as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        logs.append([row for row in rows if "train/loss" in row])
    assert [row["step"] for row in logs[0]] == [1, 2, 3]
    for row, expected in zip(*logs, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@SEVERAL
def test_an_original_is_trained_by_one_process_while_the_others_wait(world, computed):
    (single,), several = computed(1), computed(world)
    paths = {result["original"] for result in several}
    assert len(paths) == 1
    weights, expected = (torch.load(path, weights_only=True)["state_dict"] for path in (*paths, single["original"]))
    assert difference(weights, expected) == 0
    output = (Path(several[0]["audit"]["folder"]).parents[2] / "output.txt").read_text()
    assert output.count("No original model") == 1


def test_an_original_that_a_later_process_trains_is_logged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    worker.original("age", tmp_path)
    assert rank_zero_only.rank == 1
    assert len(list(tmp_path.glob("original_synthetic/*/metrics.csv"))) == 1


TINY = ["--data=SyntheticFaces", "--data.people=24", "--data.pictures=5", "--data.image_size=32", "--data.batch_size=6"]
TINY += ["--data.recipe.epochs=1", f"--model.backbone={BACKBONE}", "--trainer.accelerator=cpu"]
TINY += ["--trainer.enable_progress_bar=false", "--trainer.max_steps=3"]
TINY += ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]


def test_processes_that_the_trainer_starts_share_an_original_and_a_folder_and_fail_together(tmp_path):
    (tmp_path / "my_module.py").write_text(
        "from gli.methods import FineTune\n\n\n"
        "class Fails(FineTune):\n"
        "    def unlearn(self, retain, forget):\n"
        "        if self.global_rank == 1 and self.iteration == 2:\n"
        "            raise RuntimeError('the second process fails')\n"
        "        return super().unlearn(retain, forget)\n"
    )
    command = ["fit", "--model=my_module.Fails", *TINY, "--trainer.devices=2"]

    def start() -> None:
        """Let Lightning start the second process as it does for ``python -m gli``."""
        sys.argv = ["gli", *command]
        sys.modules["__main__"].__spec__ = ModuleSpec("gli.__main__", None)
        os.environ["PYTHONPATH"] = os.pathsep.join(["", *sys.path])

    process = Fork(command, tmp_path, start).wait(400)
    assert process.returncode != 0
    assert "the second process fails" in process.stderr
    assert process.stderr.count("No original model") == 1
    assert "data.batch_size is 6 in each of 2 processes" in process.stderr  # The original differs from that of one.
    folder = tmp_path / "lightning_logs"
    assert len(list(folder.glob("original_synthetic/*"))) == 1
    assert [path.name for path in folder.glob("fails_synthetic/*")] == ["version_0"]
    assert [audit.iteration for audit in audits.read_records(folder / "fails_synthetic/version_0")] == [0, 1, 2]


# -- processes that were started from outside ------------------------------------------------------------------------


@pytest.fixture
def second_of_two(monkeypatch):
    """Set the environment of the second process of two."""
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    for name, value in {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("launcher", "devices"), [("torchrun", "1"), ("torchrun", "3"), ("torchrun", "auto"), ("other", "1")]
)
def test_a_trainer_for_another_number_of_processes_than_started_is_refused(
    launcher, devices, second_of_two, tmp_path, monkeypatch, capsys
):
    """Each process would be a separate run, and the second would write into the folder of an older run."""
    if launcher == "torchrun":
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.chdir(tmp_path)
    older = tmp_path / "lightning_logs/fine_tune_synthetic/version_0"
    older.mkdir(parents=True)
    assert main(["fit", "--model=FineTune", *TINY, f"--trainer.devices={devices}"]) == 2
    text = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "Give --trainer.devices" in text
    assert "Traceback" not in text
    assert not list(older.iterdir())


def test_the_first_process_on_the_second_machine_is_not_the_first(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert is_first()
    monkeypatch.setenv("NODE_RANK", "1")
    assert not is_first()
