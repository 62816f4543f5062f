"""The command as a user runs it: every configuration, every method, what a run leaves behind, and mistakes."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from gli.auditing import record as audits
from gli.callbacks import ForgettingAudit
from gli.commands.check import dry_run
from gli.commands.main import LIGHTNING, MODULES, main
from gli.data import FaceDataModule, SyntheticFaces
from gli.data.faces import Faces, Images
from gli.data.tasks import MultiClass
from gli.engine import fit
from gli.engine.fit import CLI, method_names, run
from gli.engine.originals import original_path
from gli.methods import Method
from gli.models.checkpoints import load_classifier
from gli.runs.configs import shipped_names
from gli.runs.folder import snake_case
from gli.runs.read import EvaluationFolder, read_run
from gli.system.classes import concrete_subclasses
from gli.system.digest import digest
from tests.helpers.forks import run_in_fork
from tests.helpers.tiny import EVERY, TINY

CONFIGS = Path(__file__).parents[2] / "configs"
pytestmark = pytest.mark.usefixtures("at_home")


def rows(folder: Path, prefix: str = "val") -> list[dict[str, float]]:
    """The audits in a run's log."""
    with (folder / "metrics.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row.get(f"{prefix}/accuracy")]
    return [{key: float(value) for key, value in row.items() if value} for row in found]


RUNS = sorted(path for path in CONFIGS.glob("*.yaml") if not path.stem.startswith("benchmark_"))


@pytest.mark.parametrize("config", RUNS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_understood(config, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(config), "--print_config"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    method, _, data = config.stem.rpartition("_")
    classes = {snake_case(name): name for name in concrete_subclasses(Method)}
    name = re.sub("_(paper|plus|tuned)$", "", method)
    assert f"class_path: gli.methods.{classes[name]}\n" in printed
    assert re.search(rf"class_path: gli\.data\.\w*{data}\w*\n", printed, re.IGNORECASE)


#: Not those that tests define.
SHIPPED = sorted(name for name, method in concrete_subclasses(Method).items() if method.__module__.startswith("gli."))


def test_every_method_has_a_configuration_for_every_data_set():
    wanted = {f"{snake_case(name)}_{data}" for name in SHIPPED for data in ("mufac", "mucac", "synthetic")}
    assert wanted <= set(shipped_names(method_names()))


@pytest.fixture(scope="module")
def gli_run(home):
    """A short run of GLI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return run(["fit", "--model=GLI", *TINY, *EVERY, "--trainer.max_steps=3"])


def test_defaults_of_the_command_are_the_defaults_of_the_classes(gli_run):
    """Defaults that are objects are easily lost on the way through the parser."""
    fresh = SyntheticFaces()
    assert gli_run.datamodule.augmentation == fresh.augmentation
    assert gli_run.datamodule.recipe.milestones == fresh.recipe.milestones
    assert gli_run.datamodule.recipe.lr == fresh.recipe.lr


def test_a_run_leaves_its_settings_logs_checkpoints_and_figures(gli_run):
    folder = Path(gli_run.trainer.log_dir)
    names = {path.name for path in folder.iterdir()}
    figures = {"utility_drop.png", "losses_before.png", "losses_after.png", "perturbations.png"}
    assert {"config.yaml", "metrics.csv", "checkpoints", "audits", *figures} <= names
    assert any(name.startswith("events.out") for name in names)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_scores_can_be_recomputed_from_the_records_of_a_run(gli_run):
    folder, rows_seen = Path(gli_run.trainer.log_dir), ForgettingAudit.of(gli_run.trainer).rows
    kept, people = audits.read_records(folder), audits.read_people(folder)
    assert [audit.iteration for audit in kept] == [row["iteration"] for row in rows_seen] == [0, 1, 2, 3]
    for audit, row in zip(kept, rows_seen, strict=True):
        for name, value in audit.scores().items():
            assert value == pytest.approx(row[name], abs=1e-12), name
    data = gli_run.datamodule
    for name in ("test", "forget", "unseen"):
        assert people[name].tolist() == data.identities[data.rows(name)].tolist()
        assert {len(audit.values[name]["loss"]) for audit in kept} == {len(people[name])}


def test_nothing_is_kept_where_that_is_not_wanted():
    command = run(["fit", "--model=LI", *TINY, *EVERY, "--trainer.max_steps=1", "--audit.keep_losses=false"])
    assert not (Path(command.trainer.log_dir) / "audits").exists()


def test_figures_and_scalars_reach_tensorboard(gli_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(gli_run.trainer.log_dir)
    events.Reload()
    drop = events.Scalars("val/utility_drop")
    assert [event.step for event in drop] == [0, 1, 2, 3]
    assert drop[0].value == 0
    assert {"figures/utility_drop", "figures/losses_after", "figures/perturbations"} <= set(events.Tags()["images"])


def test_the_best_checkpoint_holds_the_classifier_of_the_best_audit(gli_run):
    checkpoint = gli_run.trainer.checkpoint_callback.best_model_path
    best = ForgettingAudit.of(gli_run.trainer).best
    model, data = load_classifier(checkpoint), gli_run.datamodule
    right = []
    with torch.no_grad():
        for batch in data.val_dataloader()[0]:
            batch = data.to_float(batch)
            right += (model(batch.images).argmax(dim=1) == batch.labels).tolist()
    assert sum(right) / len(right) == pytest.approx(best["accuracy"])
    assert torch.load(checkpoint, weights_only=True)["classifier"]["iteration"] == best["iteration"]


def test_an_original_is_trained_once_and_found_again(gli_run, home, capsys):
    before = sorted((home / "lightning_logs" / "originals").glob("*.ckpt"))
    again = run(["fit", "--model=GLI", *TINY, *EVERY, "--trainer.max_steps=3"])
    assert sorted((home / "lightning_logs" / "originals").glob("*.ckpt")) == before
    assert again.model.original == gli_run.model.original
    assert ForgettingAudit.of(again.trainer).rows == ForgettingAudit.of(gli_run.trainer).rows


def test_an_explicit_run_of_the_original_is_found_by_later_runs(home):
    command = run(["fit", "--model=Original", *TINY, "--data.seed=5", "--checkpoint.monitor=null"])
    later = run(["fit", "--model=FineTune", *TINY, *EVERY, "--data.seed=5", "--trainer.max_steps=1"])
    kept = torch.load(later.model.original, weights_only=True)["state_dict"]
    trained = command.model.model.state_dict()
    assert all(torch.equal(kept[name], trained[name]) for name in kept)


def test_other_settings_want_another_original(gli_run):
    def path(*flags: str) -> str:
        command = dry_run(["--model=GLI", *TINY, *flags])
        recipe = replace(command.datamodule.recipe, retrained_epochs=None)
        folder = Path("lightning_logs/originals")
        return str(original_path(folder, command.datamodule, command.model, recipe, command.seed, precision="32-true"))

    assert path() == path("--model.lr=0.5") == gli_run.model.original
    changes = ("--data.seed=6", "--seed_everything=1", "--data.recipe.lr=0.01", "--data.image_size=40")
    assert len({path(), *map(path, changes)}) == 1 + len(changes)


@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_a_checkpoint_gives_the_same_audit_again(subcommand, gli_run):
    checkpoint = gli_run.trainer.checkpoint_callback.best_model_path
    command = run([subcommand, "--model=GLI", *TINY, f"--ckpt_path={checkpoint}"])
    prefix = {"validate": "val", "test": "test"}[subcommand]
    best = ForgettingAudit.of(gli_run.trainer).best
    metrics = command.trainer.callback_metrics
    for name in ("accuracy", "mia_accuracy", "jsd", "final_score", "utility_drop"):
        assert float(metrics[f"{prefix}/{name}"]) == pytest.approx(best[name], abs=1e-6)
    folder = Path(command.trainer.log_dir)
    assert not list(folder.rglob("*.ckpt"))  # Weights are personal data: an audit copies none.
    with pytest.raises(EvaluationFolder, match=r"a folder of gli test or gli validate.*Name the folder of a run"):
        read_run(folder)  # A report would count the run twice.


def test_a_model_that_falls_apart_ends_the_run_and_keeps_the_last_good_checkpoint(capsys):
    arguments = ["--model.lr=0.3", "--model.batch_norm=eval", "--trainer.max_steps=60"]
    assert main(["fit", "--model=NegGrad", *TINY, *EVERY, *arguments]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "losses of NegGrad are no longer finite" in said
    assert "diverged after iteration" in said.rpartition("In short")[2]
    folder = max(Path("lightning_logs/neg_grad_synthetic").iterdir(), key=lambda path: path.stat().st_mtime)
    assert len((folder / "metrics.csv").read_text().splitlines()) < 100
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize(
    ("method", "interval", "stop", "end"),
    [("SCRUB", 3, 5, 9), ("EUk", 100, 6, 11), ("UNSIR", 3, 2, 4)],
)
def test_a_run_stopped_between_two_audits_or_at_the_end_of_a_stage_resumes_too(method, interval, stop, end):
    """The stop is audited, and its checkpoint written, inside the epoch."""
    arguments = [f"--model={method}", *TINY, "--early_stopping.patience=null", "--trainer.max_epochs=9"]
    arguments += [f"--trainer.val_check_interval={interval}"]
    whole = run(["fit", *arguments, f"--trainer.max_steps={end}"])
    half = run(["fit", *arguments, f"--trainer.max_steps={stop}"])
    last = Path(half.trainer.log_dir) / "checkpoints" / "last.ckpt"
    resumed = run(["fit", *arguments, f"--trainer.max_steps={end}", f"--ckpt_path={last}"])
    for name, value in whole.model.model.state_dict().items():
        assert torch.equal(value, resumed.model.model.state_dict()[name]), name
    both = [ForgettingAudit.of(command.trainer) for command in (whole, resumed)]
    assert both[0].rows[-1] == both[1].rows[-1]
    assert both[0].stages == both[1].stages


def test_the_best_checkpoint_before_a_resume_is_still_the_best_after_it():
    arguments = ["--model=NegGrad", *TINY, *EVERY, "--model.lr=0.05", "--checkpoint.monitor=val/loss_forget"]
    arguments += ["--checkpoint.mode=min"]
    half = run(["fit", *arguments, "--trainer.max_steps=2"])
    last = Path(half.trainer.log_dir) / "checkpoints" / "last.ckpt"
    resumed = run(["fit", *arguments, "--trainer.max_steps=4", f"--ckpt_path={last}"])
    best = Path(resumed.trainer.checkpoint_callback.best_model_path)
    assert best == Path(resumed.trainer.log_dir) / "checkpoints" / "best.ckpt"
    saved = torch.load(best, weights_only=True)["classifier"]
    assert ForgettingAudit.of(resumed.trainer).best["iteration"] == saved["iteration"] == 1
    assert (last.parent / "best.ckpt").exists()


def test_settings_that_a_checkpoint_overrules_are_named(gli_run, capsys):
    last = Path(gli_run.trainer.log_dir) / "checkpoints" / "last.ckpt"
    run(["fit", "--model=GLI", *TINY, *EVERY, "--model.lr=0.7", "--trainer.max_steps=4", f"--ckpt_path={last}"])
    assert "lr 0.001 (not 0.7)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def partly_frozen(home):
    """Runs of the methods that train the last blocks, with all that moves what should stay."""
    settings = ["--model.k=2", "--model.weight_decay=0.1", "--model.momentum=0.9", "--model.lr=0.05"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return {
            method: run(["fit", f"--model={method}", *TINY, *EVERY, *settings, "--trainer.max_steps=3"])
            for method in ("CFk", "EUk")
        }


def test_row_zero_is_the_original_also_if_the_method_changes_it_first(gli_run, partly_frozen):
    first = ForgettingAudit.of(gli_run.trainer).original
    for command in partly_frozen.values():
        assert ForgettingAudit.of(command.trainer).original == first
    validated = run(["validate", "--model=EUk", *TINY]).trainer.callback_metrics
    assert float(validated["val/accuracy"]) == pytest.approx(first["accuracy"])
    assert float(validated["val/mia_accuracy"]) == pytest.approx(first["mia_accuracy"])


def test_an_audit_interval_counts_iterations_of_the_run_and_may_be_longer_than_an_epoch():
    arguments = ["--model=UNSIR", *TINY, "--early_stopping.patience=null", "--trainer.val_check_interval=4"]
    command = run(["fit", *arguments, "--trainer.max_steps=6"])
    assert [row["iteration"] for row in ForgettingAudit.of(command.trainer).rows] == [0, 2, 4, 6]


def test_a_run_that_ends_between_two_audits_is_audited_and_saved_at_its_end():
    command = run(["fit", "--model=FineTune", *TINY, "--trainer.max_steps=2", "--early_stopping.patience=null"])
    assert [row["iteration"] for row in ForgettingAudit.of(command.trainer).rows] == [0, 2]
    folder = Path(command.trainer.log_dir)
    assert [row["step"] for row in rows(folder)] == [0, 2]
    assert torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["classifier"]["iteration"] == 2


def test_a_sanity_check_is_no_audit(gli_run):
    arguments = ["--trainer.num_sanity_val_steps=1", "--data.eval_batch_size=4", "--trainer.max_steps=1"]
    command = run(["fit", "--model=FineTune", *TINY, *EVERY, *arguments])
    first = ForgettingAudit.of(command.trainer).original
    assert first["accuracy"] == ForgettingAudit.of(gli_run.trainer).original["accuracy"]


@pytest.mark.parametrize("method", ["CFk", "EUk"])
def test_frozen_blocks_of_a_real_network_stay_bit_identical(method, partly_frozen, home):
    """Weight decay and momentum move whatever an optimiser holds; train mode moves statistics."""
    command = partly_frozen[method]
    before = torch.load(command.model.original, weights_only=True)["state_dict"]
    after = {name: value for name, value in command.model.model.state_dict().items() if "num_batches" not in name}
    for name, value in after.items():
        trained = name.startswith(("backbone.layer4", "backbone.fc"))
        assert torch.equal(value, before[name]) is not trained, name
    if method == "EUk":  # A fresh start lies far from the original, further than three steps.
        kept, begun = before["backbone.fc.weight"].flatten(), after["backbone.fc.weight"].flatten()
        assert torch.corrcoef(torch.stack([kept, begun]))[0, 1].abs() < 0.5


@pytest.fixture
def headings(monkeypatch):
    """The headings of the closing tables, as they are printed."""
    seen = []
    comparison = fit.comparison
    monkeypatch.setattr(
        fit, "comparison", lambda columns: seen.extend(name for name, _ in columns) or comparison(columns)
    )
    return seen


def test_both_stages_of_unsir_are_audited_and_reported(headings):
    """Two epochs of one batch over forget, then one over retain: the first stage ends between two audits."""
    every = ["--trainer.val_check_interval=3", *EVERY[1:]]
    command = run(["fit", "--model=UNSIR", *TINY, *every, "--trainer.log_every_n_steps=1"])
    folder = Path(command.trainer.log_dir)
    steps = [row["step"] for row in rows(folder)]
    end = command.trainer.fit_loop.total_batch_idx + 1
    assert end > 4
    assert steps == sorted({0, 2, *range(3, end, 3), end})
    assert ForgettingAudit.of(command.trainer).stages == {"stage 1 (impair)": 2, "stage 2 (repair)": end}
    assert headings[:3] == ["Original", "stage 1 (impair), iteration 2", f"stage 2 (repair), iteration {end}"]
    with (folder / "metrics.csv").open() as file:
        trained = [float(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert trained == list(range(1, end + 1))


def test_scrub_rewinds_to_where_forget_and_unseen_are_told_apart_least(headings):
    arguments = ["--checkpoint.monitor=val/rewind_gap", "--trainer.max_steps=6"]
    command = run(["fit", "--model=SCRUB", "--model.lr=0.05", *TINY, *EVERY, *arguments])
    audit = ForgettingAudit.of(command.trainer)
    for row in audit.rows:
        assert row["rewind_gap"] == pytest.approx(abs(row["forget_accuracy"] - row["unseen_accuracy"]))
    least = min(audit.rows[1:], key=lambda row: row["rewind_gap"])
    assert audit.best == least
    saved = torch.load(command.trainer.checkpoint_callback.best_model_path, weights_only=True)
    kept = next(row for row in audit.rows if row["iteration"] == saved["classifier"]["iteration"])
    assert kept["rewind_gap"] <= least["rewind_gap"]
    assert headings == ["Original", f"SCRUB, iteration {least['iteration']:.0f}"]


def test_the_log_has_at_each_iteration_what_was_measured_there():
    """Passes over retain and over forget log values of their own; the optimiser's loss tells which pass it was."""
    arguments = ["--model.forget_batch_size=8", "--trainer.max_steps=14", "--trainer.log_every_n_steps=1"]
    command = run(["fit", "--model=SCRUB", *TINY, *arguments, *EVERY[1:]])
    with (Path(command.trainer.log_dir) / "metrics.csv").open() as file:
        trained = [row for row in csv.DictReader(file) if row["train/loss"]]
    logged = {
        part: {row["step"] for row in trained if row[f"train/divergence_{part}"]} for part in ("retain", "forget")
    }
    assert len(trained) == 14
    assert {row["step"] for row in trained} == logged["retain"] | logged["forget"]
    assert not logged["retain"] & logged["forget"]
    assert {row["step"] for row in trained if float(row["train/loss"]) < 0} == logged["forget"]


class Thirteenth(Method):
    """A method that gli does not know: one function, and a setting of its own."""

    def __init__(self, weight: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def unlearn(self, retain, forget):
        """Remember retain and, more weakly, unlearn forget."""
        self.track(weight=self.weight)
        return self.loss(retain) - self.weight * self.loss(forget)


@pytest.mark.figures
def test_a_thirteenth_method_named_in_a_yaml_trains_and_is_logged_like_any_other(home):
    assert "Thirteenth" not in SHIPPED
    config = home / "thirteenth.yaml"
    config.write_text(f"model:\n  class_path: {__name__}.Thirteenth\n  init_args: {{weight: 0.3, lr: 0.02}}\n")
    command = run(
        ["fit", f"--config={config}", *TINY, *EVERY, "--trainer.max_steps=2", "--trainer.log_every_n_steps=1"]
    )
    folder = Path(command.trainer.log_dir)
    assert folder.parent.name == "thirteenth_synthetic"
    logged = rows(folder)
    assert [row["step"] for row in logged] == [0, 1, 2]
    assert logged[0]["val/utility_drop"] == 0
    assert set(logged[2]) == set(
        rows(Path(run(["fit", "--model=LI", *TINY, *EVERY, "--trainer.max_steps=1"]).trainer.log_dir))[0]
    )
    with (folder / "metrics.csv").open() as file:
        weights = [float(row["train/weight"]) for row in csv.DictReader(file) if row["train/weight"]]
    assert weights == pytest.approx([0.3, 0.3])
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (folder / "utility_drop.png").exists()


class Squares(Images):
    """Grey squares, each of one value."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self):
        return self.count

    def digests(self, cache_dir):
        return np.array([digest("square", row) for row in range(self.count)], dtype="S32")

    def pixels(self, row, size):
        return np.full((size, size, 3), row % 256, dtype=np.uint8)


class GreySquares(FaceDataModule):
    """A data set that gli does not know: one function that returns its table."""

    label = "squares"

    def __init__(self, people: int = 40, **kwargs):
        super().__init__(split="identity", **kwargs)
        self.people = people

    def table(self):
        rows = np.arange(3 * self.people)
        return Faces(Squares(len(rows)), rows % 2, np.array([f"person{row // 3}" for row in rows]), MultiClass("ab"))


def test_a_fourth_data_set_named_in_a_yaml_is_split_trained_on_and_reported_like_any_other(home):
    config = home / "squares.yaml"
    config.write_text(f"model: GLI\ndata:\n  class_path: {__name__}.GreySquares\n  init_args: {{people: 50}}\n")
    tiny = [
        argument for argument in TINY if argument.split("=")[0] not in ("--data", "--data.people", "--data.pictures")
    ]
    command = run(["fit", f"--config={config}", *tiny, *EVERY, "--trainer.max_steps=1"])
    folder = Path(command.trainer.log_dir)
    assert folder.parent.name == "gli_squares"
    assert [row["step"] for row in rows(folder)] == [0, 1]
    data = command.datamodule
    assert sum(len(data.splits[name]) for name in ("retain", "forget", "test", "unseen")) == 150
    assert main(["report", str(folder), "--output", "squares_report"]) == 0
    assert "GreySquares" in (home / "squares_report/results.csv").read_text()


def test_a_method_of_the_user_runs_by_its_class_path(home):
    (home / "my_module.py").write_text(
        "from gli.methods import Method\n\n\n"
        "class Pull(Method):\n"
        "    def unlearn(self, retain, forget):\n"
        "        return self.loss(retain) - 0.1 * self.loss(forget)\n"
    )
    arguments = ["fit", "--model=my_module.Pull", *TINY, *EVERY, "--trainer.max_steps=1"]
    done = run_in_fork(arguments, home)
    assert done.returncode == 0, done.stderr[-2000:]
    assert rows(home / "lightning_logs/pull_synthetic/version_0")[-1]["step"] == 1


# -- mistakes: one message, exit status 2, no traceback ----------------------------------------------------------------


def refused(capsys, *arguments: str) -> str:
    assert main(["fit", *arguments]) == 2
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err
    assert caught.err.splitlines()[-1].startswith("gli: ")
    return caught.err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--model=GLI", "--model.lrr=1"], "--model.lrr: no such setting. Did you mean 'model.lr'?"),
        ([], "--data and --model are missing. Name a configuration, such as --config gli_synthetic"),
        (["--model", "Scrubb"], "--model Scrubb: no such class. Did you mean 'SCRUB'?"),
        (
            ["--model=GLI", "--model.learning_rate=1"],
            "--model.learning_rate: no such setting. Did you mean 'model.lr'?",
        ),
        (["--config=gli_synthetic", "--trainer.accelerator=tpu"], "Otherwise --trainer.accelerator cpu, or auto"),
        (["--model=GIL"], "--model GIL: no such class. Did you mean 'GLI'?"),
        (["--model=GLI", "--data=MUFAK"], "--data MUFAK: no such class. Did you mean 'MUFAC'?"),
        (["--model=GLI", "--model.class_weight.finl=3"], "Did you mean 'model.class_weight.final'?"),
        (["--model=GLI", "--modle.lr=3"], "--modle.lr: no such option. Did you mean '--model'?"),
        (["--trainer.max_stpes=3"], "Did you mean 'trainer.max_steps'?"),
        (["--model=GLI", "--model.steps=x"], "--model.steps: Expected a int. Got value: x"),
        (["--model=GLI", "--data=SyntheticFaces", "--model.class_weight.initial=-3"], "class_weight.initial is -3"),
        (
            ["--model=GLI", "--data=SyntheticFaces", "--data.batch_size=0"],
            "data.batch_size is 0; it must be at least 1",
        ),
        (["--config=nope.yaml"], "nope.yaml"),
    ],
)
def test_a_mistyped_setting_is_named_with_the_one_that_was_meant(arguments, meant, capsys):
    assert meant in refused(capsys, *arguments)


def test_missing_data_are_refused_before_anything_is_trained(capsys):
    said = refused(capsys, "--config", str(CONFIGS / "gli_mufac.yaml"), "--data.root=nowhere")
    assert "nowhere: no such folder" in said
    assert "--data.root" in said


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"fc.weight": torch.zeros(8, 512)}, "is of another architecture than --model.backbone test_resnet"),
        ("missing", "no such checkpoint"),
        ("classes", "has 5 outputs, but the data has 8 classes"),
        ("code", "holds pickled code"),
    ],
    ids=["architecture", "missing", "classes", "code"],
)
def test_an_original_that_does_not_fit_is_refused(contents, said, tmp_path, capsys):
    path, ran = tmp_path / "original.pth", tmp_path / "ran"
    if contents == "classes":
        from gli.models.backbones import build_classifier

        torch.save(build_classifier("test_resnet", 5).backbone.state_dict(), path)
    elif contents == "code":
        torch.save({"fc.weight": _Code(ran)}, path)
    elif contents != "missing":
        torch.save(contents, path)
    assert said in refused(capsys, "--model=GLI", *TINY, f"--model.original={path}")
    assert not ran.exists()


class _Code:
    """Pickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("setting", "said"),
    [("forget_share=0", "The forget set is empty"), ("test_share=0.99", "leave no images for training")],
)
def test_a_split_without_anyone_to_forget_or_keep_is_refused(setting, said, capsys):
    assert said in refused(capsys, "--model=GLI", *TINY, f"--data.{setting}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ckpt_path=nowhere.ckpt"], "nowhere.ckpt: no such checkpoint"),
        (["--model.steps=-1"], "model.steps is -1; it must not be negative"),
        (["--data.forget_identities=1003"], "1003: no such file"),
        (["--checkpoint.monitor=val/acuracy", *EVERY], "val/acuracy"),
        (["--trainer.default_root_dir=taken/below"], "the folder of this run cannot be created"),
        (["--data.recipe.lr=1e12", "--data.recipe.epochs=2"], "lower --data.recipe.lr"),
    ],
)
def test_other_plausible_mistakes_end_in_a_message(arguments, said, capsys):
    Path("taken").touch()
    assert said in re.sub(r"\s+", " ", refused(capsys, "--model=GLI", *TINY, "--trainer.max_steps=1", *arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model=CFk", "--model.k=9"], "k is 9; this network has 6 blocks"),
        (["--model=EUk", "--model.k=0"], "use a k from 1 to 6"),
        (["--model=EUk", "--model.optimizer=adam", "--model.momentum=0.9"], "Adam has none"),
        (["--model=SCRUB", "--model.temperature=0"], "model.temperature is 0; it must be above zero"),
        (["--model=SCRUB", "--model.forget_batch_size=0"], "batch size is 0"),
        (["--model=BadTeaching", "--model.retain_share=0"], "share of retain that is used is 0"),
        (["--model=UNSIR", "--model.impair_epochs=0", "--model.repair_epochs=0"], "nothing to do"),
        (["--model=AdvancedNegGrad", "--model.alpha=2"], "model.alpha is 2"),
        (["--model=LI", "--checkpoint.monitor=train/loss", "--checkpoint.mode=min"], "not a score of the audit"),
        (["--model=LI", "--checkpoint.monitor=rewind_gap"], "Did you mean 'val/rewind_gap'?"),
        (["--model=LI", "--checkpoint.monitor=val/loss_forget"], "checkpoint.mode is None; give max"),
        (["--model=LI", "--early_stopping.monitor=val/jds"], "Did you mean 'val/jsd'?"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_an_original_is_trained(arguments, said, capsys):
    message = re.sub(r"\s+", " ", refused(capsys, *arguments, *TINY, "--seed_everything=77"))
    assert said in message
    assert "No original model" not in message


def test_a_checkpoint_of_another_method_or_of_no_run_is_refused(gli_run, capsys):
    checkpoint = gli_run.trainer.checkpoint_callback.best_model_path
    assert "is a checkpoint of GLI" in refused(capsys, "--model=NegGrad", *TINY, f"--ckpt_path={checkpoint}")
    original = gli_run.model.original
    assert "weights of a model with --model.original" in refused(
        capsys, "--model=GLI", *TINY, f"--ckpt_path={original}"
    )


def test_forgetting_everyone_is_refused(capsys):
    everyone = [f"person{number:04d}" for number in range(24)]
    said = refused(capsys, "--model=GLI", *TINY, f"--data.forget_identities={everyone}")
    assert "empty" in said


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "gli", "--version"], capture_output=True, text=True, check=True)
    assert "gli" in done.stdout


def test_help_is_there_before_torch_could_be_imported():
    script = "import sys; from gli.commands.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("fit", "validate", "test", "report", "benchmark"):
        assert f"\n  {command} " in done.stdout


def test_help_names_the_commands_that_there_are():
    assert set(LIGHTNING) == CLI.subcommands().keys()
    for name in MODULES:
        module = vars(import_module(f"gli.commands.{name}"))
        assert callable(module.get("main") or module[name])


def test_a_mistyped_command_is_answered_at_once(capsys):
    assert main(["bechmark"]) == 2
    assert "Did you mean 'benchmark'?" in capsys.readouterr().err
    assert main([]) == 2
    assert "no command given" in capsys.readouterr().err
