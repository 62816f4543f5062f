"""Loggers beside gli's own: real ones, with a local file store (MLflow) and offline (W&B), and one of the user's."""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure

from gli.callbacks import ForgettingAudit
from gli.callbacks.figures import send_figure
from gli.commands.main import main
from gli.engine.build import added_loggers
from gli.engine.fit import run
from tests.helpers.processes import eventually
from tests.helpers.tiny import EVERY, TINY

pytestmark = [pytest.mark.usefixtures("at_home"), pytest.mark.figures]
CURVES = {"utility_drop", "losses_before", "losses_after"}
GLI_RUN = ["fit", "--model=GLI", *TINY, *EVERY]


class Notebook(Logger):
    """A logger that keeps what it is sent."""

    kept: ClassVar[list[Notebook]] = []

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[tuple[dict[str, float], int]] = []
        self.images: list[tuple[str, int]] = []
        Notebook.kept.append(self)

    name = "notebook"
    version = "0"

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.numbers.append((dict(metrics), step))

    def log_image(self, key, images, step=None):
        assert images[0].size[0] > 100
        self.images.append((key, step))


def with_notebook(*arguments: str):
    command = run([*GLI_RUN, "--trainer.max_steps=2", f"--trainer.logger={__name__}.Notebook", *arguments])
    return command, Notebook.kept[-1]


@pytest.fixture(scope="module")
def both(home):
    """A run with a logger beside ours, whose original is trained first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        command, notebook = with_notebook()
        return command, notebook, home / command.trainer.log_dir


def test_a_logger_is_added_to_ours_and_gets_the_same_numbers(both):
    """Those of the original's training are not among them."""
    _, notebook, folder = both
    assert folder.parent.name == "gli_synthetic"
    assert {"config.yaml", "metrics.csv", "checkpoints", "utility_drop.png"} <= {path.name for path in folder.iterdir()}
    events = [path.read_bytes() for path in folder.glob("events.out*")]
    assert any(b"best/final_score" in event and b"class_weight" in event for event in events)  # HParams.
    with (folder / "metrics.csv").open() as file:
        ours = [(int(row["step"]), row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    theirs = [(step, str(numbers["val/accuracy"])) for numbers, step in notebook.numbers if "val/accuracy" in numbers]
    assert ours == theirs
    assert [step for step, _ in ours] == [0, 1, 2]


def test_pictures_of_people_stay_here(both):
    _, notebook, folder = both
    assert {key for key, _ in notebook.images} == {f"figures/{name}" for name in CURVES}
    assert (folder / "perturbations.png").is_file()


def test_pictures_of_people_are_sent_where_asked():
    _, notebook = with_notebook("--figures.send_faces=true", "--trainer.max_steps=1")
    assert "figures/perturbations" in {key for key, _ in notebook.images}


def test_added_loggers_are_none_one_or_several():
    one, two = Notebook(), Notebook()
    assert added_loggers(None) == added_loggers(True) == []
    assert added_loggers(one) == [one]
    assert added_loggers([one, two]) == [one, two]


def test_a_logger_without_pictures_is_passed_over():
    class Plain(Notebook):
        log_image = property()

    assert not send_figure(Plain(), "curve", Figure(), 0)


def test_no_logger_at_all_is_still_possible():
    command = run([*GLI_RUN, "--trainer.max_steps=1", "--trainer.logger=false"])
    assert command.trainer.loggers == []


def follows_up(command, capsys) -> None:
    """The run is continued by ``--ckpt_path last``, and a report is made of it."""
    folder = Path(command.trainer.log_dir)
    resumed = run([*GLI_RUN, "--trainer.max_steps=3", "--ckpt_path=last"])
    assert Path(resumed.trainer.log_dir) == folder
    assert [row["iteration"] for row in ForgettingAudit.of(resumed.trainer).rows] == [0, 1, 2, 3]
    assert main(["report", str(folder), "--output", "out"]) == 0
    assert (Path("out") / "report.html").is_file()


def test_mlflow_with_a_local_file_store_holds_curves_and_figures(tmp_path, capsys, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = "lightning.pytorch.loggers.MLFlowLogger"
    store = f"--trainer.logger={{class_path: {logger}, init_args: {{tracking_uri: 'file:{tmp_path}'}}}}"
    command = run([*GLI_RUN, "--trainer.max_steps=2", store])
    (mlflow,) = (each for each in command.trainer.loggers if type(each).__name__ == "MLFlowLogger")
    history = mlflow.experiment.get_metric_history(mlflow.run_id, "val/final_score")
    rows = ForgettingAudit.of(command.trainer).rows
    assert [point.step for point in history] == [0, 1, 2]
    assert [point.value for point in history] == pytest.approx([row["final_score"] for row in rows], abs=1e-6)
    figures = {path.name.rpartition("_")[0] for path in tmp_path.rglob("figures/*.png")}
    assert figures == CURVES
    follows_up(command, capsys)


def records(contents: bytes) -> Iterator[bytes]:
    """The records of W&B's offline file: LevelDB's log format after a header of 7 bytes."""
    position, block, parts = 7, 32768, b""
    while position + 7 <= len(contents):
        if block - position % block < 7:  # The end of a block is padded.
            position += block - position % block
        _, length, kind = struct.unpack("<IHB", contents[position : position + 7])
        parts += contents[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # Whole, or the last part.
            yield parts
            parts = b""


def wandb_history(folder: Path) -> list[float]:
    """The final scores in W&B's offline file."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("run-*.wandb")
    scores = []
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            if "val/final_score" in (item.key, "/".join(item.nested_key)):
                scores.append(float(item.value_json))
    return scores


def wandb_figures(folder: Path) -> set[str]:
    """The names of the figures in W&B's offline folder."""
    return {path.name.rpartition("_")[0].rpartition("_")[0] for path in folder.rglob("media/images/figures/*.png")}


def test_wandb_offline_holds_curves_and_figures(tmp_path, capsys, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_CODE": "true"}.items():
        monkeypatch.setenv(name, value)
    logger = "lightning.pytorch.loggers.WandbLogger"
    offline = f"--trainer.logger={{class_path: {logger}, init_args: {{offline: true, save_dir: {tmp_path}}}}}"
    command = run([*GLI_RUN, "--trainer.max_steps=2", offline])
    wandb.finish()
    rows = ForgettingAudit.of(command.trainer).rows
    # W&B's own process may still be writing.
    assert eventually(lambda: wandb_figures(tmp_path) == CURVES)
    assert eventually(lambda: len(wandb_history(tmp_path)) == len(rows))
    assert wandb_history(tmp_path) == pytest.approx([row["final_score"] for row in rows], abs=1e-6)
    assert main(["report", str(command.trainer.log_dir), "--output", "out_of_wandb"]) == 0
